"""Names that nobody knows, ten thousand of them: nothing grows with what clients make up."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer
from tests.conformance.raw import connect

AT_ONCE = 200
GROWTH_BYTES = 2 * 1024 * 1024
ADMIN = "the-key-of-the-administrator"
CONFIG = """
[limits]
enabled = true
[limits.key]
requests_per_minute = 1000000
[limits.anonymous]
requests_per_minute = 1000000
[cache]
enabled = true
[queue]
model_concurrency = 2
[[models]]
name = "m"
upstreams = [{{ url = "{url}" }}]
[auth]
enabled = false
[[auth.keys]]
name = "root"
key = "{admin}"
scopes = ["infer", "admin"]
"""


@pytest.fixture
def gateway(tmp_path: Path, make_server) -> Iterator[ServerProcess]:
    with ModelServer() as upstream:
        config = tmp_path / "gateway.toml"
        config.write_text(CONFIG.format(url=upstream.url, admin=ADMIN))
        yield make_server("--config", str(config), "--log-level", "warning")
        assert not upstream.asked


def name_of(number: int) -> str:
    """A name of some length, in any letters; the same number has the same name."""
    letters = random.Random(number).choices("abcXYZ019-_./ \u00e9\u4e2d", k=1 + number % 240)
    return "".join(letters) + f"{number}"


def chat(number: int) -> bytes:
    body = json.dumps({"model": name_of(number), "temperature": 0}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def lookup(number: int) -> bytes:
    return b"GET /v1/models/%s-%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 900, number)


def key(number: int) -> bytes:
    secret = b"sk-%s-%d" % (b"x" * 400, number)
    return b"GET /admin/keys/list HTTP/1.1\r\nHost: localhost\r\nx-api-key: %s\r\n\r\n" % secret


def ask(link: socket.socket, requests: list[bytes], status: bytes) -> None:
    """Send them one behind the other, and read their answers, which all have this status."""
    link.sendall(b"".join(requests))
    got = b""
    while got.count(b"HTTP/1.1 ") < len(requests) or not got.endswith(b"}}"):
        piece = link.recv(1 << 20)
        assert piece, got[-500:]
        got += piece
    assert got.count(b"HTTP/1.1 " + status) == len(requests)


def state(gateway: ServerProcess) -> tuple[set[str], dict[str, Any]]:
    """What /metrics has lines for, and what the queue has counts for."""
    with httpx.Client(base_url=gateway.url, trust_env=False, headers={"x-api-key": ADMIN}) as client:
        lines = {line.rpartition(" ")[0] for line in client.get("/metrics").text.splitlines()}
        return lines, client.get("/admin/queue/stats").json()["per_model"]["queues"].keys()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("make", "count", "status"), [(chat, 10_000, b"404"), (lookup, 3000, b"404"), (key, 6000, b"401")]
)
def test_made_up_names_leave_nothing_behind(gateway: ServerProcess, make: Any, count: int, status: bytes) -> None:
    with connect(gateway.url, timeout_s=30) as link:
        for start in range(0, 600, AT_ONCE):  # what grows once
            ask(link, [make(1_000_000 + number) for number in range(start, start + AT_ONCE)], status)
        before, used = state(gateway), gateway.rss_bytes()
        for start in range(0, count, AT_ONCE):
            ask(link, [make(number) for number in range(start, start + AT_ONCE)], status)
    assert state(gateway) == before
    if used is not None:
        assert (gateway.rss_bytes() or 0) - used < GROWTH_BYTES
