"""What becomes of a request's place on a server of limits that is away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from xetway._native import SharedTable
from xetway.policy.caller import Caller
from xetway.policy.key_server import AWAY_S, KeyServer
from xetway.policy.limits import Limiter
from xetway.policy.limits_valkey import ValkeyLimiter
from xetway.settings.gateway import Limit, Limits, Model, Upstream

NUMBERS = {"workers": 1, "buckets": 700, "gates": 70}
BOB = Caller(id="bob", key_name="bob", limit=Limit(concurrency=1, tokens_per_minute=1000))
MODEL = Model(name="m", upstreams=(Upstream(url="http://127.0.0.1:9/v1"),))


class Server:
    """Implements `key_server.Client`: who has a place, and how tokens were settled.

    While it is mute it still gives places, and does nothing else.
    """

    def __init__(self) -> None:
        self.places: set[str] = set()
        self.settled: list[int] = []
        self.is_mute = False

    def register_script(self, script: str) -> Callable[..., Awaitable[Any]]:
        takes = "ZADD" in script

        async def run(keys: Sequence[str], args: Sequence[Any]) -> Any:
            if takes:
                self.places.add(args[0])
            elif not self.is_mute:
                self.places.discard(args[0])
                self.settled += args[2:]
            await asyncio.sleep(0)
            if self.is_mute:
                raise TimeoutError
            return [1, 0, 0] if takes else 1

        return run

    async def execute_command(self, *arguments: bytes | str | int) -> Any:
        raise AssertionError(arguments)

    async def aclose(self) -> None:
        return


def limiting(server: Server, after_sleep: Callable[[], None]) -> ValkeyLimiter:
    """A limiter whose pauses take no time."""
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        await asyncio.sleep(0)
        after_sleep()

    table = SharedTable(bytearray(SharedTable.size(**NUMBERS)), **NUMBERS)
    asked = KeyServer(server, "limits.url", "alone", lambda: now)
    return ValkeyLimiter(asked, Limiter(Limits(), table), 10 * AWAY_S, sleep)


def test_a_place_of_a_request_that_ends_while_the_server_is_away_is_given_back_later() -> None:
    async def go() -> None:
        server = Server()
        limiter = limiting(server, lambda: setattr(server, "is_mute", False))
        grants = [await limiter.take(BOB, MODEL, 10) for _ in range(2)]
        server.is_mute = True
        for grant in grants:
            grant.finish(30)
        await limiter.close()
        assert (server.places, server.settled) == (set(), [])

    asyncio.run(go())


def test_a_place_that_may_have_been_taken_is_given_back() -> None:
    async def go() -> None:
        server = Server()
        limiter = limiting(server, lambda: setattr(server, "is_mute", False))
        server.is_mute = True
        await limiter.take(BOB, MODEL, 10)
        assert len(server.places) == 1
        taking = asyncio.create_task(limiter.take(BOB, MODEL, 10))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.wait({taking})
        await limiter.close()
        assert (taking.cancelled(), server.places) == (True, set())

    asyncio.run(go())


def test_no_place_is_tried_to_be_given_back_for_ever() -> None:
    async def go() -> None:
        server = Server()
        pauses: list[None] = []
        limiter = limiting(server, lambda: pauses.append(None))
        grant = await limiter.take(BOB, MODEL, 10)
        server.is_mute = True
        grant.finish(10)
        await limiter.close()
        assert len(pauses) == 10

    asyncio.run(go())
