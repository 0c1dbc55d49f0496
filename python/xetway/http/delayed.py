"""Calls that are to come after a delay, unless they are taken back before, as most of them are.

All share one delay and one timer of the event loop; a timer for each would cost more than what it watches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable


class Delayed:
    """Calls that wait, for one event loop; each has a key."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        # In the order in which they are due.
        self._waiting: dict[Hashable, tuple[float, Callable[[], object]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Hashable, call: Callable[[], object]) -> None:
        """Have `call` called after the delay."""
        loop = asyncio.get_running_loop()
        self._waiting[key] = (loop.time() + self._delay_s, call)
        if self._timer is None:
            self._timer = loop.call_later(self._delay_s, self._look, loop)

    def drop(self, key: Hashable) -> None:
        """Take a call back; nothing happens if it was called, or never was there."""
        self._waiting.pop(key, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._waiting:
            key, (due, call) = next(iter(self._waiting.items()))
            if due > now:
                self._timer = loop.call_at(due, self._look, loop)
                return
            del self._waiting[key]
            call()
