"""Keeps the pages of other web sites away from this server.

A browser sends requests to any address for any page, also to servers that only its own machine reaches. Two rules stop
that; clients that are no browsers send neither Sec-Fetch-Site nor Origin, and name a local server as its user does.

* A server for this machine alone answers only to an IP address or localhost. A page whose own name was pointed
  at 127.0.0.1 (DNS rebinding) counts as of the server's origin to its browser, and still sends that name as Host.
* What may change something is refused when the browser says that a page of another origin sent it (Fetch Metadata;
  RFC 6454, section 7). That matters where no token is needed: with ``--open``.

No answer lets pages of other origins read it, but where `cors` does.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from xetway.errors import RequestError
from xetway.http.request import Request

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# What a browser says of its own page, and of its user; None is no browser, or one without Fetch Metadata.
_OWN_SITES = frozenset({"same-origin", "none", None})
_PORT = re.compile(r":[0-9]+\Z")


def check_host(request: Request) -> None:
    """Refuse a Host that is a name and not localhost.

    Raises:
        RequestError: `foreign_host` (421), or `bad_host`.
    """
    # Every browser sends a Host; what sends none is an old or simple tool.
    host = request.header("host")
    if host is not None and not _is_local(host) and not _is_local(request.host):
        raise RequestError(
            "this server answers only to localhost and IP addresses; give it --public-url to serve it under a name",
            code="foreign_host",
            status=421,
        )


def check_origin(request: Request) -> None:
    """Refuse a request that may change something and comes from a page of another origin.

    Raises:
        RequestError: `cross_origin` (403).
    """
    if request.method in _SAFE_METHODS:
        return
    origin = request.header("origin")
    is_own = origin is None or _authority(origin) == _authority(request.base_url)
    if not is_own or request.header("sec-fetch-site") not in _OWN_SITES:
        raise RequestError("pages of other origins may change nothing here", code="cross_origin", status=403)


@lru_cache(256)
def _is_local(host: str) -> bool:
    name = _PORT.sub("", host).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _authority(url: str) -> str:
    """Host and port. The scheme is left out: behind a proxy that speaks TLS, only the browser knows it."""
    return url.partition("://")[2].partition("/")[0].lower()
