"""An upstream that does what a test tells it: answers, streams, breaks off, and notes each request as it came."""

from __future__ import annotations

import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

Write = Callable[[bytes], None]


@dataclass
class Asked:
    """One request: its line, its headers in order with names in lower case, its body, and where it came from."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes
    link: socket.socket

    def header(self, name: str) -> str | None:
        """Look one up."""
        return next((value for known, value in self.headers if known == name), None)


Manner = Callable[[Asked, Write], None]


def answer(body: bytes, status: str = "200 OK", headers: str = "") -> Manner:
    """Answer with JSON, and keep the connection."""

    def do(_: Asked, write: Write) -> None:
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
        write(head.encode() + body)

    return do


def exact(data: bytes, *, then: str = "cut") -> Manner:
    """Send these bytes; then end the connection (`cut`), `reset` it, `keep` it, or wait for its end (`stall`)."""

    def do(asked: Asked, write: Write) -> None:
        write(data)
        if then == "stall":
            asked.link.recv(1)
        if then == "reset":
            asked.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if then != "keep":
            raise OSError

    return do


def chat(text: str) -> bytes:
    """A whole chat answer of four tokens."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    return json.dumps({"object": "chat.completion", "choices": [{"message": message}], "usage": usage}).encode()


def events(*found: bytes, end: bytes = b"0\r\n\r\n", step: threading.Semaphore | None = None) -> Manner:
    """Stream events, each when `step` allows; `end` is what comes last."""

    def do(_: Asked, write: Write) -> None:
        write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for event in found:
            if step is not None and not step.acquire(timeout=30):
                return
            chunk = b"data: " + event + b"\n\n"
            write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        write(end)

    return do


@dataclass
class ModelServer:
    """A context manager; `url` has the path up to /v1. `manner` may be replaced at any time."""

    manner: Manner = field(default_factory=lambda: answer(chat("hi")))
    asked: list[Asked] = field(default_factory=list)
    # Set when a client went before its answer was written.
    left: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        upstream = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                try:
                    while (asked := _read(self.rfile, self.connection)) is not None:
                        upstream.asked.append(asked)
                        upstream.manner(asked, self._write)
                        if upstream.closes:
                            return
                except OSError:
                    upstream.left.set()

            def _write(self, data: bytes) -> None:
                self.wfile.write(data)
                self.wfile.flush()

        self.closes = False
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _read(lines: object, link: socket.socket) -> Asked | None:
    head: list[str] = []
    while line := lines.readline():  # type: ignore[attr-defined]
        if line == b"\r\n":
            break
        head.append(line.decode("latin-1").rstrip("\r\n"))
    if not head:
        return None
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in head[1:])]
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    return Asked(head[0], headers, lines.read(length), link)  # type: ignore[attr-defined]
