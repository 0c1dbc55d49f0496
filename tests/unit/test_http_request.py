"""Reading a request: headers, query, base address, and bodies that must be complete to count."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.http_driver import Client, request, scope
from xetway.errors import RequestError
from xetway.http.request import Request


def read(body: Sequence[bytes], *headers: tuple[str, str], limit: int = 1000, complete: bool = True) -> bytes:
    async def go() -> bytes:
        return await request("POST", headers=headers, client=Client(body, complete=complete)).read(limit)

    return asyncio.run(go())


def pieces(body: Sequence[bytes], size: int) -> list[bytes]:
    async def go() -> list[bytes]:
        asked = request("POST", client=Client(body))
        return [piece async for piece in asked.pieces(10_000, size)]

    return asyncio.run(go())


def refusal(body: Sequence[bytes], *headers: tuple[str, str], **options: object) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(body, *headers, **options)  # type: ignore[arg-type]
    return caught.value.status, caught.value.code


def test_read_joins_messages() -> None:
    assert read([b"ab", b"", b"c"], ("content-length", "3")) == b"abc"
    assert read([b""]) == b""


def test_nothing_is_waited_for_after_the_announced_bytes() -> None:
    async def go() -> tuple[bytes, bool]:
        client = Client([b"ab", b"c", b""])
        asked = request("POST", headers=[("content-length", "3")], client=client)
        body = await asked.read(1000)
        return body, asked.ended and await client.receive() == {"type": "http.request", "body": b"", "more_body": False}

    assert asyncio.run(go()) == (b"abc", True)


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=12), st.integers(1, 60))
def test_pieces_regroup(body: list[bytes], size: int) -> None:
    got = pieces(body, size)
    assert b"".join(got) == b"".join(body)
    assert all(len(piece) == size for piece in got[:-1])
    assert all(0 < len(piece) <= size for piece in got)


@pytest.mark.parametrize(
    ("body", "headers", "options", "refused"),
    [
        ([b"abc"], [("content-length", "4")], {}, (400, "truncated_body")),
        ([b"abc"], [("content-length", "4")], {"complete": False}, (400, "truncated_body")),
        ([b"abc"], [("transfer-encoding", "chunked")], {"complete": False}, (400, "truncated_body")),
        ([b"abcd"], [("content-length", "3")], {}, (400, "truncated_body")),
        ([b"abc"], [("content-length", "x")], {}, (400, "bad_content_length")),
        ([b"abc"], [("content-length", "-3")], {}, (400, "bad_content_length")),
        ([b"abc"], [("content-length", "3, 3")], {}, (400, "bad_content_length")),
        ([b""], [("content-length", "1001")], {}, (413, "body_too_large")),
        ([b"a" * 600, b"a" * 600], [("transfer-encoding", "chunked")], {}, (413, "body_too_large")),
    ],
)
def test_bodies_that_do_not_count(body: list[bytes], headers, options, refused: tuple[int, str]) -> None:
    assert refusal(body, *headers, **options) == refused


class Wanted(msgspec.Struct):
    name: str
    count: int = 0


def decode(body: bytes) -> Wanted:
    async def go() -> Wanted:
        return await request("POST", client=Client([body])).json(Wanted)

    return asyncio.run(go())


def test_json() -> None:
    assert decode(b'{"name": "x", "other": 1}') == Wanted("x")


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": 1}', b'{"name": "\xff"}', b"[" * 100_000, b"null"])
def test_bad_json(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        decode(body)
    assert (caught.value.status, caught.value.code) == (400, "bad_json")


def test_repeated_headers_are_joined() -> None:
    asked = request(headers=[("x-thing", "a"), ("x-thing", "b")])
    assert asked.header("x-thing") == "a, b"
    assert asked.header("nothing") is None


def test_query() -> None:
    asked = request(target="/x?a=1&a=2&b=%C3%A9+c&empty=")
    assert asked.query == {"a": ["1", "2"], "b": ["é c"], "empty": [""]}
    assert asked.query_one("a") == "2"
    assert asked.query_one("c", "d") == "d"


@pytest.mark.parametrize("query", ["a=%ff", "&".join(f"a{n}=1" for n in range(300)), "a=\xff"])
def test_bad_query(query: str) -> None:
    asked = request(target="/x?" + query)
    with pytest.raises(RequestError) as caught:
        asked.query_one("a")
    assert caught.value.code == "bad_query"


@pytest.mark.parametrize(
    ("host", "base"),
    [
        ("hub.test:8080", "http://hub.test:8080"),
        ("[::1]:80", "http://[::1]:80"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("", None),
        ("a b", None),
        ("a/b", None),
        ('"><script>', None),
        ("user@host", None),
        ("host:port", None),
    ],
)
def test_base_url_comes_from_a_host_header_that_is_one(host: str, base: str | None) -> None:
    scope = {"method": "GET", "raw_path": b"/", "headers": [(b"host", host.encode())], "scheme": "http"}
    asked = Request(scope, Client().receive)
    if base is not None:
        assert asked.base_url == base
        return
    with pytest.raises(RequestError) as caught:
        _ = asked.base_url
    assert caught.value.code == "bad_host"


def test_base_url_may_be_configured() -> None:
    scope = {"method": "GET", "raw_path": b"/", "headers": [(b"host", b"inner")]}
    assert Request(scope, Client().receive, "https://hub.example").base_url == "https://hub.example"


def test_request_id_is_taken_if_it_is_harmless() -> None:
    assert request(headers=[("x-request-id", "abc-1")]).request_id == "abc-1"
    made = request(headers=[("x-request-id", "a\tb c")]).request_id
    assert len(made) == 16
    assert made != request().request_id


def test_a_client_that_stops_sending_is_given_up() -> None:
    async def go() -> None:
        async def never() -> dict[str, Any]:
            await asyncio.Event().wait()
            return {}

        await Request(scope("POST", "/"), never, body_idle_s=0.01).read(100)

    with pytest.raises(RequestError) as caught:
        asyncio.run(go())
    assert (caught.value.status, caught.value.code) == (408, "body_timeout")


def test_bodies_of_all_requests_share_a_bound_on_memory() -> None:
    async def large() -> dict[str, Any]:
        return {"type": "http.request", "body": bytes(1024 * 1024), "more_body": True}

    with pytest.raises(RequestError) as caught:
        asyncio.run(Request(scope("POST", "/"), large).read(1 << 40))
    assert (caught.value.status, caught.value.code) == (503, "busy")

    async def small() -> dict[str, Any]:
        return {"type": "http.request", "body": b"x", "more_body": False}

    assert asyncio.run(Request(scope("POST", "/"), small).read(100)) == b"x"
