"""The line before the models: who is next, what is told to those who get no slot, and that no slot is ever lost."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.virtual_time import VirtualLoop, run, settle
from xetway.errors import BusyError
from xetway.policy.queue import RANKS, WAIT_BOUNDS_S, Lease, Queue
from xetway.settings import gateway as settings

Clock = Callable[[], float]
PRIORITIES = tuple(RANKS)


class Asker:
    """Asks for slots one after another and remembers in which order they were given."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.tasks: dict[str, asyncio.Task[Lease]] = {}
        self.leases: dict[str, Lease] = {}
        self.order: list[str] = []

    async def ask(self, name: str, model: str = "m", *rest, **options) -> None:
        async def wait() -> Lease:
            lease = await self.queue.slot(model, *rest, **options)
            self.leases[name] = lease
            self.order.append(name)
            return lease

        self.tasks[name] = asyncio.create_task(wait())
        await settle()

    async def release(self, name: str) -> None:
        self.leases.pop(name).release()
        await settle()


def test_free_slots_are_taken_without_waiting() -> None:
    queue = Queue(settings.Queue(concurrency=2))  # no event loop anywhere
    first, second = queue.take("a"), queue.take("b")
    assert first is not None
    assert second is not None
    assert queue.take("c") is None
    first.release()
    first.release()
    assert queue.stats().running == 1
    with second:
        pass
    assert queue.stats().running == 0
    assert queue.stats().total_processed == 2


def test_dropped_lease_is_released() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1), clock)
        asker = Asker(queue)
        held = await queue.slot("m")
        await asker.ask("next")
        del held
        await settle()
        assert asker.order == ["next"]

    run(main)


def test_lease_collected_on_the_way_into_the_line_is_not_waited_for() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1), lambda: held.clear() or clock())
        held = [queue.take("m")]
        assert (await queue.slot("m")).waited_s == 0

    run(main)


def test_slot_that_is_free_does_not_suspend() -> None:
    step = Queue(settings.Queue(concurrency=1)).slot("m")
    with pytest.raises(StopIteration) as end:
        step.send(None)
    assert isinstance(end.value.value, Lease)


def test_higher_priority_is_first_and_equals_by_arrival() -> None:
    async def main(clock: Clock) -> None:
        asker = Asker(Queue(settings.Queue(concurrency=1), clock))
        await asker.ask("first")
        for name, priority in (("l1", "low"), ("n1", "normal"), ("c", "critical"), ("n2", "normal"), ("h", "high")):
            await asker.ask(name, "m", None, priority)
        for _ in range(6):
            await asker.release(asker.order[-1])
        assert asker.order == ["first", "c", "h", "n1", "n2", "l1"]

    run(main)


def test_waiting_counts_as_priority() -> None:
    async def main(clock: Clock) -> None:
        asker = Asker(Queue(settings.Queue(concurrency=1, timeout=100, ageing=5), clock))
        await asker.ask("first")
        await asker.ask("low", "m", None, "low")
        await asyncio.sleep(4.9)
        await asker.ask("before", "m", None, "normal")
        await asyncio.sleep(0.2)
        await asker.ask("after", "m", None, "normal")
        for _ in range(3):
            await asker.release(asker.order[-1])
        assert asker.order == ["first", "before", "low", "after"]

    run(main)


def test_full_model_keeps_nobody_else_waiting() -> None:
    async def main(clock: Clock) -> None:
        asker = Asker(Queue(settings.Queue(concurrency=3), clock))
        await asker.ask("a1", "a", 1)
        await asker.ask("a2", "a", 1, "critical")
        await asker.ask("b1", "b", 5)
        await asker.ask("b2", "b", 5)
        assert asker.order == ["a1", "b1", "b2"]
        await asker.ask("b3", "b", 5, "low")
        await asker.release("b1")
        assert asker.order[3:] == ["b3"]
        await asker.release("a1")
        assert asker.order[4:] == ["a2"]

    run(main)


