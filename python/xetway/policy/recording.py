"""An upstream's answer, passed on and written down at the same time.

Whether it is complete is judged by its content: JSON that ends and is no error, or a stream whose last event says so
(`data: [DONE]`; of responses `response.completed` or `response.incomplete`) and which told of no error before.

Source: https://platform.openai.com/docs/api-reference/chat-streaming and /responses-streaming.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from xetway.policy.cacheable import Kind
from xetway.policy.flights import Kept, Lead
from xetway.ports import Answer, RawHeaders

Keep = Callable[[Lead, Kept], Awaitable[None]]

_ERROR_EVENTS = (b'\ndata: {"error"', b'\ndata:{"error"', b"\nevent: error", b"\nevent:error", b"\nerror:")
_ENDS = (b"response.completed", b"response.incomplete")


class _Whole(msgspec.Struct):
    """Of a whole answer, what tells whether it is one."""

    error: Any = None
    status: Any = None


_DECODE = msgspec.json.Decoder(_Whole).decode


def header(headers: RawHeaders, name: bytes) -> bytes:
    """Return a header's value, or nothing."""
    return next((value for found, value in headers if found.lower() == name), b"")


def is_shareable(headers: RawHeaders) -> bool:
    """Whether the upstream lets others have the answer, in a form that all can read."""
    encoding = header(headers, b"content-encoding")
    return encoding in {b"", b"identity"} and b"no-store" not in header(headers, b"cache-control").lower()


def is_complete(kind: Kind, content_type: bytes, body: bytes) -> bool:
    """Whether a body is a good answer to its end."""
    if content_type.lower().startswith(b"text/event-stream"):
        return _is_complete_stream(kind, b"\n" + body.replace(b"\r\n", b"\n").rstrip())
    try:
        whole = _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    if whole.error is not None:
        return False
    return kind != "responses" or whole.status in (None, "completed", "incomplete")


def _is_complete_stream(kind: Kind, text: bytes) -> bool:
    if any(mark in text for mark in _ERROR_EVENTS):
        return False
    last = text.rpartition(b"\n\n")[2]
    if kind == "responses":
        return any(end in last for end in _ENDS)
    return last.rpartition(b"\n")[2].replace(b" ", b"") == b"data:[DONE]"


class Recorded:
    """Implements `ports.Answer`. If its client leaves it is read to its end while others wait for it."""

    def __init__(self, answer: Answer, lead: Lead, kind: Kind, max_bytes: int, keep: Keep) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.body
        self._answer = answer
        self._lead = lead
        self._kind = kind
        self._max_bytes = max_bytes
        self._keep = keep
        self._parts: list[bytes] = []
        self._size_bytes = 0
        # A piece that is waited for in the name of all.
        self._reading: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        """Return the next piece, nothing at the end."""
        if self._lead.wanted:
            self._reading = asyncio.ensure_future(self._answer.read())
            coming: Awaitable[bytes] = asyncio.shield(self._reading)
        else:
            coming = self._answer.read()
        try:
            piece = await coming
        except BaseException as error:
            # A piece may be lost, unless just this client does not wait for it any more.
            if self._reading is None or not isinstance(error, asyncio.CancelledError):
                self._lead.leave()
            raise
        self._reading = None
        await self.add(piece)
        return piece

    def close(self) -> None:
        """Stop, unless others wait for the rest."""
        if self._lead.wanted:
            self._lead.carry_on(self.read_on())
            return
        if self._reading is not None:
            self._reading.cancel()
        self._lead.leave()
        self._answer.close()

    async def read_on(self) -> None:
        """Read the rest for those who wait."""
        reading, self._reading = self._reading, None
        try:
            if reading is not None:
                await self.add(await reading)
            while self._lead.wanted:
                await self.add(await self._answer.read())
        except Exception:  # noqa: BLE001, S110  (nobody to tell is left: who waits now leads, and sees for itself)
            pass
        finally:
            self._lead.leave()
            self._answer.close()

    async def add(self, piece: bytes) -> None:
        """Write down a piece; an empty one is the end."""
        if piece:
            self._size_bytes += len(piece)
            self._parts.append(piece)
            if self._size_bytes > self._max_bytes:
                self._parts.clear()
                self._lead.give_up()
            return
        body, content_type = b"".join(self._parts), header(self.headers, b"content-type")
        self._parts.clear()
        if is_complete(self._kind, content_type, body):
            await self._keep(self._lead, Kept(content_type, body))
        else:
            self._lead.leave()
