"""The end of a real server: what runs is finished, in the time there is, and what comes then is told to go."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer, events
from tests.conformance.raw import Answer, build, connect
from tests.peers.certificates import make_authority

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

CHAT = "/v1/chat/completions"


def stopped(server: ServerProcess) -> None:
    """Tell it to stop, and wait until it takes no connections any more."""
    server.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            connect(server.url).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:
            continue
        time.sleep(0.01)
    raise AssertionError("it still accepts connections")


def asks(stream: bool = True) -> bytes:
    body = json.dumps({"model": "m", "stream": stream}).encode()
    return build("POST", CHAT, "content-type: application/json", f"content-length: {len(body)}", body=body)


def until(link: socket.socket, wanted: bytes) -> bytes:
    raw = b""
    while wanted not in raw and (piece := link.recv(65_536)):
        raw += piece
    return raw


def test_a_stream_is_finished_and_nothing_new_is_taken(
    serving: Callable[..., ServerProcess], upstream: ModelServer
) -> None:
    step = threading.Semaphore(1)
    upstream.manner = events(b"1", b"2", b"[DONE]", step=step)
    server = serving()
    with connect(server.url) as late, connect(server.url) as stream, connect(server.url) as idle:
        # Its head is on its way when the signal comes, and it was accepted first.
        late.sendall(build("GET", "/health/ready").removesuffix(b"\r\n"))
        idle.sendall(build("GET", "/health"))
        assert Answer(until(idle, b"}")).status == 200
        stream.sendall(asks())
        raw = until(stream, b"data: 1\n\n")
        stopped(server)
        assert idle.recv(1) == b""
        late.sendall(b"\r\n")
        told = Answer(until(late, b"}"))
        assert (told.status, told.json) == (503, {"status": "not_ready"})
        assert told.headers["connection"] == "close"
        assert late.recv(1) == b""
        step.release(2)
        raw += until(stream, b"0\r\n\r\n")
        assert b"data: [DONE]" in raw
        assert Answer(raw).complete
    assert server.process.wait(10) == server.stop() == 0
    assert "cut off" not in server.log


def test_what_takes_longer_is_cut_off(serving: Callable[..., ServerProcess], upstream: ModelServer) -> None:
    upstream.manner = events(b"1", b"2", step=threading.Semaphore(1))
    server = serving("http.drain=0.5")
    with connect(server.url) as stream:
        stream.sendall(asks())
        raw = until(stream, b"data: 1\n\n")
        server.process.send_signal(signal.SIGTERM)
        assert b"data: 2" not in raw + until(stream, b"0\r\n\r\n")
    assert server.process.wait(10) == server.stop() == 0
    assert "1 requests still running are cut off" in server.log


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_it_at_once(
    serving: Callable[..., ServerProcess], upstream: ModelServer, second: signal.Signals
) -> None:
    upstream.manner = events(b"1", b"2", step=threading.Semaphore(1))
    server = serving("http.drain=1h")
    with connect(server.url) as stream:
        stream.sendall(asks())
        until(stream, b"data: 1\n\n")
        stopped(server)
        server.process.send_signal(second)
        assert server.process.wait(10) == server.stop() == 0
    assert "stopping at once: a second signal" in server.log


def test_streams_over_http2_are_finished_too(
    serving: Callable[..., ServerProcess], upstream: ModelServer, tmp_path: Path
) -> None:
    if "HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("needs curl with HTTP/2")
    authority = make_authority(tmp_path / "authority")
    step = threading.Semaphore(1)
    upstream.manner = events(b"1", b"2", b"[DONE]", step=step)
    server = serving(f"tls.cert={authority.folder}/server.pem", f"tls.key={authority.folder}/server.key")
    asked = ["curl", "--http2", "--no-buffer", "--silent", "--noproxy", "*", "--cacert", str(authority.root)]
    told = ["--write-out", "%{http_version}", "--data", '{"model":"m","stream":true}', server.url + CHAT]
    with subprocess.Popen([*asked, *told], stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        assert curl.stdout.readline() == "data: 1\n"
        stopped(server)
        step.release(2)
        assert curl.stdout.read().split() == ["data:", "2", "data:", "[DONE]", "2"]
        assert curl.wait(10) == 0
    assert server.process.wait(10) == server.stop() == 0


def test_workers_have_the_time_too(make_server: Callable[..., ServerProcess], make_token: Callable[..., str]) -> None:
    server = make_server("--workers", "2")
    pids = server.pids()
    # As a terminal and systemd do: each process gets the signal, and the first one tells the workers besides.
    for pid in reversed(pids):
        os.kill(pid, signal.SIGTERM)
    assert server.process.wait(10) == server.stop() == 0
    assert "takes its place" not in server.log
