"""Answers in this process' memory, those used last, up to a number of bytes."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

# What an entry costs beside its key and value: the objects' heads, a time, its place in the table.
ENTRY_BYTES = 384


class MemoryStorage:
    """Implements `ports.Storage`. Its coroutines never wait, so awaiting them costs no turn of the event loop."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.size_bytes = 0
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, key: bytes) -> bytes | None:
        """Return the value, unless its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keep a value; those used longest ago make room for it."""
        self._drop(key)
        cost = len(key) + len(value) + ENTRY_BYTES
        if cost > self._max_bytes:
            return
        while self.size_bytes + cost > self._max_bytes:
            self._drop(next(iter(self._entries)))
            self.evictions += 1
        self._entries[key] = (self._clock() + ttl_s, value)
        self.size_bytes += cost

    async def delete(self, prefix: bytes) -> bool:
        """Forget all keys that begin so."""
        for key in [key for key in self._entries if key.startswith(prefix)]:
            self._drop(key)
        return True

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.size_bytes -= len(key) + len(entry[1]) + ENTRY_BYTES
