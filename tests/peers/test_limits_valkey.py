"""Rate limits on a real server: the same rules, shared by whoever asks it, and what holds while it is away."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import valkey

from xetway._native import SharedTable
from xetway.errors import ConfigError, LimitedError
from xetway.policy.caller import Caller
from xetway.policy.key_server import TIMEOUT_S, KeyServer, connect
from xetway.policy.limits import Limiter
from xetway.policy.limits_valkey import ValkeyLimiter
from xetway.settings.gateway import Limit, Limits, Model, Upstream

NUMBERS = {"workers": 1, "buckets": 700, "gates": 70}


@asynccontextmanager
async def limiting(
    url: str, clock=lambda: 0.0, place_s: float = 60, timeout_s: float = 20
) -> AsyncIterator[ValkeyLimiter]:
    table = SharedTable(bytearray(SharedTable.size(**NUMBERS)), **NUMBERS)
    limits = Limits(enabled=True, key=Limit(), anonymous=Limit(requests_per_minute=3))
    server = KeyServer(connect(url, "limits.url", timeout_s), "limits.url", "alone", clock, timeout_s)
    limiter = ValkeyLimiter(server, Limiter(limits, table), place_s)
    yield limiter
    await limiter.close()


def make_model(limit: Limit = Limit()) -> Model:
    return Model(name="m", upstreams=(Upstream(url="http://127.0.0.1:9/v1"),), limit=limit)


def make_caller(limit: Limit | None = None, name: str = "bob") -> Caller:
    return Caller(id=name, key_name=name, limit=limit)


async def taken(limiter: ValkeyLimiter, caller: Caller, model: Model, tries: int = 100) -> int:
    async def one() -> bool:
        try:
            await limiter.take(caller, model)
        except LimitedError:
            return False
        return True

    return sum(await asyncio.gather(*(one() for _ in range(tries))))


async def refusal(limiter: ValkeyLimiter, caller: Caller, model: Model, tokens: int = 0) -> LimitedError:
    with pytest.raises(LimitedError) as caught:
        await limiter.take(caller, model, tokens)
    assert caught.value.code == "rate_limit_exceeded"
    return caught.value


async def settled(limiter: ValkeyLimiter) -> None:
    await asyncio.gather(*limiter._settling)


def test_two_gateways_admit_exactly_the_budget(key_server):
    async def run():
        bob, model = make_caller(Limit(requests_per_minute=1, burst=70)), make_model()
        async with limiting(key_server.url) as first, limiting(key_server.url) as second:
            counts = await asyncio.gather(taken(first, bob, model, 50), taken(second, bob, model, 50))
            assert sum(counts) == 70
            error = await refusal(first, bob, model)
            assert error.kind == "requests"
            assert 55 <= (error.retry_after_s or 0) <= 60
            assert dict(error.headers)["x-ratelimit-remaining"] == "0"

    asyncio.run(run())


def test_a_model_s_limit_refuses_and_the_key_s_is_untouched(key_server):
    async def run():
        bob, eve = make_caller(Limit(requests_per_minute=1, burst=20)), make_caller(name="eve")
        model = make_model(Limit(requests_per_minute=1, burst=10))
        async with limiting(key_server.url) as limiter:
            assert await taken(limiter, eve, model, 6) == 6
            assert await taken(limiter, bob, model) == 4
            assert "the model m" in (await refusal(limiter, bob, model)).message
            assert await taken(limiter, bob, make_model()) == 16

    asyncio.run(run())


def test_strangers_have_the_common_limit(key_server):
    async def run():
        async with limiting(key_server.url) as limiter:
            assert await taken(limiter, Caller(id="2001:db8::1"), make_model()) == 3
            assert await taken(limiter, Caller(id="2001:db8::2"), make_model()) == 0

    asyncio.run(run())


def test_tokens_are_settled(key_server):
    async def run():
        bob, model = make_caller(Limit(tokens_per_minute=1000)), make_model()
        async with limiting(key_server.url) as limiter:
            grant = await limiter.take(bob, model, 1000)
            told = dict(grant.headers())
            assert (told["x-ratelimit-remaining-tokens"], told["x-ratelimit-reset-tokens"]) == ("0", "1m0s")
            grant.finish(100)
            grant.finish(100)
            await settled(limiter)
            grant = await limiter.take(bob, model, 900)
            grant.finish(1900)
            await settled(limiter)
            error = await refusal(limiter, bob, model, 1)
            assert error.kind == "tokens"
            assert 55 <= (error.retry_after_s or 0) <= 61
            assert (await refusal(limiter, bob, model, 1001)).retry_after_s is None

    asyncio.run(run())


def test_so_many_at_a_time_until_they_leave_or_their_time_is_over(key_server):
    async def run():
        bob, model = make_caller(Limit(concurrency=3)), make_model()
        async with limiting(key_server.url) as limiter, limiting(key_server.url, place_s=0.001) as other:
            grants = [await limiter.take(bob, model) for _ in range(3)]
            assert (await refusal(limiter, bob, model)).retry_after_s == 1
            grants[0].finish()
            await settled(limiter)
            # It never says that it left; its time is over a millisecond later.
            await other.take(bob, model)
            while True:
                with suppress(LimitedError):
                    await limiter.take(bob, model)
                    break
            await refusal(limiter, bob, model)

    asyncio.run(run())


def test_nothing_is_kept_of_limits_that_are_whole(key_server):
    async def run():
        async with limiting(key_server.url) as limiter:
            grant = await limiter.take(make_caller(Limit(tokens_per_minute=1000, concurrency=3)), make_model(), 10)
            grant.finish(0)
            await settled(limiter)
        with valkey.Valkey.from_url(key_server.url) as client:
            assert client.keys() == []

    asyncio.run(run())


def test_while_the_server_is_away_this_machine_limits_for_itself(key_server, caplog):
    caplog.set_level(logging.INFO, "xetway")
    now = 0.0

    async def run():
        nonlocal now
        bob, model = make_caller(Limit(requests_per_minute=1, burst=5)), make_model()
        async with limiting(key_server.url, clock=lambda: now) as limiter:
            assert await taken(limiter, bob, model, 2) == 2
            key_server.stop()
            assert await taken(limiter, bob, model, 20) == 5
            now += 2
            assert await taken(limiter, bob, model, 20) == 0
            key_server.start()
            assert await taken(limiter, bob, model, 20) == 0
            now += 2
            assert await taken(limiter, bob, model, 1) == 1
            assert await taken(limiter, bob, model, 20) == 4

    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if record.name == "xetway"]
    assert [("away" in line, "back" in line) for line in told] == [(True, False), (False, True)]


def test_a_server_that_does_not_answer_is_not_waited_for():
    async def run():
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            async with limiting(url, timeout_s=TIMEOUT_S) as limiter:
                assert await taken(limiter, make_caller(Limit(requests_per_minute=1, burst=5)), make_model(), 20) == 5

    asyncio.run(run())


def test_an_address_that_is_none_is_refused_without_showing_it():
    with pytest.raises(ConfigError, match=r"limits\.url") as caught:
        connect("redis://user:secret@host:notaport/0", "limits.url")
    assert "secret" not in caught.value.message
