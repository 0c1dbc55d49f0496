"""Asking upstreams how they are, those that have an address for it.

Two bad answers in a row make one unhealthy, a good one healthy again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlsplit

from msgspec.structs import replace

from xetway.engines.remote import Dial, RemoteTarget, Send
from xetway.errors import XetwayError

BAD_IN_A_ROW = 2
TIMEOUT_S = 5.0


class HealthChecks:
    """All of them; `run` until cancelled."""

    def __init__(
        self,
        targets: Mapping[str, Sequence[RemoteTarget]],
        dial: Dial,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._targets = [target for some in targets.values() for target in some if target.upstream.health is not None]
        self._dial = dial
        self._sleep = sleep

    async def run(self) -> None:
        """Ask each again and again."""
        async with asyncio.TaskGroup() as group:
            for target in self._targets:
                group.create_task(self._watch(target))

    async def _watch(self, target: RemoteTarget) -> None:
        parts = urlsplit(target.upstream.url)
        root = replace(target.upstream, url=f"{parts.scheme}://{parts.netloc}", max_connections=1)
        path = (target.upstream.health or "/").encode("ascii", "replace")
        send = self._dial(root, [], TIMEOUT_S)
        bad = 0
        while True:
            bad = 0 if await _is_well(send, path) else bad + 1
            target.healthy = bad < BAD_IN_A_ROW
            await self._sleep(target.upstream.health_interval)


async def _is_well(send: Send, path: bytes) -> bool:
    try:
        answer = await send("GET", path, [], b"", [])
    except XetwayError:
        return False
    answer.close()
    return answer.status == 200
