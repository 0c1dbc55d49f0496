"""An upstream that answers with exact bytes, and notes what it was sent."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from types import TracebackType
from typing import Self

EVENTS = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def whole(body: bytes, status: str = "200 OK") -> bytes:
    """An answer of JSON."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunk(data: bytes) -> bytes:
    """A piece of a body of unknown length."""
    return b"%x\r\n%s\r\n" % (len(data), data)


class Scripted:
    """Answers each request with `answer`; `holds` keeps the connection until the other side leaves, else it is cut."""

    def __init__(self) -> None:
        self.answer = whole(b"{}")
        self.holds = False
        self.requests: list[tuple[bytes, bytes]] = []
        # One for each request, and for each connection that the other side has left.
        self.asked = threading.Semaphore(0)
        self.left = threading.Semaphore(0)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        with link, contextlib.suppress(OSError):
            data = b""
            while b"\r\n\r\n" not in data:
                data += link.recv(65_536)
            head, _, body = data.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            while length is not None and len(body) < int(length[1]):
                body += link.recv(65_536)
            self.requests.append((head, body))
            self.asked.release()
            link.sendall(self.answer)
            if self.holds:
                while link.recv(1):
                    pass
                self.left.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
