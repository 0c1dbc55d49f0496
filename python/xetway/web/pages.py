"""The page at /, the frame of other pages, and the health answer. No scripts, no outside resources."""

from __future__ import annotations

import html
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from importlib import resources
from string import Template

import msgspec

from xetway import __version__
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route

_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = (
    ("content-type", "text/html; charset=utf-8"),
    ("content-security-policy", _POLICY),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
    ("vary", "host"),
)


_MIRROR = Template(
    "Also a mirror of <code>${upstream}</code>: repositories that are not here come from there, are verified and kept."
)


class Health(msgspec.Struct, frozen=True):
    """The body of /health."""

    status: str
    version: str


async def health(_request: Request) -> Response:
    """Say that the server answers; touches nothing else."""
    return json_response(Health("ok", __version__))


HEALTH: Route = ("GET|HEAD", "/health", health)


def index(upstream: str | None) -> Callable[[Request], Awaitable[Response]]:
    """The handler that shows how to use this very server, with its own address in the examples."""
    mirror = "" if upstream is None else f"<p>{_MIRROR.substitute(upstream=html.escape(upstream))}</p>"

    async def handler(request: Request) -> Response:
        base, version = html.escape(request.base_url), html.escape(__version__)
        return page("index.html", base=base, version=version, mirror=mirror)

    return handler


def page(template: str, **values: str) -> Response:
    """Fill a template of this package. `values` go in as they are: text has to be escaped before."""
    filled = _template(template).substitute(values, style=_part("style.css"), icon=_part("icon.html").strip())
    return Response(200, _HEADERS, filled.encode())


@cache
def _template(name: str) -> Template:
    return Template(_part(name))


@cache
def _part(name: str) -> str:
    return resources.files("xetway.web").joinpath(name).read_text("utf-8")


def routes(upstream: str | None = None) -> Iterable[Route]:
    """The routes of this module; `upstream` is the hub that the server mirrors, if it does."""
    yield "GET|HEAD", "/", index(upstream)
