"""Upstreams for the soak of the gateway: models that answer as `model_words` foretells, if their trouble lets them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Self

import model_words

WHOLE_HEAD = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n"
EVENTS_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
POISON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\nPOISON"
# What comes in one piece: what follows it later might be taken for the answer to the next request by any client.
AT_ONCE_BYTES = 50_000
GARBAGE = (
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"\x15\x03\x01\x00\x02\x02\x28",
    b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n4\r\nPOIS\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\nPOISON",
    b"HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n",
    b"HTTP/1.1 9999 OK\r\n\r\n",
    b"\r\n" * 3,
)
REFUSALS = ("429 Too Many Requests", "500 Internal Server Error", "502 Bad Gateway", "503 Service Unavailable")


class Trouble(Enum):
    """What may happen to a request."""

    NONE = auto()
    SLOW = auto()
    DRIP = auto()
    # The connection ends, one way or the other, before or in the middle of the answer.
    CUT = auto()
    REFUSAL = auto()
    GARBAGE = auto()
    # A second answer that nobody asked for follows the right one at once.
    POISON = auto()
    # The connection ends after the answer, without a word of it before.
    CLOSE = auto()
    # Nothing comes until the client goes.
    STALL = auto()


class _CutError(Exception):
    """The connection is to end here."""


@dataclass
class ModelUpstream:
    """One of them; `async with`. Each request meets one of `troubles`."""

    random: random.Random
    troubles: tuple[Trouble, ...] = (Trouble.NONE,)
    requests: int = 0
    # Those under way.
    answering: int = 0
    connections: set[asyncio.StreamWriter] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 22)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self.connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, _CutError):
                while True:
                    await self._answer(reader, writer)
        finally:
            self.connections.discard(writer)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        length = next((int(line[16:]) for line in head if line.startswith("content-length: ")), 0)
        body = await reader.readexactly(length)
        self.requests += 1
        self.answering += 1
        try:
            await self._meet(reader, writer, head[0].split(" ")[1], body)
        finally:
            self.answering -= 1

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, body: bytes) -> None:
        trouble = self.random.choice(self.troubles)
        if trouble is Trouble.STALL:
            await reader.read()
            raise _CutError
        if trouble is Trouble.SLOW:
            await asyncio.sleep(self.random.uniform(0.02, 0.3))
        if trouble is Trouble.GARBAGE:
            writer.write(self.random.choice(GARBAGE))
            await writer.drain()
            raise _CutError
        if trouble is Trouble.REFUSAL:
            status, text = self.random.choice(REFUSALS), b'{"error":{"message":"refused","code":"busy"}}'
            writer.write(f"HTTP/1.1 {status}\r\nretry-after: 1\r\ncontent-length: {len(text)}\r\n\r\n".encode() + text)
            return
        pieces = _pieces(path, body, self.requests)
        if trouble is Trouble.CUT:
            await self._cut(writer, pieces)
        if trouble is Trouble.POISON and sum(map(len, pieces)) < AT_ONCE_BYTES:
            pieces = [b"".join((*pieces, POISON))]
        for number, piece in enumerate(pieces):
            await _write(writer, piece, slowly=trouble is Trouble.DRIP and number < 20)
        await writer.drain()
        if trouble is Trouble.CLOSE:
            raise _CutError

    async def _cut(self, writer: asyncio.StreamWriter, pieces: list[bytes]) -> None:
        answer = b"".join(pieces)
        writer.write(answer[: self.random.choice([0, 1, self.random.randrange(len(answer) - 1), len(answer) - 1])])
        if self.random.random() < 0.5:
            link: socket.socket = writer.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            await writer.drain()
        raise _CutError


async def _write(writer: asyncio.StreamWriter, piece: bytes, *, slowly: bool) -> None:
    if writer.is_closing():
        raise _CutError
    step = 7 if slowly else len(piece)
    for start in range(0, min(len(piece), 20 * step), step):
        writer.write(piece[start : start + step])
        await (asyncio.sleep(0.002) if slowly else writer.drain())
    writer.write(piece[20 * step :])


def _pieces(path: str, body: bytes, serial: int) -> list[bytes]:
    """The answer, in the pieces in which it is sent."""
    if path.endswith("/transcriptions"):
        return _whole(model_words.transcript(body, serial))
    asked: dict[str, Any] = json.loads(body)
    if path.endswith("/embeddings"):
        inputs = asked["input"]
        return _whole(model_words.embeddings([inputs] if isinstance(inputs, str) else inputs, serial))
    question, size = asked["messages"][0]["content"], asked["size"]
    if not asked.get("stream"):
        return _whole(model_words.whole(question, size, serial))
    events = model_words.events(question, size, serial)
    chunks = [f"{len(event):x}\r\n".encode() + event + b"\r\n" for event in events]
    return [EVENTS_HEAD, *chunks, b"0\r\n\r\n"]


def _whole(body: bytes) -> list[bytes]:
    return [WHOLE_HEAD.format(len(body)).encode() + body]