def test_head_of_a_line_that_was_full_is_offered_again() -> None:
    async def main(clock: Clock) -> None:
        asker = Asker(Queue(settings.Queue(concurrency=2), clock))
        await asker.ask("a1", "a", 1)
        await asker.ask("b1", "b", 1)
        await asker.ask("a2", "a", 1)
        await asker.ask("b2", "b", 1, "low")
        await asker.ask("c1", "c", 1, "normal")
        await asker.release("b1")
        assert asker.order[2:] == ["c1"]
        await asker.release("a1")
        await asker.release("c1")
        assert asker.order[3:] == ["a2", "b2"]

    run(main)


def test_raised_limit_lets_in_who_waits() -> None:
    async def main(clock: Clock) -> None:
        asker = Asker(Queue(settings.Queue(), clock))
        for name in ("1", "2", "3"):
            await asker.ask(name, "m", 1)
        assert asker.order == ["1"]
        await asker.ask("4", "m", 3)
        assert asker.order == ["1", "2", "3"]
        await asker.release("1")
        assert asker.order[3:] == ["4"]

    run(main)


def test_other_settings_while_requests_wait() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1), clock, keep={"old"})
        (await queue.slot("old")).release()
        asker = Asker(queue)
        for name in ("1", "2", "3"):
            await asker.ask(name)
        queue.configure(settings.Queue(concurrency=2, max_size=1), keep={"new"})
        await settle()
        assert asker.order == ["1", "2"]
        assert set(queue.model_stats().queues) == {"m"}
        with pytest.raises(BusyError):
            await queue.slot("m")
        queue.configure(settings.Queue(concurrency=1))
        await asker.release("1")
        assert asker.order == ["1", "2"]
        await asker.release("2")
        assert asker.order == ["1", "2", "3"]

    run(main)


def test_full_line_refuses_at_once() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, max_size=1), clock)
        asker = Asker(queue)
        await asker.ask("runs")
        await asker.ask("waits", "other")
        with pytest.raises(BusyError) as refused:
            await queue.slot("third", None, "critical")
        error = refused.value
        assert (error.code, error.status, error.retry_after_s) == ("queue_full", 503, 1)
        assert error.headers == (("retry-after", "1"),)
        stats = queue.stats()
        assert (stats.current_size, stats.total_rejected, stats.utilization) == (1, 1, 1.0)
        assert set(queue.model_stats().queues) == {"m", "other"}

    run(main)


def test_no_line_at_all() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, max_size=0), clock)
        with await queue.slot("m"), pytest.raises(BusyError, match="too many"):
            await queue.slot("m")
        assert queue.stats().utilization == 0

    run(main)


def test_time_out_is_told_in_time_though_nothing_moves() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, timeout=30), clock)
        lease = await queue.slot("m")
        began = clock()
        with pytest.raises(BusyError) as refused:
            await queue.slot("m")
        assert clock() - began == pytest.approx(30)
        assert (refused.value.code, refused.value.status) == ("queue_timeout", 503)
        with pytest.raises(BusyError):
            await queue.slot("m", deadline=clock() + 2)
        assert clock() - began == pytest.approx(32)
        stats = queue.stats()
        assert (stats.current_size, stats.total_queued, stats.total_timeouts) == (0, 3, 2)
        lease.release()
        assert queue.model_stats().queues == {}

    run(main)


def test_retry_after_is_how_long_the_last_one_waited() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, max_size=1), clock)
        asker = Asker(queue)
        await asker.ask("1")
        await asker.ask("2")
        await asyncio.sleep(6.5)
        await asker.release("1")
        assert asker.leases["2"].waited_s == pytest.approx(6.5)
        await asker.ask("3")
        with pytest.raises(BusyError) as refused:
            await queue.slot("m")
        assert refused.value.retry_after_s == 7

    run(main)


