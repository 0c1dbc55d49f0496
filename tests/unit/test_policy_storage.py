"""Answers in memory: the bytes they may use, and their time."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from xetway.policy.storage import ENTRY_BYTES, MemoryStorage


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def at_once(step: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that must not wait."""
    try:
        step.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def test_value_until_its_time_is_over() -> None:
    time = Time()
    storage = MemoryStorage(10_000, time)
    at_once(storage.put(b"k", b"v", 10))
    time.now = 9.9
    assert at_once(storage.get(b"k")) == b"v"
    time.now = 10
    assert at_once(storage.get(b"k")) is None
    assert (len(storage), storage.size_bytes) == (0, 0)


def test_least_recently_used_go_first() -> None:
    storage = MemoryStorage(3 * (ENTRY_BYTES + 101))
    for name in (b"a", b"b", b"c"):
        at_once(storage.put(name, bytes(100), 10))
    at_once(storage.get(b"a"))
    at_once(storage.put(b"d", bytes(100), 10))
    assert [at_once(storage.get(name)) is not None for name in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert storage.evictions == 1
    at_once(storage.put(b"e", bytes(200), 10))
    assert len(storage) == 2


def test_replacing_counts_once() -> None:
    storage = MemoryStorage(10_000)
    for size in (100, 50):
        at_once(storage.put(b"k", bytes(size), 10))
    assert storage.size_bytes == ENTRY_BYTES + 51
    assert len(at_once(storage.get(b"k"))) == 50


def test_value_that_never_fits_is_not_kept_nor_what_it_replaces() -> None:
    storage = MemoryStorage(1000)
    at_once(storage.put(b"k", b"old", 10))
    at_once(storage.put(b"k", bytes(1000), 10))
    assert at_once(storage.get(b"k")) is None
    assert storage.size_bytes == 0


def test_budget_is_never_exceeded() -> None:
    storage = MemoryStorage(50_000)
    for number in range(2000):
        at_once(storage.put(b"%d" % number, bytes(number % 997), 10))
        assert storage.size_bytes <= 50_000
    assert storage.size_bytes == sum(
        len(key) + len(value) + ENTRY_BYTES for key, (_, value) in storage._entries.items()
    )


def test_delete_by_what_keys_begin_with() -> None:
    storage = MemoryStorage(10_000)
    for key in (b"aa1", b"aa2", b"ab1"):
        at_once(storage.put(key, b"", 10))
    asyncio.run(storage.delete(b"aa"))
    assert len(storage) == 1
    asyncio.run(storage.delete(b""))
    assert (len(storage), storage.size_bytes) == (0, 0)
