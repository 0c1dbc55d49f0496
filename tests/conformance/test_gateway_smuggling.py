"""Requests that two readers might end in different places: what follows them is never run as a request of its own.

Source: RFC 9112, sections 2.2, 5, 6 and 7.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer
from tests.conformance.raw import connect

BODY = b'{"model":"m","messages":[]}'
LENGTH = b"Content-Length: 27"
CHUNKED = b"Transfer-Encoding: chunked"
CHUNKS = b"1b\r\n" + BODY + b"\r\n0\r\n\r\n"


def post(*headers: bytes, body: bytes = BODY) -> bytes:
    return b"\r\n".join([b"POST /v1/chat/completions HTTP/1.1", b"Host: localhost", *headers, b"", b""]) + body


HIDDEN = post(LENGTH, b"X-Request-Id: hidden")
# After its answer the server ends the connection, if it has not done so before.
LAST = b"GET /v1/none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: ModelServer) -> Iterator[ServerProcess]:
    home: Path = tmp_path_factory.mktemp("smuggling")
    (home / "gateway.toml").write_text(f'[[models]]\nname = "m"\nupstreams = [{{ url = "{upstream.url}" }}]\n')
    (home / "data").mkdir()
    with ServerProcess(home / "data", "--config", str(home / "gateway.toml"), home=home) as server:
        yield server
    assert "Traceback" not in server.log


def talk(gateway: ServerProcess, upstream: ModelServer, sent: bytes) -> tuple[list[int], list[bytes], bool]:
    """Send all and LAST on one connection; the answers' statuses, what bodies came upstream, and if HIDDEN did."""
    upstream.asked.clear()
    with connect(gateway.url) as link:
        with contextlib.suppress(OSError):
            link.sendall(sent + LAST)
        got = b""
        with contextlib.suppress(ConnectionError):
            while piece := link.recv(65_536):
                got += piece
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", got)]
    ran = any(asked.header("x-request-id") == "hidden" for asked in upstream.asked)
    return statuses, [asked.body for asked in upstream.asked], ran


def test_what_follows_a_clear_request_is_run(gateway: ServerProcess, upstream: ModelServer) -> None:
    assert talk(gateway, upstream, post(LENGTH) + HIDDEN) == ([200, 200, 404], [BODY, BODY], True)


REFUSED = {
    "chunks announced, length sent": post(CHUNKED, LENGTH),
    "two lengths": post(LENGTH, b"Content-Length: 0"),
    "two lengths in one": post(b"Content-Length: 27, 0"),
    "one length twice in one": post(b"Content-Length: 27, 27"),
    "a length with a sign": post(b"Content-Length: +27"),
    "a negative length": post(b"Content-Length: -1"),
    "a length in hexadecimal": post(b"Content-Length: 0x1b"),
    "a length past all": post(b"Content-Length: 99999999999999999999999"),
    "a length with a space in it": post(b"Content-Length: 2 7"),
    "a space before the colon": post(b"Content-Length : 27"),
    "a folded header": post(LENGTH, b"X-A: b\r\n c"),
    "a folded transfer encoding": post(LENGTH, b"Transfer-Encoding:\r\n chunked"),
    "a header before the first": post(LENGTH).replace(b"\r\nHost", b"\r\n X: y\r\nHost", 1),
    "a transfer encoding after a bare line feed": post(LENGTH, b"X-A: b\nTransfer-Encoding: chunked"),
    "a transfer encoding after a bare return": post(LENGTH, b"X-A: b\rTransfer-Encoding: chunked"),
    "a transfer encoding after a vertical tab": post(LENGTH, b"Transfer-Encoding: \x0bchunked"),
    "a NUL": post(LENGTH, b"X-A: b\0c"),
    "identity, last": post(b"Transfer-Encoding: chunked, identity", body=CHUNKS),
    "identity, in another header": post(CHUNKED, b"Transfer-Encoding: identity", body=CHUNKS),
    "identity alone": post(LENGTH, b"Transfer-Encoding: identity"),
    "another word": post(LENGTH, b"Transfer-Encoding: xchunked"),
    "chunks in HTTP/1.0": post(CHUNKED, body=CHUNKS).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "a line feed in a chunk extension": post(CHUNKED, body=CHUNKS.replace(b"1b", b"1b;a\nb", 1)),
    "chunks that end in line feeds": post(CHUNKED, body=CHUNKS.replace(b"\r\n", b"\n")),
    "a chunk size with a prefix": post(CHUNKED, body=b"0x" + CHUNKS),
    "a negative chunk size": post(CHUNKED, body=b"-" + CHUNKS),
    "a chunk size past all": post(CHUNKED, body=b"fffffffffffffff" + CHUNKS),
    "a chunk longer than it says": post(CHUNKED, body=CHUNKS.replace(b"1b", b"1a", 1)),
}


