"""A server of two workers that serve a model; each request has a connection of its own, so any of them answers."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer
from tests.conformance.raw import build, connect

ADMIN = {"authorization": "Bearer the-key-of-the-administrator"}
KEYS = '[[auth.keys]]\nname = "root"\nkey = "the-key-of-the-administrator"\nscopes = ["infer", "admin"]\n'
CHAT = "/v1/chat/completions"


class Crowd:
    """The server and its clients."""

    def __init__(
        self, make_server: Callable[..., ServerProcess], folder: Path, upstream: ModelServer, model: str, more: str
    ) -> None:
        self._file = folder / "gateway.toml"
        self._upstream = upstream
        self.configure(model, more)
        self.server = make_server("--config", str(self._file), "--workers", "2")
        limits = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=self.server.url, limits=limits, trust_env=False, timeout=30)

    def configure(self, model: str = "", more: str = "", name: str = "m") -> None:
        """Write another configuration."""
        upstreams = f'[{{ url = "{self._upstream.url}" }}]'
        self._file.write_text(f'[[models]]\nname = "{name}"\nupstreams = {upstreams}\n{model}\n{KEYS}{more}\n')

    def ask(self, method: str = "POST", path: str = CHAT, headers: dict[str, str] = ADMIN) -> httpx.Response:
        body = {"model": "m"} if path == CHAT else None
        return self.client.request(method, path, json=body, headers=headers)

    def statuses(self, count: int, path: str = CHAT, headers: dict[str, str] = ADMIN) -> list[int]:
        method = "POST" if path == CHAT else "GET"
        return sorted(self.ask(method, path, headers).status_code for _ in range(count))

    def stream(self) -> tuple[socket.socket, int]:
        """Begin a stream; its connection and its status."""
        link = connect(self.server.url, 30)
        body = b'{"model":"m","stream":true}'
        link.sendall(build("POST", CHAT, f"Authorization: {ADMIN['authorization']}", "Content-Length: 27", body=body))
        head = b""
        while b"\r\n\r\n" not in head:
            head += link.recv(1)
        return link, int(head[9:12])

    def numbers(self) -> dict[str, float]:
        lines = (line.rpartition(" ") for line in self.ask("GET", "/metrics").text.splitlines() if line[0] != "#")
        return {name: float(value) for name, _, value in lines}

    def reload(self) -> None:
        """Have it read its configuration again."""
        os.kill(self.server.process.pid, signal.SIGHUP)

    def kill(self) -> None:
        """Kill the worker beside the first process, and wait until what it held is given back."""
        _, worker = self.server.pids()
        os.kill(worker, 9)
        self.server.wait_for_log("worker 1 ended with -9; another takes its place")

    def wait_for_another(self) -> None:
        """Wait until another worker answers."""
        while self.numbers()["xetway_workers"] < 2:
            pass


MakeCrowd = Callable[..., Crowd]


def rest_of(link: socket.socket) -> bytes:
    """What comes until a stream ends as it should."""
    told = b""
    while b"0\r\n\r\n" not in told:
        piece = link.recv(4096)
        assert piece, told
        told += piece
    return told


def is_cut_off(link: socket.socket) -> bool:
    """Whether the other end of a connection that has nothing to say is gone."""
    link.setblocking(False)
    try:
        return link.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        link.setblocking(True)
