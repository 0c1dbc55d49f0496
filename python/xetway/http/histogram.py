"""Counting values in buckets, and telling numbers of one meaning as Prometheus wants them.

Source: https://prometheus.io/docs/practices/naming/ and /instrumenting/exposition_formats/.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from xetway.http.metrics import Sample


class Metric(msgspec.Struct, frozen=True):
    """What the samples of one name mean. `labels` are the names of theirs, `over_workers` is as in `Sample`."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    over_workers: Literal["sum", "max", "min"] = "sum"

    def sample(self, value: float, *values: str) -> Sample:
        """Make its sample for these values of its labels."""
        labels = tuple(zip(self.labels, values, strict=True))
        return Sample(self.name, float(value), self.kind, self.help, labels, self.over_workers)

    def histogram(self, bounds: Sequence[float], counts: Iterable[int], total: float, *values: str) -> Iterator[Sample]:
        """Make the samples of a histogram; `counts` are those of each bucket alone, the last is beyond all bounds."""
        labels = tuple(zip(self.labels, values, strict=True))
        below = 0
        for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
            below += count
            yield Sample(f"{self.name}_bucket", below, "histogram", self.help, (*labels, ("le", bound)))
        yield Sample(f"{self.name}_sum", total, "histogram", self.help, labels)
        yield Sample(f"{self.name}_count", below, "histogram", self.help, labels)


class Histogram:
    """Counts of seconds."""

    __slots__ = ("_bounds_s", "_counts", "_sum_s")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float, times: int = 1) -> None:
        """Count a time, or several that are alike."""
        self._counts[bisect_left(self._bounds_s, seconds)] += times
        self._sum_s += seconds * times

    def samples(self, metric: Metric, *values: str) -> Iterator[Sample]:
        """Tell it."""
        return metric.histogram(self._bounds_s, tuple(self._counts), self._sum_s, *values)