@pytest.mark.parametrize("sent", REFUSED.values(), ids=REFUSED)
def test_what_is_unclear_is_refused_and_the_connection_ends(
    gateway: ServerProcess, upstream: ModelServer, sent: bytes
) -> None:
    assert talk(gateway, upstream, sent + HIDDEN) == ([400], [], False)


@pytest.mark.parametrize(
    "sent",
    [
        post(b"Content-Length: 38", CHUNKED, body=CHUNKS),
        post(b"Content-Length: 4", CHUNKED, body=CHUNKS),
        post(CHUNKED, b"Content-Length: 4", body=CHUNKS),
    ],
)
def test_chunks_count_more_than_a_length_and_end_the_connection(
    gateway: ServerProcess, upstream: ModelServer, sent: bytes
) -> None:
    assert talk(gateway, upstream, sent + HIDDEN) == ([200], [BODY], False)
    assert (upstream.asked[0].header("content-length"), upstream.asked[0].header("transfer-encoding")) == ("27", None)


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"chunked, chunked", b"identity\r\nTransfer-Encoding: chunked"])
def test_other_codings_are_not_known(gateway: ServerProcess, upstream: ModelServer, coding: bytes) -> None:
    sent = post(b"Transfer-Encoding: " + coding, body=CHUNKS)
    statuses, bodies, _ = talk(gateway, upstream, sent)
    assert (statuses, bodies) == ([501, 404], [])
    code = "unsupported_transfer_encoding"
    with connect(gateway.url) as link:
        link.sendall(sent)
        assert code.encode() in link.recv(65_536)


CLEAR = {
    "chunk extensions": post(CHUNKED, body=CHUNKS.replace(b"\r\n", b";a=b\r\n", 1)),
    "trailers": post(CHUNKED, body=CHUNKS[:-2] + b"Content-Length: 5\r\nAuthorization: x\r\n\r\n"),
    "in capitals": post(b"TRANSFER-ENCODING: Chunked", body=CHUNKS),
    "one length twice": post(LENGTH, LENGTH),
    "lines before it": b"\r\n\r\n" + post(LENGTH),
    "a length that Connection names": post(LENGTH, b"Connection: content-length"),
    "an upgrade": post(LENGTH, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
}


@pytest.mark.parametrize("sent", CLEAR.values(), ids=CLEAR)
def test_what_has_one_end_is_forwarded_with_it(gateway: ServerProcess, upstream: ModelServer, sent: bytes) -> None:
    assert talk(gateway, upstream, sent) == ([200, 404], [BODY], False)
    (asked,) = upstream.asked
    assert (asked.header("content-length"), asked.header("transfer-encoding")) == ("27", None)
    assert not {"upgrade", "http2-settings", "connection"} & {name for name, _ in asked.headers}


def test_what_stands_in_a_body_is_a_body(gateway: ServerProcess, upstream: ModelServer) -> None:
    get = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN)
    assert talk(gateway, upstream, get + HIDDEN) == ([200, 404], [], False)


def test_garbage_ends_the_connection(gateway: ServerProcess, upstream: ModelServer) -> None:
    statuses, bodies, ran = talk(gateway, upstream, post(LENGTH) + b"garbage\r\n\r\n" + HIDDEN)
    assert (statuses, bodies, ran) == ([200, 400], [BODY], False)