def test_cancelled_waiter_leaves_no_trace() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1), clock)
        asker = Asker(queue)
        for name in "123":
            await asker.ask(name, name)
        asker.tasks["2"].cancel()
        await settle()
        assert set(queue.model_stats().queues) == {"1", "3"}
        await asker.release("1")
        assert asker.order == ["1", "3"]
        await asker.release("3")
        stats = queue.stats()
        assert (stats.total_queued, stats.total_processed, stats.total_cancelled, stats.running) == (3, 2, 1, 0)

    run(main)


@pytest.mark.parametrize("cancel_first", [True, False])
def test_granted_and_cancelled_at_once(cancel_first: bool) -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1), clock)
        asker = Asker(queue)
        for name in "123":
            await asker.ask(name, name)
        if cancel_first:
            asker.tasks["2"].cancel()
            asker.leases["1"].release()
        else:
            asker.leases["1"].release()
            asker.tasks["2"].cancel()
        await settle()
        assert asker.order == ["1", "3"]
        await asker.release("3")
        assert queue.stats().running == 0
        assert queue.model_stats().queues == {}

    run(main)


@pytest.mark.parametrize("cancel_first", [True, False])
def test_expired_and_cancelled_at_once(cancel_first: bool) -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1), clock)
        asker = Asker(queue)
        await asker.ask("1")
        task = asyncio.create_task(queue.slot("m"))
        await settle()
        _, _, waiter = queue._lines["m"].heap[0]
        if cancel_first:
            task.cancel()
        queue._expire(waiter)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asker.release("1")
        stats = queue.stats()
        assert stats.total_timeouts + stats.total_cancelled == 1
        assert (stats.running, stats.current_size) == (0, 0)

    run(main)


def test_random_model_names_leave_nothing() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, max_size=5, timeout=1), clock, keep={"kept"})
        held = await queue.slot("kept")
        waiting: list[asyncio.Task[Lease]] = []
        for number in range(10_000):
            waiting.append(asyncio.create_task(queue.slot(f"name {number}")))
            if number % 7 == 0:
                await settle()
                waiting[-1].cancel()
                assert queue.take(f"another {number}") is None
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(result, (BusyError, asyncio.CancelledError)) for result in results)
        held.release()
        assert set(queue.model_stats().queues) == {"kept"}
        assert queue._offers == []
        assert queue._lines["kept"].heap == []

    run(main)
    gc.collect()


def test_those_who_went_do_not_pile_up() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, timeout=1000), clock)
        asker = Asker(queue)
        await asker.ask("runs")
        await asker.ask("waits", "m", None, "low")
        for number in range(300):
            await asker.ask(str(number), "m", None, "normal")
            asker.tasks[str(number)].cancel()
            await asker.ask(f"other {number}", "m", None, "low")
            asker.tasks[f"other {number}"].cancel()
        assert len(queue._lines["m"].heap) < 100
        assert len(queue._offers) < 100
        await settle()
        await asker.release("runs")
        assert asker.order == ["runs", "waits"]

    run(main)


def test_histogram_of_waits() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(concurrency=1, timeout=1000), clock)
        asker = Asker(queue)
        await asker.ask("1")
        await asker.ask("2")
        await asyncio.sleep(0.3)
        await asker.release("1")
        await asker.ask("3")
        await asyncio.sleep(100)
        await asker.release("2")
        waits = queue.waits()
        assert waits.counts[0] == 1
        assert waits.counts[WAIT_BOUNDS_S.index(0.5)] == 1
        assert waits.counts[-1] == 1
        assert sum(waits.counts) == 3
        assert waits.sum_s == pytest.approx(100.3)

    run(main)


def test_counts_of_models() -> None:
    async def main(clock: Clock) -> None:
        queue = Queue(settings.Queue(model_concurrency=1, max_size=4), clock, keep=("idle",))
        (await queue.slot("idle")).release()
        asker = Asker(queue)
        await asker.ask("1", "busy")
        await asker.ask("2", "busy")
        told = queue.model_stats()
        assert (told.total_size, told.total_queued, told.total_processed) == (1, 3, 2)
        assert (told.queues["busy"].current_size, told.queues["busy"].running) == (1, 1)
        assert told.queues["busy"].utilization == 0.25
        assert told.queues["idle"].total_processed == 1

    run(main)


