"""Clients that cost more than they bring: what drips, heads that are too large, too many connections."""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import time
from collections.abc import Callable

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import chat
from tests.conformance.raw import Answer, build, connect, exchange

CHAT = "/v1/chat/completions"


def all_of(link: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    raw = b""
    with contextlib.suppress(ConnectionError):
        while piece := link.recv(65_536):
            raw += piece
    return raw


def readable(links: list[socket.socket], limit_s: float) -> list[socket.socket]:
    """Those that have something to read, or have ended. (`select.select` takes no descriptor above 1,023.)"""
    with selectors.DefaultSelector() as selector:
        for link in links:
            selector.register(link, selectors.EVENT_READ)
        return [link for key, _ in selector.select(limit_s) if isinstance(link := key.fileobj, socket.socket)]


def test_heads_that_drip_hinder_nobody_and_are_cut_off(serving: Callable[..., ServerProcess]) -> None:
    server = serving("http.header_timeout=2")
    head = build("GET", "/health", "x-long: " + "x" * 1000)
    with contextlib.ExitStack() as held, httpx.Client(base_url=server.url, trust_env=False, timeout=30) as client:
        open_links = [held.enter_context(connect(server.url)) for _ in range(200)]
        answered = 0
        for byte in head:
            for link in open_links:
                with contextlib.suppress(OSError):
                    link.send(bytes([byte]))
            assert client.post(CHAT, json={"model": "m"}).content == chat("hi")
            answered += 1
            ended = readable(open_links, 0.02)
            for link in ended:
                assert all_of(link) == b""
            open_links = [link for link in open_links if link not in ended]
            if not open_links:
                break
        assert not open_links
        assert answered > 1


@pytest.mark.parametrize("dripping", [False, True], ids=["nothing comes", "a byte now and then"])
def test_a_body_that_does_not_come_is_given_up(serving: Callable[..., ServerProcess], *, dripping: bool) -> None:
    server = serving("http.body_timeout=0.5")
    with connect(server.url) as link:
        link.sendall(build("POST", CHAT, "content-length: 1000000", body=b'{"model": "m", "x": "'))
        while dripping and not readable([link], 0.05):
            link.send(b"x")
        told = Answer(all_of(link))
    assert (told.status, told.json["error"]["code"]) == (408, "body_timeout")
    assert told.headers["connection"] == "close"


def test_a_slow_body_that_comes_is_taken(serving: Callable[..., ServerProcess]) -> None:
    server = serving("http.body_timeout=0.5")
    body = b'{"model": "m", "x": "' + b"x" * 9000 + b'"}'
    with connect(server.url) as link:
        link.sendall(build("POST", CHAT, "content-type: application/json", f"content-length: {len(body)}"))
        for start in range(0, len(body), 1000):
            link.sendall(body[start : start + 1000])
            time.sleep(0.1)
        assert link.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize(
    ("settings", "size", "status"),
    [
        ([], 60, 200),
        ([], 100, 431),
        ([], 1000, 431),
        (["http.max_header_bytes=1KiB"], 2, 431),
        (["http.max_header_bytes=300KiB"], 250, 200),
    ],
)
def test_heads_have_a_limit(serving: Callable[..., ServerProcess], settings: list[str], size: int, status: int) -> None:
    server = serving(*settings)
    assert exchange(server.url, build("GET", "/health", "x-long: " + "x" * size * 1024)).status == status
    assert exchange(server.url, build("GET", "/health")).status == 200


def test_connections_beyond_the_most_wait_for_others_to_close(serving: Callable[..., ServerProcess]) -> None:
    server = serving("http.max_connections=4")
    with contextlib.ExitStack() as held:
        links = [held.enter_context(connect(server.url)) for _ in range(4)]
        for link in links:
            link.sendall(build("GET", "/health"))
            assert link.recv(12) == b"HTTP/1.1 200"
        waiting = held.enter_context(connect(server.url))
        waiting.sendall(build("GET", "/health"))
        assert not readable([waiting], 0.3)
        links[0].close()
        assert waiting.recv(12) == b"HTTP/1.1 200"
    assert exchange(server.url, build("GET", "/health")).status == 200


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_there_are_no_more_connections_than_files(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server(launcher=["sh", "-c", 'ulimit -n 140 && exec "$@"', "sh"])
    server.wait_for_log("http.max_connections is 6 instead of 4096")
    with contextlib.ExitStack() as held:
        links = [held.enter_context(connect(server.url)) for _ in range(200)]
        for link in links:
            link.sendall(build("GET", "/health"))
            assert link.recv(12) == b"HTTP/1.1 200"
            link.close()


@pytest.mark.skipif(os.name == "nt", reason="no such limit")
def test_more_files_are_opened_than_the_system_begins_with(make_server: Callable[..., ServerProcess]) -> None:
    server = make_server(launcher=["sh", "-c", 'ulimit -S -n 64 && exec "$@"', "sh"])
    with contextlib.ExitStack() as held:
        links = [held.enter_context(connect(server.url)) for _ in range(100)]
        for link in links:
            link.sendall(build("GET", "/health"))
            assert link.recv(12) == b"HTTP/1.1 200"


def test_a_connection_on_which_nothing_is_asked_is_closed(serving: Callable[..., ServerProcess]) -> None:
    server = serving("http.header_timeout=0.5")
    with connect(server.url) as silent, connect(server.url) as idle:
        idle.sendall(build("GET", "/health"))
        assert Answer(all_of(idle)).status == 200
        assert all_of(silent) == b""
