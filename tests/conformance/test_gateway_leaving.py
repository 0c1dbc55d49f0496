"""Clients that go, or do not read, at every stage of a request: nothing is held or piled up for them."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import Asked, ModelServer, Write, answer, chat, exact
from tests.conformance.raw import build, connect, exchange

ADMIN = "the-key-of-the-administrator"
CONFIG = """
[auth]
enabled = false
[[auth.keys]]
name = "root"
key = "{key}"
scopes = ["infer", "admin"]
[queue]
model_concurrency = 1
[breaker]
failures = 1
successes = 1
open_for = 0.1
[[models]]
name = "m"
limit = {{ concurrency = 2 }}
upstreams = [{{ url = "{url}" }}]
"""
BODY = b'{"model":"m","stream":true}'
REQUEST = build("POST", "/v1/chat/completions", "Connection: close", f"Content-Length: {len(BODY)}", body=BODY)
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = b"data: " + b"x" * 65_000 + b"\n\n"
CHUNK = b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
MIB = 1024 * 1024


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def gateway(upstream: ModelServer, tmp_path: Path, make_server: Callable[..., ServerProcess]) -> ServerProcess:
    config = tmp_path / "gateway.toml"
    config.write_text(CONFIG.format(url=upstream.url, key=ADMIN))
    return make_server("--config", str(config))


def queue(server: ServerProcess) -> dict[str, Any]:
    headers = {"x-api-key": ADMIN}
    found: dict[str, Any] = httpx.get(f"{server.url}/admin/queue/stats", headers=headers, trust_env=False).json()
    return found


def until(true: Callable[[], bool]) -> None:
    """Wait for what has to come."""
    for _ in range(1000):
        if true():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come in 10 s")


def is_free(server: ServerProcess, upstream: ModelServer) -> None:
    """See to it that both places can be had, one after the other."""
    until(lambda: queue(server)["running"] == queue(server)["current_size"] == 0)
    upstream.manner = answer(chat("next"))
    for _ in range(3):
        assert exchange(server.url, REQUEST).body == chat("next")


@pytest.mark.parametrize("sent", [5, REQUEST.index(b"\r\n\r\n"), len(REQUEST) - len(BODY), len(REQUEST) - 1])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_in_the_head_and_in_the_body(gateway: ServerProcess, upstream: ModelServer, sent: int, reset: bool) -> None:
    for _ in range(4):
        with connect(gateway.url) as link:
            if reset:
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            link.sendall(REQUEST[:sent])
    is_free(gateway, upstream)
    assert len(upstream.asked) == 3


def test_while_waiting_for_a_place(gateway: ServerProcess, upstream: ModelServer) -> None:
    upstream.manner = exact(b"", then="stall")
    with connect(gateway.url) as first:
        first.sendall(REQUEST)
        until(lambda: queue(gateway)["running"] == 1)
        for _ in range(3):
            with connect(gateway.url) as second:
                second.sendall(REQUEST)
                until(lambda: queue(gateway)["current_size"] == 1)
            until(lambda: queue(gateway)["current_size"] == 0)
        assert queue(gateway)["total_cancelled"] == 3
    assert upstream.left.wait(10)
    assert len(upstream.asked) == 1
    is_free(gateway, upstream)


def test_who_ends_its_side_counts_as_gone(gateway: ServerProcess, upstream: ModelServer) -> None:
    upstream.manner = exact(b"", then="stall")
    with connect(gateway.url) as link:
        link.sendall(REQUEST)
        until(lambda: len(upstream.asked) == 1)
        link.shutdown(socket.SHUT_WR)
        assert upstream.left.wait(10)
    is_free(gateway, upstream)


def test_a_probe_whose_client_goes_does_not_keep_the_next_one_away(
    gateway: ServerProcess, upstream: ModelServer
) -> None:
    upstream.manner = exact(b"")
    assert exchange(gateway.url, REQUEST).status == 502
    for _ in range(3):
        upstream.manner, known = exact(b"", then="stall"), len(upstream.asked)
        upstream.left.clear()
        with contextlib.ExitStack() as stack:

            def probes(stack: contextlib.ExitStack = stack, known: int = known) -> bool:
                link = stack.enter_context(connect(gateway.url))
                link.sendall(REQUEST)
                link.settimeout(0.2)
                with contextlib.suppress(TimeoutError):
                    assert b" 503 " in link.recv(1000)
                return len(upstream.asked) > known

            until(probes)
        assert upstream.left.wait(10)
    is_free(gateway, upstream)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_who_does_not_read_stops_the_upstream(gateway: ServerProcess, upstream: ModelServer) -> None:
    throttled, sent_bytes = threading.Event(), 0

    def endlessly(asked: Asked, write: Write) -> None:
        nonlocal sent_bytes
        write(EVENTS_HEAD)
        asked.link.settimeout(0.5)
        for _ in range(2000):
            try:
                write(CHUNK)
            except TimeoutError:
                throttled.set()
                asked.link.settimeout(None)
                # What of the last chunk was sent is not known, and nobody reads so far.
                write(CHUNK)
            sent_bytes += len(CHUNK)

    upstream.manner = endlessly
    before = gateway.rss_bytes() or 0
    with connect(gateway.url) as link:
        link.sendall(REQUEST)
        assert link.recv(10).startswith(b"HTTP/1.1 2")
        assert throttled.wait(30)
        grown = (gateway.rss_bytes() or 0) - before
        print(f"{sent_bytes / MIB:.1f} MiB were taken from the upstream, and {grown / MIB:.1f} MiB more memory")
        assert sent_bytes < 32 * MIB
        assert grown < 32 * MIB
        assert not upstream.left.is_set()
    assert upstream.left.wait(10)
    is_free(gateway, upstream)
