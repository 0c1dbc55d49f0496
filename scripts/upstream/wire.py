"""HTTP/1.1 on bare streams: as much as a proxy needs that must be able to break the rules.

Bodies of requests need a Content-Length. No pipelining, no trailers, no upgrade. (RFC 9112)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

PIECE_BYTES = 262_144
MAX_HEAD_BYTES = 65_536
MAX_BODY_BYTES = 64 * 1024 * 1024
REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 304: "Not Modified", 307: "Temporary Redirect"}

Headers = list[tuple[str, str]]


class WireError(Exception):
    """The other side does not speak HTTP as far as we do."""


@dataclass(frozen=True)
class Request:
    """A request as it came in. `role` is the port it came to: hub, cas or cdn. Header names are in lower case."""

    role: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


class Source(Protocol):
    """Content of which any range can be read."""

    size: int

    def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes [start, end), in order."""
        ...


@dataclass
class Reply:
    """An answer before faults are applied. With a `source`, the body is its bytes [start, end)."""

    kind: str
    status: int
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    source: Source | None = None
    start: int = 0
    end: int = 0

    @property
    def length(self) -> int:
        return len(self.body) if self.source is None else self.end - self.start


@dataclass
class FileSource:
    """A file on the disk."""

    path: Path

    def __post_init__(self) -> None:
        self.size = self.path.stat().st_size

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        while start < end and (piece := self._read(start, min(PIECE_BYTES, end - start))):
            start += len(piece)
            yield piece

    def _read(self, start: int, count: int) -> bytes:
        # Opened each time: a sender that is stopped in the middle leaves no open file.
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(count)


async def read_request(role: str, reader: asyncio.StreamReader) -> Request | None:
    """Read the next request of a connection; None when there is none."""
    head = await _read_head(reader)
    if head is None:
        return None
    first, headers = head
    parts = first.split(" ")
    if len(parts) != 3:
        raise WireError(f"no request line: {first[:100]}")
    length = int(headers.get("content-length", "0"))
    if "transfer-encoding" in headers or length > MAX_BODY_BYTES:
        raise WireError("only bodies with a moderate Content-Length are understood")
    return Request(role, parts[0], parts[1], headers, await reader.readexactly(length))


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]] | None:
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers: dict[str, str] = {}
    for name, _, value in pairs:
        key = name.strip().lower()
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return first, headers


@dataclass
class BackendAnswer:
    """What the server behind says; `read` or `pieces` give its body."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    has_body: bool

    async def read(self) -> bytes:
        async with aclosing(self.pieces()) as pieces:
            return b"".join([piece async for piece in pieces])

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        try:
            if not self.has_body:
                return
            left = int(self.headers.get("content-length", "-1"))
            while left and (piece := await self.reader.read(PIECE_BYTES if left < 0 else min(PIECE_BYTES, left))):
                left -= len(piece) if left > 0 else 0
                yield piece
            if left > 0:
                raise WireError("the server behind broke off")
        finally:
            self.writer.transport.abort()


@dataclass(frozen=True)
class Backend:
    """The hosted server that stands behind."""

    url: str

    async def ask(self, method: str, target: str, headers: Headers, body: bytes = b"") -> BackendAnswer:
        """Send one request on a connection of its own."""
        parts = urlsplit(self.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=MAX_HEAD_BYTES * 4)
        lines = [f"{method} {target} HTTP/1.1", f"host: {parts.netloc}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers]
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}")
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            head = await _read_head(reader)
        except BaseException:
            writer.transport.abort()
            raise
        if head is None:
            writer.transport.abort()
            raise WireError("the server behind gave no answer")
        status = int(head[0].split(" ")[1])
        return BackendAnswer(status, head[1], reader, writer, method != "HEAD" and status not in {204, 304})


@dataclass
class BackendSource:
    """A file of the server behind, read in ranges through its own routes."""

    backend: Backend
    target: str
    headers: Headers
    size: int

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        if start >= end:
            return
        wanted = ("range", f"bytes={start}-{end - 1}")
        answer = await self.backend.ask("GET", self.target, [*self.headers, wanted])
        if answer.status != 206:
            answer.writer.transport.abort()
            raise WireError(f"the server behind answered {answer.status} for a range")
        async with aclosing(answer.pieces()) as pieces:
            async for piece in pieces:
                yield piece


def asked_ranges(header: str | None, size: int) -> list[tuple[int, int]]:
    """The half-open byte ranges of a Range header; none for the whole. A start past the end gives an empty range."""
    unit, _, wanted = (header or "").partition("=")
    if unit.strip() != "bytes" or "-" not in wanted:
        return []
    return [_asked_range(part.strip(), size) for part in wanted.split(",")]


def asked_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The byte range of a Range header that has just one; None for the whole."""
    ranges = asked_ranges(header, size)
    return ranges[0] if len(ranges) == 1 else None


def _asked_range(wanted: str, size: int) -> tuple[int, int]:
    first, _, last = wanted.partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)


def head_bytes(status: int, headers: Headers) -> bytes:
    """The bytes of an answer's head."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Answer')}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
