"""Time taken, and what is said of it: medians, never means or best runs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

import msgspec

GB = 1e9


class Sample(msgspec.Struct, frozen=True):
    """One run: bytes worked on, wall time, and the CPU time of all threads."""

    bytes: int
    seconds: float
    cpu_seconds: float


class Stopwatch:
    """Adds up the time that is spent inside `with`."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._cpu_seconds = 0.0
        self._bytes = 0

    def __enter__(self) -> None:
        self._cpu_seconds -= time.process_time()
        self._seconds -= time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seconds += time.perf_counter()
        self._cpu_seconds += time.process_time()

    def count(self, count_bytes: int) -> None:
        """Note that so many bytes were worked on."""
        self._bytes += count_bytes

    def sample(self) -> Sample:
        """What has been measured so far."""
        return Sample(self._bytes, self._seconds, self._cpu_seconds)


class Figures(msgspec.Struct, frozen=True):
    """Several runs of the same work. `low` and `high` are the slowest and the quickest."""

    gb_per_s: float
    gb_per_s_low: float
    gb_per_s_high: float
    cpu_s_per_gb: float


def figures(samples: Sequence[Sample]) -> Figures:
    """Sum up runs; GB are 10^9 bytes.

    Example:
        >>> from xetway.bench.timing import Sample, figures
        >>> figures([Sample(10**9, seconds, 0.5) for seconds in (1.0, 0.5, 2.0)])
        Figures(gb_per_s=1.0, gb_per_s_low=0.5, gb_per_s_high=2.0, cpu_s_per_gb=0.5)
    """
    speeds = [sample.bytes / GB / max(sample.seconds, 1e-9) for sample in samples]
    costs = [sample.cpu_seconds / (max(sample.bytes, 1) / GB) for sample in samples]
    return Figures(statistics.median(speeds), min(speeds), max(speeds), statistics.median(costs))


def median_ratio(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """The median of ratios of runs that took turns: what disturbed one pair leaves the others alone.

    Example:
        >>> from xetway.bench.timing import median_ratio
        >>> median_ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0])
        2.0
    """
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))
