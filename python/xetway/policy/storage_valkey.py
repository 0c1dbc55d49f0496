"""Answers on a Valkey or Redis server, so that machines share them and a restart forgets none.

A value is put with its time, which the server keeps, and begins with a digest of its key and what follows: anything
else that stands there is as good as nothing. Its key has the layout's version, so a newer xetway beside an older one
finds nothing of it. How much the server holds is its own setting (`maxmemory`, with a policy that evicts).

While the server is away there is no cache.

| Offset | Size | Meaning |
|---|---|---|
| 0 | 16 | BLAKE2b of the key's length (4 bytes, big-endian), the key and the answer |
| 16 | | the answer |
"""

from __future__ import annotations

import hashlib
import re
from functools import partial

from xetway.policy.key_server import KeyServer

PREFIX = b"xetway:answer:1:"
_DIGEST_BYTES = 16
_SCAN_COUNT = 1000
_SPECIAL = re.compile(rb"[*?\[\]\\^-]")


class ValkeyStorage:
    """Implements `ports.Storage`. Values larger than `max_value_bytes` are neither put nor read."""

    def __init__(self, server: KeyServer, max_value_bytes: int) -> None:
        self._server = server
        self._max_bytes = _DIGEST_BYTES + max_value_bytes

    async def get(self, key: bytes) -> bytes | None:
        """Return the value, unless its time is over."""
        run = self._server.client.execute_command
        stored = await self._server.ask(partial(run, "GETRANGE", PREFIX + key, 0, self._max_bytes))
        if not stored or len(stored) > self._max_bytes:
            return None
        digest, value = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return value if digest == _digest(key, value) else None

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keep a value."""
        stored = _digest(key, value) + value
        if len(stored) > self._max_bytes:
            return
        run, ttl_ms = self._server.client.execute_command, max(1, int(ttl_s * 1000))
        await self._server.ask(partial(run, "SET", PREFIX + key, stored, "PX", ttl_ms))

    async def delete(self, prefix: bytes) -> bool:
        """Forget all keys that begin so, batch by batch; the server answers others meanwhile."""
        run = self._server.client.execute_command
        pattern = _SPECIAL.sub(rb"\\\g<0>", PREFIX + prefix) + b"*"
        cursor = 0
        while True:
            found = await self._server.ask(partial(run, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT))
            if found is None:
                return False
            cursor, keys = int(found[0]), found[1]
            if keys and await self._server.ask(partial(run, "UNLINK", *keys)) is None:
                return False
            if not cursor:
                return True


def _digest(key: bytes, value: bytes) -> bytes:
    digest = hashlib.blake2b(len(key).to_bytes(4, "big") + key, digest_size=_DIGEST_BYTES)
    digest.update(value)
    return digest.digest()
