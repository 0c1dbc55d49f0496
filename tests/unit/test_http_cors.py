"""What pages of other origins are told, and where they are let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from tests.unit.http_driver import Client, scope
from xetway.errors import XetwayError
from xetway.http.app import Application
from xetway.http.cors import Cors
from xetway.http.request import Request
from xetway.http.response import Piece, Response, StreamResponse, text
from xetway.http.router import Route, Router

PAGE = "https://app.test"
ASKED = "authorization,content-type,x-stainless-arch"


async def _fail(_request: Request) -> Response:
    raise XetwayError("it failed")


async def _events(_request: Request) -> StreamResponse:
    async def pieces() -> AsyncIterator[Piece]:
        yield [b"data: 1\n\n"]

    return StreamResponse(200, [], None, pieces(), at_once=True)


async def _answer(_request: Request) -> Response:
    return text("done")


async def _keys(_request: Request) -> Response:
    return text("keys")


async def _hub(_request: Request) -> Response:
    return text("hub")


COVERED: list[Route] = [
    ("POST", "/v1/chat", _answer),
    ("POST", "/v1/fail", _fail),
    ("POST", "/v1/events", _events),
    ("POST", "/v1/{path...}", _answer),
    ("GET|HEAD", "/v1/models", _answer),
    ("POST", "/admin/keys/generate", _keys),
]
OTHERS: list[Route] = [("POST", "/v1/xorbs/{name}", _hub), ("POST", "/api/repos/create", _hub)]


def ask(
    method: str, path: str, *headers: tuple[str, str], origins: Iterable[str] = (PAGE,), origin: str | None = PAGE
) -> Client:
    async def go() -> Client:
        router = Router([*COVERED, *OTHERS])
        client = Client()
        named = [*headers, *([("origin", origin), ("sec-fetch-site", "cross-site")] if origin else [])]
        application = Application(router, cors=Cors(origins, 600, router, COVERED))
        await application(scope(method, path, named), client.receive, client.send)
        return client

    return asyncio.run(go())


def told(client: Client) -> dict[str, str]:
    """The answer's headers for pages, without the prefix that all have."""
    return {
        name.removeprefix("access-control-"): value
        for name, value in client.headers.items()
        if name.startswith("access-control-")
    }


READABLE = {"allow-origin": PAGE, "expose-headers": "*"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/chat", 200),
        ("POST", "/v1/fail", 500),
        ("POST", "/v1/events", 200),
        ("GET", "/v1/models", 200),
        ("HEAD", "/v1/models", 200),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/nothing", 404),
        ("GET", "/v1/%zz", 400),
    ],
)
def test_a_page_that_is_let_in_reads_every_answer(method: str, path: str, status: int) -> None:
    got = ask(method, path)
    assert (got.status, told(got), got.headers["vary"]) == (status, READABLE, "origin")


@pytest.mark.parametrize(
    ("path", "origin"),
    [
        ("/v1/chat", "https://evil.test"),
        ("/v1/chat", PAGE + ":8443"),
        ("/v1/chat", PAGE.upper()),
        ("/v1/chat", f"{PAGE}, {PAGE}"),
        ("/v1/chat", "null"),
        ("/v1/xorbs/a", PAGE),
        ("/v1/%78orbs/a", PAGE),
        ("/api/repos/create", PAGE),
        ("/admin/keys/generate", PAGE),
    ],
)
def test_others_and_what_is_not_the_gateways_stay_closed(path: str, origin: str) -> None:
    got = ask("POST", path, origin=origin)
    assert (got.status, got.json["code"], told(got)) == (403, "cross_origin", {})
    assert got.headers["vary"] == "origin"
    asked = ask("OPTIONS", path, ("access-control-request-method", "POST"), origin=origin)
    assert asked.status in {404, 405}
    assert told(asked) == {}


def test_who_is_no_page_is_served_as_ever() -> None:
    for path in ("/v1/chat", "/admin/keys/generate", "/v1/xorbs/a"):
        got = ask("POST", path, origin=None)
        assert (got.status, told(got), got.headers["vary"]) == (200, {}, "origin")


def test_a_browser_asks_first() -> None:
    request = ("access-control-request-method", "POST"), ("access-control-request-headers", ASKED)
    got = ask("OPTIONS", "/v1/chat", *request)
    assert (got.status, got.body) == (204, b"")
    assert told(got) == {
        **READABLE,
        "allow-methods": "GET, HEAD, POST",
        "allow-headers": ASKED,
        "max-age": "600",
    }


def test_only_names_come_back() -> None:
    for asked in ("", "a b", "a,,b", "a;b", "a," * 30 + "\u00e9"):
        headers = ("access-control-request-method", "POST"), ("access-control-request-headers", asked)
        assert "allow-headers" not in told(ask("OPTIONS", "/v1/chat", *headers))


def test_options_that_ask_nothing_are_no_question() -> None:
    assert ask("OPTIONS", "/v1/chat").status == 404


def test_all_origins() -> None:
    for origin in ("https://any.test", "null"):
        got = ask("POST", "/v1/chat", origins=["*"], origin=origin)
        assert (got.status, told(got)) == (200, {"allow-origin": "*", "expose-headers": "*"})
    assert ask("POST", "/v1/xorbs/a", origins=["*"]).status == 403
