"""Servers that are handed their socket: by number, by systemd, by a program that uses the library."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess, own_environment, program, run_xetway

pytestmark = pytest.mark.skipif(os.name == "nt", reason="file descriptors of sockets")

# As systemd: the socket becomes descriptor 3, and the variables name this very process.
ACTIVATION = """
import os, sys
count, *command = sys.argv[1:]
os.dup2(int(os.environ.pop("GIVEN")), 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=count, LISTEN_FDNAMES="http")
os.execv(command[0], command)
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        yield bound


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def health(url: str) -> int:
    return httpx.get(url + "/health", trust_env=False, timeout=30).status_code


def test_a_file_descriptor_is_listened_on(listener: socket.socket, tmp_path: Path) -> None:
    fd = listener.fileno()
    for workers in ("1", "3"):
        options = ("--fd", str(fd), "--workers", workers)
        with ServerProcess(tmp_path / "data", *options, home=tmp_path, port=1, pass_fds=[fd]) as server:
            assert server.url == url_of(listener)
            assert [health(server.url) for _ in range(10)] == [200] * 10
            assert len(server.pids()) == int(workers)


def test_who_connects_while_a_server_is_started_anew_waits(listener: socket.socket, tmp_path: Path) -> None:
    fd = listener.fileno()
    ServerProcess(tmp_path / "data", "--fd", str(fd), home=tmp_path, pass_fds=[fd]).stop()
    with socket.create_connection(listener.getsockname(), timeout=30) as early:
        early.sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        with ServerProcess(tmp_path / "data", "--fd", str(fd), home=tmp_path, pass_fds=[fd]):
            assert early.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_socket_of_systemd_is_found(listener: socket.socket, tmp_path: Path, workers: str) -> None:
    fd = listener.fileno()
    notified = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(str(notified))
        told.settimeout(30)
        with ServerProcess(
            tmp_path / "data",
            *("--workers", workers),
            home=tmp_path,
            port=1,
            env={"GIVEN": str(fd), "NOTIFY_SOCKET": str(notified)},
            launcher=[sys.executable, "-c", ACTIVATION, "1"],
            pass_fds=[fd],
        ) as server:
            assert server.url == url_of(listener)
            assert health(server.url) == 200
            assert told.recv(100) == b"READY=1"
            server.process.send_signal(signal.SIGTERM)
            assert told.recv(100) == b"STOPPING=1"
            assert server.process.wait(10) == 0


@pytest.mark.parametrize(
    ("count", "kind", "message"),
    [
        ("2", socket.SOCK_STREAM, "LISTEN_FDS is '2'; it must be 1"),
        ("1", socket.SOCK_DGRAM, "file descriptor 3 is no TCP socket that is bound"),
    ],
)
def test_other_sockets_of_systemd_are_refused(tmp_path: Path, count: str, kind: int, message: str) -> None:
    with socket.socket(socket.AF_INET, kind) as given:
        given.bind(("127.0.0.1", 0))
        got = subprocess.run(
            [sys.executable, "-c", ACTIVATION, count, program("xetway"), "serve", "--data", str(tmp_path / "data")],
            env={**own_environment(tmp_path), "GIVEN": str(given.fileno())},
            pass_fds=[given.fileno()], capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    assert (got.returncode, message in got.stderr) == (2, True), got.stderr


def test_a_descriptor_that_is_no_socket_is_refused(tmp_path: Path) -> None:
    got = run_xetway(tmp_path / "data", "serve", "--fd", "999", expect=(2,))
    assert "file descriptor 999 is no socket" in got.stderr


def test_a_program_can_hand_over_a_socket(tmp_path: Path) -> None:
    code = (
        "import socket, sys\n"
        "from xetway.serve import leave, serve\n"
        "leave(serve(socket.create_server(('127.0.0.1', 0)), data=sys.argv[1]))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "data")],
        env=own_environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("xetway listening on http://127.0.0.1:")
        assert health(line.split()[-1]) == 200
        process.terminate()
        assert process.wait(10) == 0
