"""What workers tell one another, without processes: three that share one loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest
from msgspec.structs import replace

from xetway.siblings import Handover, Siblings, Total

pytestmark = pytest.mark.skipif(os.name == "nt", reason="several workers")


class Family:
    """Workers that each tell of some things that were counted, and of some that are there now."""

    def __init__(self) -> None:
        self.members: list[Siblings] = []
        self.told: dict[Siblings, dict[str, int]] = {}
        self.totals: dict[Siblings, Total[dict[str, int]]] = {}
        first = Siblings(3, words=8)
        self._add(first)
        self.join(1)
        self.join(2)

    def join(self, number: int) -> Siblings:
        """Have a worker begin; in a process of its own it would inherit the descriptors."""
        told = self.members[0].handover(number)
        own = replace(
            told, file=os.dup(told.file), inbox=os.dup(told.inbox), outboxes=tuple(map(os.dup, told.outboxes))
        )
        return self._add(Siblings.joining(own))

    def _add(self, member: Siblings) -> Siblings:
        self.members.append(member)
        self.told[member] = {"counted": 0, "now": 0}
        self.totals[member] = Total(member, "t", lambda: self.told[member], dict[str, int], added, past)
        return member

    async def among(self, do: Callable[[], Awaitable[None]], *absent: Siblings) -> None:
        """Do something while all but the absent ones answer."""
        present = [member for member in self.members if member not in absent]
        tasks = [asyncio.create_task(member.run()) for member in present]
        await asyncio.sleep(0)
        assert all(present[0].is_alive(member.number) for member in present)
        await do()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


def added(told: list[dict[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in told) for name in ("counted", "now")}


def past(told: dict[str, int]) -> dict[str, int]:
    return {**told, "now": 0}


@pytest.fixture
def family() -> Iterator[Family]:
    made = Family()
    yield made
    for member in made.members:
        member.close()


def test_each_tells_for_all_as_it_is_now(family: Family) -> None:
    async def look() -> None:
        for step in range(3):
            for number, member in enumerate(family.members):
                family.told[member] = {"counted": 10 * step, "now": number}
            assert [await family.totals[member]() for member in family.members] == [
                {"counted": 30 * step, "now": 3}
            ] * 3

    asyncio.run(family.among(look))


def test_what_one_counted_that_ended_stays_and_is_its_successors(family: Family) -> None:
    first, second, third = family.members

    async def count() -> None:
        for number, member in enumerate(family.members):
            family.told[member] = {"counted": 1 + number, "now": 5}
        assert await family.totals[first]() == {"counted": 6, "now": 15}

    async def look() -> None:
        assert await family.totals[first]() == {"counted": 6, "now": 10}

    async def look_again() -> None:
        family.told[successor] = {"counted": 4, "now": 1}
        assert await family.totals[first]() == await family.totals[successor]() == {"counted": 10, "now": 11}

    asyncio.run(family.among(count))
    asyncio.run(family.among(look, second))
    successor = family.join(1)
    asyncio.run(family.among(look_again, second))
    assert third in family.members


def test_one_that_does_not_answer_counts_as_it_told_last(family: Family) -> None:
    first, second, _ = family.members

    async def count() -> None:
        family.told[second] = {"counted": 1, "now": 1}
        assert await family.totals[first]() == {"counted": 1, "now": 1}

    async def look() -> None:
        family.told[second] = {"counted": 2, "now": 2}
        assert await family.totals[first]() == {"counted": 1, "now": 0}
        first.table.swap_word(1, 0, 1)  # as if it ran and were busy
        assert await family.totals[first]() == {"counted": 1, "now": 1}

    asyncio.run(family.among(count))
    asyncio.run(family.among(look, second))


def test_one_that_cannot_tell_its_numbers_answers_all_the_same(family: Family) -> None:
    first, second, _ = family.members

    def fail() -> dict[str, int]:
        raise OSError("too many open files")

    async def look() -> None:
        second.publish("t", fail)
        assert await family.totals[first]() == {"counted": 0, "now": 0}
        assert second.is_alive(1)
        second.publish("t", lambda: {"counted": 7, "now": 7})
        assert await family.totals[first]() == {"counted": 7, "now": 7}

    second.publish("t", fail)
    asyncio.run(family.among(look))


def test_what_is_asked_for_is_done_by_all_others(family: Family) -> None:
    done = []

    def noting(number: int) -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            await asyncio.sleep(0)
            done.append(number)

        return do

    for member in family.members:
        member.on("deed", noting(member.number))

    async def ask() -> None:
        await family.members[1].ask("deed")
        assert sorted(done) == [0, 2]
        await family.members[1].ask("unknown")

    asyncio.run(family.among(ask))


def test_one_that_ended_gives_back_what_it_held(family: Family) -> None:
    first, second, _ = family.members
    gone: list[int] = []
    first.on_release(gone.append)
    name = first.table.name("gate")
    assert second.table.enter(name, 1, 1, 0) is not None
    first.table.swap_word(1, 0, 1)
    assert first.table.enter(name, 0, 1, 0) is None
    first.release(1)
    assert (gone, first.is_alive(1)) == ([1], False)
    assert first.table.enter(name, 0, 1, 0) is not None


def test_nobody_else_can_open_the_memory(family: Family) -> None:
    told = family.members[0].handover(1)
    assert isinstance(told, Handover)
    found = os.fstat(told.file)
    assert (found.st_nlink, found.st_mode & 0o777) == (0, 0o600)
    assert not os.get_inheritable(told.file)
