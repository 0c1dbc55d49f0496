"""Talks HTTP by hand: exact bytes out, and what comes back."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import Any
from urllib.parse import urlsplit


class Answer:
    """A parsed answer. `complete` tells whether the body came to its announced end."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        head, _, body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1]) if first.startswith("HTTP/1.") else 0
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if self.headers.get("transfer-encoding") == "chunked":
            self.complete = body.endswith(b"0\r\n\r\n")
        else:
            self.complete = len(body) == int(self.headers.get("content-length", "0"))
        self.body = body

    @property
    def json(self) -> Any:
        assert b"\n" not in self.body, self.body
        return json.loads(self.body)


def connect(url: str, timeout_s: float = 10.0) -> socket.socket:
    """A connection to the server."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname or "", parts.port or 80), timeout=timeout_s)


def exchange(url: str, request: bytes, *, half_close: bool = False) -> Answer:
    """Send bytes, and read until the server closes or the announced body is there."""
    with connect(url) as link:
        with contextlib.suppress(OSError):  # refused before all was sent: the answer is there all the same
            link.sendall(request)
            if half_close:
                link.shutdown(socket.SHUT_WR)
        raw = b""
        with contextlib.suppress(ConnectionError):
            while piece := link.recv(65_536):
                raw += piece
                if b"\r\n\r\n" in raw and "content-length" in Answer(raw).headers and Answer(raw).complete:
                    break
        return Answer(raw)


def build(method: str, target: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    """The bytes of a request; content-length is not added."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
