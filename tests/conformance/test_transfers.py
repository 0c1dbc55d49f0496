"""What the HTTP server under the application does to bodies, both ways, on real connections."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conformance.raw import build, connect, exchange

MIB = 1024 * 1024


class Server:
    """The made-up server in a process of its own."""

    def __init__(self, data: Path) -> None:
        script = Path(__file__).with_name("transfers_app.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.log: list[str] = []
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        match = re.search(r"http://\S+", line)
        assert match is not None, line
        self.url = match[0]

    def _collect(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def state(self) -> dict[str, int]:
        connection = self.connection()
        connection.request("GET", "/state")
        with contextlib.closing(connection):
            answer: dict[str, int] = json.load(connection.getresponse())
        return answer

    def connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self.url)
        return http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=15)

    def stop(self) -> tuple[int, float]:
        """Exit code, and how long it took."""
        before = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(15)
        self._reader.join(5)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return code, time.monotonic() - before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("transfers"))
    yield running
    code, _ = running.stop()
    assert code == 0
    assert not [line for line in running.log if "Traceback" in line]


def until(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def post(*headers: str, body: bytes) -> bytes:
    return build("POST", "/count", *headers, body=body)


def test_bodies_arrive_whole(server: Server) -> None:
    for headers, body in (
        (("Content-Length: 5",), b"abcde"),
        (("Transfer-Encoding: chunked",), b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"),
    ):
        answer = exchange(server.url, post(*headers, body=body))
        assert (answer.status, answer.json) == (200, 5)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: 10"], b"abc"),
        (["Content-Length: 10"], b""),
        (["Content-Length: 18446744073709551000"], b"abc"),
        (["Transfer-Encoding: chunked"], b"3\r\nabc\r\n"),
        (["Transfer-Encoding: chunked"], b"5\r\nabc"),
        (["Transfer-Encoding: chunked"], b"3\r\nabc\r\n0\r\n"),
        (["Transfer-Encoding: chunked"], b"3\r\nabc\r\nzz\r\n"),
        (["Transfer-Encoding: chunked"], b"3\r\nabcdef\r\n0\r\n\r\n"),
    ],
)
def test_a_cut_body_is_never_taken_for_whole(server: Server, headers: list[str], body: bytes) -> None:
    answer = exchange(server.url, post(*headers, body=body), half_close=True)
    refused = {"truncated_body": 400, "body_too_large": 413}
    assert refused[answer.json["code"]] == answer.status


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_goes_away_leaves_no_whole_body(server: Server, how: str) -> None:
    before = len(server.log)
    with connect(server.url) as link:
        link.sendall(post("Content-Length: 100000", body=bytes(50_000)))
        if how == "reset":
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    until(lambda: any("POST /count" in line for line in server.log[before:]))
    assert "truncated_body" in next(line for line in server.log[before:] if "POST /count" in line)


def test_a_refused_body_does_not_hide_the_refusal(server: Server) -> None:
    connection = server.connection()
    with contextlib.closing(connection):
        connection.request("POST", "/refuse", body=bytes(40 * MIB))
        answer = connection.getresponse()
        assert answer.status == 401
        assert json.load(answer)["code"] == "unauthorized"
        connection.request("GET", "/state")  # and the connection goes on
        assert connection.getresponse().status == 200


def test_a_client_that_asks_first_is_not_made_to_send(server: Server) -> None:
    request = build("POST", "/refuse", "Content-Length: 1000000", "Expect: 100-continue")
    answer = exchange(server.url, request)
    assert (answer.status, answer.json["code"]) == (401, "unauthorized")


@pytest.mark.parametrize("length", ["", "?length=1"])
def test_an_error_after_the_first_byte_breaks_the_transfer(server: Server, length: str) -> None:
    before = len(server.log)
    connection = server.connection()
    with contextlib.closing(connection):
        connection.request("GET", f"/broken/{MIB}{length}")
        answer = connection.getresponse()
        assert answer.status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    until(lambda: any("chunk 3 of xorb 00ff" in line for line in server.log[before:]))
    until(lambda: server.state()["open"] == 0)


def test_an_error_before_the_first_byte_is_told(server: Server) -> None:
    answer = exchange(server.url, build("GET", "/broken/0?length=1"))
    assert (answer.status, answer.json["code"]) == (500, "stored_data_corrupt")


def test_a_stream_without_length_ends_well(server: Server) -> None:
    connection = server.connection()
    with contextlib.closing(connection):
        connection.request("GET", "/frames")
        answer = connection.getresponse()
        assert answer.read() == b"0\n1\n2\n3\n4\n"
        assert answer.headers["transfer-encoding"] == "chunked"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_head_has_the_headers_of_get(server: Server, method: str) -> None:
    connection = server.connection()
    with contextlib.closing(connection):
        connection.request(method, "/zeros/1000000")
        answer = connection.getresponse()
        assert answer.headers["content-length"] == "1000000"
        assert answer.headers["etag"] == '"zeros"'
        assert len(answer.read()) == (1_000_000 if method == "GET" else 0)
        connection.request("GET", "/zeros/0")
        answer = connection.getresponse()
        assert (answer.headers["content-length"], answer.read()) == ("0", b"")


def test_a_client_that_does_not_read_holds_the_server_back_and_its_leaving_is_seen(server: Server) -> None:
    with connect(server.url) as link:
        link.sendall(build("GET", "/zeros/1000000000000"))
        link.recv(10)
        seen = [0, -1]

        def stalled() -> bool:
            seen.append(server.state()["taken"])
            return len(seen) > 20 and len(set(seen[-10:])) == 1

        until(stalled)
        assert seen[-1] < 24 * MIB
        assert server.state()["open"] == 1
    until(lambda: server.state()["open"] == 0)
    until(lambda: any("client left" in line for line in server.log))


def test_many_at_once(server: Server) -> None:
    sizes: list[int] = []

    def fetch() -> None:
        connection = server.connection()
        with contextlib.closing(connection):
            connection.request("GET", f"/zeros/{5 * MIB}")
            sizes.append(len(connection.getresponse().read()))

    threads = [threading.Thread(target=fetch) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [5 * MIB] * 32


@pytest.mark.alone
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_stopping_is_bounded_and_breaks_what_still_runs(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with connect(server.url) as idle, connect(server.url) as silent, connect(server.url) as reader:
        idle.sendall(build("GET", "/state"))
        idle.recv(1000)
        reader.sendall(build("GET", "/zeros/1000000000000"))
        reader.recv(10)
        got: list[bytes] = []

        def read() -> None:
            with contextlib.suppress(OSError):
                while reader.recv(MIB):
                    pass
            got.append(b"ended")

        thread = threading.Thread(target=read)
        thread.start()
        code, seconds = server.stop()
        thread.join(5)
        assert silent.recv(10) == b""
    assert code == 0
    assert seconds < 8
    assert got == [b"ended"]


@pytest.mark.alone
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_answer_in_progress_is_finished_before_stopping(tmp_path: Path) -> None:
    server = Server(tmp_path)
    with connect(server.url) as link:
        link.sendall(build("GET", "/wait/1"))
        until(lambda: server.state()["waiting"] == 1)
        stopped: list[tuple[int, float]] = []
        thread = threading.Thread(target=lambda: stopped.append(server.stop()))
        thread.start()
        raw = b""
        while piece := link.recv(1000):
            raw += piece
        thread.join()
    assert raw.endswith(b'"done"')
    assert stopped[0][0] == 0
    assert stopped[0][1] < 3
