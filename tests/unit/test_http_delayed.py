"""Calls after a delay: in order, on time, and not at all if they were taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.unit import virtual_time
from xetway.http.delayed import Delayed


def test_calls_come_after_the_delay_unless_taken_back() -> None:
    async def main(clock: Callable[[], float]) -> None:
        called: list[tuple[str, float]] = []
        delayed = Delayed(2.5)
        for key in "abc":
            delayed.add(key, lambda key=key: called.append((key, clock())))
            await asyncio.sleep(1.0)
        delayed.drop("b")
        delayed.drop("a")
        await asyncio.sleep(10.0)
        assert called == [("a", 1002.5), ("c", 1004.5)]
        delayed.add("d", lambda: called.append(("d", clock())))
        await asyncio.sleep(2.5)
        assert called[2:] == [("d", 1015.5)]

    virtual_time.run(main)


def test_one_timer_is_enough() -> None:
    async def main(_clock: Callable[[], float]) -> None:
        delayed = Delayed(5.0)
        for key in range(1000):
            delayed.add(key, asyncio.Event().set)
            delayed.drop(key)
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert len(timers) == 1

    virtual_time.run(main)
