"""HTTP/1.1 by hand on asyncio: exact bytes out, all that came back, and whether it came to its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PATIENCE_S = 120.0


@dataclass
class Answer:
    """What came. `complete`: the body came to its announced end."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    complete: bool = False

    @property
    def code(self) -> str:
        """That of an error as clients of models read it."""
        try:
            return str(json.loads(self.body)["error"]["code"])
        except (ValueError, KeyError, TypeError):
            return "no code"


class NoAnswerError(Exception):
    """The connection ended before the head of an answer."""


@dataclass
class Link:
    """A connection that is kept, and made again when it has ended."""

    url: str
    reader: asyncio.StreamReader | None = field(default=None, init=False)
    writer: asyncio.StreamWriter | None = field(default=None, init=False)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect, unless that is done."""
        if self.reader is None or self.writer is None or self.reader.at_eof() or self.writer.is_closing():
            self.close()
            parts = urlsplit(self.url)
            self.reader, self.writer = await asyncio.open_connection(parts.hostname, parts.port)
        return self.reader, self.writer

    def close(self) -> None:
        """Leave, whatever is under way."""
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read its answer.

        Raises:
            NoAnswerError: There was none.
            TimeoutError: Nothing came for very long.
        """
        reader, writer = await self.open()
        async with asyncio.timeout(PATIENCE_S):
            with contextlib.suppress(ConnectionError):  # refused before all was sent: the answer is there all the same
                writer.write(request)
                await writer.drain()
            answer = await read_head(reader)
            await _read_body(reader, answer)
        return answer


async def ask_once(url: str, message: bytes) -> Answer:
    """Send a request on a connection of its own; see `Link.ask`."""
    link = Link(url)
    try:
        return await link.ask(message)
    finally:
        writer = link.writer
        link.close()
        if writer is not None:
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


def request(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """The bytes of a request."""
    named = {"host": "localhost", **headers}
    if body or method == "POST":
        named.setdefault("content-length", str(len(body)))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items()), "", ""]
    return "\r\n".join(lines).encode() + body


async def read_head(reader: asyncio.StreamReader) -> Answer:
    """Read status and headers."""
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip("\r\n").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise NoAnswerError(str(error)) from None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(first.split(" ")[1]), headers)


async def _read_body(reader: asyncio.StreamReader, answer: Answer) -> None:
    parts: list[bytes] = []
    try:
        if answer.headers.get("transfer-encoding") == "chunked":
            while size := int(await reader.readline() or b"0\r", 16):
                parts.append(await reader.readexactly(size))
                await reader.readexactly(2)
            answer.complete = await reader.readexactly(2) == b"\r\n"
        else:
            parts.append(await reader.readexactly(int(answer.headers.get("content-length", "0"))))
            answer.complete = True
    except asyncio.IncompleteReadError as error:
        parts.append(error.partial)
    except ConnectionError:
        pass
    answer.body = b"".join(parts)
