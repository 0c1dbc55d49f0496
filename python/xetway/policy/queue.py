"""Waiting for a slot: so many requests at once for each model and in all, the rest in a line with a length and a time.

Who is next: the highest of `priority + seconds waited / ageing`, then who came first. Two who wait grow alike, so
their order never changes: it is that of `arrival - priority * ageing`, an ordinary heap. Whoever waited `ageing`
seconds longer counts as one priority higher; nothing starves. A model whose slots are taken keeps nobody else waiting.

Refusals are 503 with Retry-After, also for those whose time ran out (`queue_timeout`): no upstream was asked, so the
request may be sent again; 504 is left to upstreams that were. Nobody gets a slot out of turn, because after every
step no one is left waiting who could have one. For one event loop; not for threads.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from bisect import bisect_left
from collections.abc import Callable, Container
from heapq import heapify, heappop, heappush
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from xetway.errors import BusyError
from xetway.settings import gateway as settings

RANKS: dict[settings.Priority, int] = {"low": 0, "normal": 1, "high": 2, "critical": 3}
# Upper ends of the histogram of waits; what is longer is in a last bucket of its own.
WAIT_BOUNDS_S = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

_SLACK = 32  # left behind in a heap by those who went, before it is swept


class Stats(msgspec.Struct, frozen=True):
    """Counts of one line. `total_queued` are all that were let in, whether or not they had to wait."""

    current_size: int
    max_size: int
    total_queued: int
    total_processed: int
    total_timeouts: int
    total_rejected: int
    total_cancelled: int
    utilization: float
    running: int


class ModelStats(msgspec.Struct, frozen=True):
    """The counts of each model, and sums over all that ever were."""

    queues: dict[str, Stats]
    total_size: int
    total_queued: int
    total_processed: int


class Waits(msgspec.Struct, frozen=True):
    """How long those waited who got a slot: for each of WAIT_BOUNDS_S and beyond, not summed up; and their sum."""

    counts: tuple[int, ...]
    sum_s: float


class _Line:
    """A model's slots and who waits for them; or, without a name, what all models have together."""

    __slots__ = (
        "cancelled",
        "heap",
        "kept",
        "limit",
        "name",
        "offered",
        "processed",
        "rejected",
        "running",
        "timeouts",
        "waiting",
    )

    def __init__(self, name: str, limit: int, *, kept: bool) -> None:
        self.name = name
        self.limit = limit
        self.kept = kept
        self.heap: _Heap = []
        self.offered: _Waiter | None = None
        self.running = self.waiting = 0
        self.processed = self.timeouts = self.rejected = self.cancelled = 0

    def head(self) -> _Waiter | None:
        """Return who is next in this line."""
        heap = self.heap
        while heap and not heap[0][2].waits:
            heappop(heap)
        return heap[0][2] if heap else None

    def stats(self, max_size: int) -> Stats:
        queued = self.processed + self.waiting + self.timeouts + self.cancelled
        utilization = self.waiting / max_size if max_size else 0.0
        return Stats(
            self.waiting,
            max_size,
            queued,
            self.processed,
            self.timeouts,
            self.rejected,
            self.cancelled,
            utilization,
            self.running,
        )


class _Waiter:
    """A request in line. `listed`: it is in the heap of offers."""

    __slots__ = ("arrival", "future", "key", "line", "listed", "timer", "waits")

    def __init__(self, line: _Line, arrival: float, key: float, future: asyncio.Future[Lease]) -> None:
        self.line = line
        self.arrival = arrival
        self.key = key
        self.future = future
        self.listed = False
        self.waits = True
        self.timer: asyncio.TimerHandle | None = None


_Heap: TypeAlias = list[tuple[float, int, _Waiter]]


