"""Sending a body piece by piece: no faster than its client takes it, and no longer than it is there.

Granian's `send` to a client that left does not fail, so `receive` is watched meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from xetway.http.delayed import Delayed
from xetway.http.request import Request
from xetway.http.response import Piece

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]


class Watch:
    """Sees when a request's client leaves; cancels the task that made it if that `waits`."""

    __slots__ = ("_request", "_task", "_watching", "stalled", "waits")

    def __init__(self, request: Request) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._request = request
        self._watching: asyncio.Task[None] | None = None
        self.waits = False
        self.stalled = False

    @property
    def left(self) -> bool:
        """Whether the client has left."""
        return self._watching is not None and self._watching.done()

    def begin(self) -> None:
        """Watch from now on."""
        self._watching = self._request.leaving()
        self._watching.add_done_callback(self._leave)

    def _leave(self, watching: asyncio.Task[None]) -> None:
        if self.waits and not watching.cancelled():
            self._task.cancel()

    def stall(self) -> None:
        """Cancel the task: its client takes nothing."""
        self.stalled = True
        self._task.cancel()

    def caught(self) -> bool:
        """Whether it was this that cancelled the task, and nobody else; then the task may go on."""
        return (self.stalled or (self.left and self.waits)) and self._task.uncancel() == 0

    def end(self) -> None:
        """Watch no more."""
        if self._watching is not None:
            self._watching.remove_done_callback(self._leave)


class Sending:
    """What is sent of one body. `length` is its size if that was announced."""

    __slots__ = ("_length", "_send", "_unsent", "_watch", "left", "sent_bytes")

    def __init__(self, request: Request, send: Send, length: int | None, unsent: Delayed) -> None:
        self._send = send
        self._length = length
        self._unsent = unsent
        self._watch = Watch(request)
        self.sent_bytes = 0
        self.left = False

    async def run(self, first: Piece, body: AsyncIterator[Piece], *, is_slow: bool) -> None:
        """Send `first` and all of `body`; `left` says afterwards whether the client left before the end.

        What is slow comes from elsewhere, and is not waited for when the client leaves.

        Raises:
            TimeoutError: The client took nothing for too long.
            RuntimeError: The body has another length than it should.
        """
        watch = self._watch
        watch.begin()
        try:
            if await self._put(first):
                watch.waits = is_slow
                async for piece in body:
                    watch.waits = False
                    if not await self._put(piece):
                        break
                    watch.waits = is_slow
            self.left = watch.left and self.sent_bytes != self._length
        except asyncio.CancelledError:
            if not watch.caught():
                raise
            if watch.stalled:
                raise TimeoutError("the client takes nothing any more") from None
            self.left = self.sent_bytes != self._length
        finally:
            self._unsent.drop(watch)
            watch.end()
        if self.left:
            return
        if self._length is not None and self.sent_bytes != self._length:
            raise RuntimeError(f"{self.sent_bytes} bytes were produced instead of {self._length}")
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _put(self, piece: Piece) -> bool:
        """Send a piece; say whether the next one is wanted."""
        watch, unsent = self._watch, self._unsent
        for part in piece:
            unsent.add(watch, watch.stall)
            await self._send({"type": "http.response.body", "body": part, "more_body": True})
            unsent.drop(watch)
            if watch.left and self.sent_bytes + len(part) != self._length:
                return False
            self.sent_bytes += len(part)
        piece.clear()
        return not watch.left