class Line(RuleBasedStateMachine):
    """The queue beside the simplest one that could be right: a list, searched anew for each slot."""

    LIMITS: ClassVar = {"a": 1, "b": 2, "c": 4}
    TOGETHER = 3
    AGEING = 5.0

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = self.runner.get_loop().time
        options = settings.Queue(concurrency=self.TOGETHER, max_size=12, timeout=20, ageing=self.AGEING)
        self.queue = Queue(options, self.clock)
        self.tasks: dict[int, asyncio.Task[Lease]] = {}
        self.asked: dict[int, tuple[str, int, float]] = {}
        self.waiting: list[int] = []
        self.running: list[int] = []

    def teardown(self) -> None:
        self.runner.close()

    def settle(self) -> None:
        self.runner.run(settle())

    def admit(self) -> None:
        """Grant, in the list, what may be granted."""

        def rank(number: int) -> tuple[float, int]:
            _, priority, arrival = self.asked[number]
            return priority + (self.clock() - arrival) / self.AGEING, -number

        while len(self.running) < self.TOGETHER:
            free = [n for n in self.waiting if self.used(self.asked[n][0]) < self.LIMITS[self.asked[n][0]]]
            if not free:
                return
            best = max(free, key=rank)
            self.waiting.remove(best)
            self.running.append(best)

    def used(self, model: str) -> int:
        return sum(self.asked[number][0] == model for number in self.running)

    @rule(model=st.sampled_from("abc"), priority=st.sampled_from(PRIORITIES))
    def ask(self, model: str, priority: settings.Priority) -> None:
        number = len(self.tasks)
        slot = self.queue.slot(model, self.LIMITS[model], priority)
        task = self.tasks[number] = self.runner.get_loop().create_task(slot)
        self.asked[number] = (model, RANKS[priority], self.clock())
        self.settle()
        self.waiting.append(number)
        self.admit()
        if len(self.waiting) > 12:
            self.waiting.remove(number)
            assert task.exception().code == "queue_full"

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.running))
        self.running.remove(number)
        self.tasks[number].result().release()
        self.settle()
        self.admit()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.waiting))
        self.waiting.remove(number)
        self.tasks[number].cancel()
        self.settle()
        self.admit()

    @precondition(lambda self: self.waiting and self.running)
    @rule(data=st.data(), cancel_first=st.booleans())
    def cancel_and_release(self, data: st.DataObject, cancel_first: bool) -> None:
        left, done = data.draw(st.sampled_from(self.waiting)), data.draw(st.sampled_from(self.running))
        steps = [self.tasks[left].cancel, self.tasks[done].result().release]
        for step in steps if cancel_first else reversed(steps):
            step()
        self.waiting.remove(left)
        self.running.remove(done)
        self.settle()
        self.admit()

    @rule(seconds=st.sampled_from([0.25, 3, 7, 21]))
    def wait(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))
        self.settle()
        for number in list(self.waiting):
            if self.clock() - self.asked[number][2] >= 20:
                self.waiting.remove(number)
                assert self.tasks[number].exception().code == "queue_timeout"

    @invariant()
    def both_agree(self) -> None:
        for number in self.running:
            assert self.tasks[number].done()
            assert isinstance(self.tasks[number].result(), Lease)
        for number in self.waiting:
            assert not self.tasks[number].done()
        stats = self.queue.stats()
        assert (stats.running, stats.current_size) == (len(self.running), len(self.waiting))
        gone = stats.total_timeouts + stats.total_cancelled
        assert stats.total_queued == stats.total_processed + stats.current_size + gone
        lines = self.queue.model_stats().queues
        assert set(lines) == {self.asked[number][0] for number in self.waiting + self.running}
        assert all(line.running <= self.LIMITS[name] for name, line in lines.items())


TestLine = Line.TestCase
TestLine.settings = hypothesis_settings(max_examples=60, stateful_step_count=40, deadline=None)