class Lease:
    """A slot, held until `release`, the end of a `with` block, or until it is dropped. Once more does nothing."""

    __slots__ = ("_line", "_queue", "waited_s")

    def __init__(self, queue: Queue, line: _Line, waited_s: float) -> None:
        self._queue = queue
        self._line: _Line | None = line
        self.waited_s = waited_s

    def release(self) -> None:
        """Give the slot to who is next."""
        line = self._line
        if line is not None:
            self._line = None
            self._queue._release(line)  # noqa: SLF001  (two halves of one thing)

    def __del__(self) -> None:
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()


class Queue:
    """Slots, and the line before them.

    Of models in `keep` the counts stay when they are idle; of others nothing does.
    """

    def __init__(
        self,
        options: settings.Queue,
        clock: Callable[[], float] = time.monotonic,
        keep: Container[str] = (),
    ) -> None:
        self._clock = clock
        self._all = _Line("", sys.maxsize, kept=True)
        self._lines: dict[str, _Line] = {}
        # The head of each line that has a free slot, and some that are no longer that.
        self._offers: _Heap = []
        self._arrivals = 0
        self._waits = [0] * (len(WAIT_BOUNDS_S) + 1)
        self._waits_sum_s = 0.0
        self._last_wait_s = 0.0
        self.configure(options, keep)

    def configure(self, options: settings.Queue, keep: Container[str] = ()) -> None:
        """Take on other settings. Those who wait keep their places and times; who has a slot keeps it."""
        self._options = options
        self._keep = keep
        self._model_limit = options.model_concurrency or sys.maxsize
        self._all.limit = options.concurrency or sys.maxsize
        for line in list(self._lines.values()):
            line.kept = line.name in keep
            self._drop_if_idle(line)
        self._grant_free()

    def take(self, model: str, concurrency: int | None = None) -> Lease | None:
        """Take a slot if one is free now. None for `concurrency` is the limit of models that have none."""
        line = self._line(model, concurrency or self._model_limit)
        together = self._all
        if line.running >= line.limit or together.running >= together.limit:
            self._drop_if_idle(line)
            return None
        line.running += 1
        line.processed += 1
        together.running += 1
        together.processed += 1
        return Lease(self, line, 0.0)

    async def slot(
        self,
        model: str,
        concurrency: int | None = None,
        priority: settings.Priority = "normal",
        deadline: float | None = None,
    ) -> Lease:
        """Take a slot, waiting for one until `deadline` (of the clock) and no longer than all may wait.

        Raises BusyError, `queue_full` or `queue_timeout`. Who is cancelled leaves the line, or passes the slot on.
        """
        lease = self.take(model, concurrency)
        if lease is not None:
            return lease
        waiter = self._wait(self._line(model, concurrency or self._model_limit), RANKS[priority], deadline)
        try:
            return await waiter.future
        except BaseException:
            self._abandon(waiter)
            raise

    def stats(self) -> Stats:
        """Count over all models."""
        return self._all.stats(self._options.max_size)

    def model_stats(self) -> ModelStats:
        """Count for each model that is kept or busy."""
        together = self.stats()
        queues = {name: line.stats(self._options.max_size) for name, line in list(self._lines.items())}
        return ModelStats(queues, together.current_size, together.total_queued, together.total_processed)

    def waits(self) -> Waits:
        """Return the histogram of waits. Slots that were free are in the first bucket."""
        at_once = self._all.processed - sum(self._waits)
        return Waits((self._waits[0] + at_once, *self._waits[1:]), self._waits_sum_s)

    def _line(self, model: str, limit: int) -> _Line:
        line = self._lines.get(model)
        if line is None:
            line = self._lines[model] = _Line(model, limit, kept=model in self._keep)
        elif line.limit != limit:
            line.limit = limit
            self._offer(line)
            self._grant_free()
        return line

    def _wait(self, line: _Line, rank: int, deadline: float | None) -> _Waiter:
        together = self._all
        if together.waiting >= self._options.max_size:
            together.rejected += 1
            line.rejected += 1
            self._drop_if_idle(line)
            raise self._busy("too many requests wait already", "queue_full")
        # From here on a dropped lease may be collected at any time, and free a slot or forget an idle line.
        line.waiting += 1
        together.waiting += 1
        self._lines[line.name] = line
        now = self._clock()
        seconds = self._options.timeout if deadline is None else min(deadline - now, self._options.timeout)
        loop = asyncio.get_running_loop()
        waiter = _Waiter(line, now, now - rank * self._options.ageing, loop.create_future())
        waiter.timer = loop.call_later(seconds, self._expire, waiter)
        self._arrivals += 1
        heappush(line.heap, (waiter.key, self._arrivals, waiter))
        self._offer(line)
        self._grant_free()
        return waiter

    def _offer(self, line: _Line) -> None:
        """Put who is next in this line before the others' heads, if the line has a free slot."""
        head = line.head()
        line.offered = head if line.running < line.limit else None
        if head is not None and line.offered is head and not head.listed:
            head.listed = True
            heappush(self._offers, line.heap[0])

    def _grant_free(self) -> None:
        """Give what is free to those who wait, in order."""
        together = self._all
        while self._offers and together.running < together.limit:
            waiter = heappop(self._offers)[2]
            waiter.listed = False
            line = waiter.line
            if line.offered is not waiter:
                continue
            self._leave(waiter)
            if waiter.future.done():  # its task was cancelled, and did not run since
                line.cancelled += 1
                together.cancelled += 1
            else:
                self._grant(waiter)
            self._offer(line)
            self._drop_if_idle(line)

    def _grant(self, waiter: _Waiter) -> None:
        line, together = waiter.line, self._all
        waited_s = max(0.0, self._clock() - waiter.arrival)
        line.running += 1
        line.processed += 1
        together.running += 1
        together.processed += 1
        self._waits[bisect_left(WAIT_BOUNDS_S, waited_s)] += 1
        self._waits_sum_s += waited_s
        self._last_wait_s = waited_s
        waiter.future.set_result(Lease(self, line, waited_s))

    def _release(self, line: _Line) -> None:
        line.running -= 1
        self._all.running -= 1
        if self._all.waiting:
            self._offer(line)
            self._grant_free()
        self._drop_if_idle(line)

    def _leave(self, waiter: _Waiter) -> None:
        waiter.waits = False
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        line, together = waiter.line, self._all
        line.waiting -= 1
        if not line.waiting:
            line.heap.clear()
        together.waiting -= 1
        if not together.waiting:
            self._offers.clear()

    def _expire(self, waiter: _Waiter) -> None:
        if waiter.future.done():
            return
        waiter.line.timeouts += 1
        self._all.timeouts += 1
        self._go(waiter)
        waiter.future.set_exception(self._busy("no slot was free in time", "queue_timeout"))

    def _abandon(self, waiter: _Waiter) -> None:
        if waiter.waits:
            waiter.line.cancelled += 1
            self._all.cancelled += 1
            self._go(waiter)
        elif waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
            waiter.future.result().release()

    def _go(self, waiter: _Waiter) -> None:
        """Leave the line without a slot, and nothing behind."""
        line = waiter.line
        self._leave(waiter)
        self._offer(line)
        _sweep(line.heap, line.waiting)
        _sweep(self._offers, self._all.waiting)
        self._drop_if_idle(line)

    def _drop_if_idle(self, line: _Line) -> None:
        if not (line.running or line.waiting or line.kept):
            self._lines.pop(line.name, None)

    def _busy(self, message: str, code: str) -> BusyError:
        """A refusal. Who got a slot last waited as long as the next one may have to."""
        seconds = max(1, math.ceil(min(self._last_wait_s, self._options.timeout)))
        headers = (("retry-after", str(seconds)),)
        return BusyError(message, code=code, retry_after_s=seconds, headers=headers)


def _sweep(heap: _Heap, waiting: int) -> None:
    if len(heap) > 2 * waiting + _SLACK:
        heap[:] = [entry for entry in heap if entry[2].waits]
        heapify(heap)
