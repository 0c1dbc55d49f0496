"""The counts of the lines of several workers, put together."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import astuple, replace

from xetway.policy.queue import Queue, Stats


class QueueTotals(Struct, frozen=True):
    """The counts over all models, and of each."""

    all: Stats
    models: dict[str, Stats]


def of_queue(queue: Queue) -> QueueTotals:
    """What a worker's queue tells."""
    return QueueTotals(queue.stats(), queue.model_stats().queues)


def added(told: Iterable[QueueTotals]) -> QueueTotals:
    """Put together what several workers tell."""
    told = list(told)
    models: dict[str, list[Stats]] = {}
    for each in told:
        for name, stats in each.models.items():
            models.setdefault(name, []).append(stats)
    return QueueTotals(_sum([each.all for each in told]), {name: _sum(stats) for name, stats in models.items()})


def past(told: QueueTotals) -> QueueTotals:
    """What is left of the counts of a worker that has ended: nobody waits there, and it takes nobody."""
    return QueueTotals(_past(told.all), {name: _past(stats) for name, stats in told.models.items()})


def _sum(all_stats: list[Stats]) -> Stats:
    total = Stats(*map(sum, zip(*map(astuple, all_stats), strict=True)))
    return replace(total, utilization=total.current_size / total.max_size if total.max_size else 0.0)


def _past(stats: Stats) -> Stats:
    return replace(stats, current_size=0, running=0, max_size=0)
