"""Sides that do the same work in turn: their answers are compared, then they are timed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from record import MIB, median, warm_memory

from xetway.bench.timing import Sample, Stopwatch, median_ratio

OURS = "xetway"
_LARGE_BYTES = 512 * MIB


@dataclasses.dataclass(frozen=True)
class Side:
    """`work` is timed; it gets what `prepare` returned, and `clear` removes that, both untimed."""

    work: Callable[[Any], Any]
    prepare: Callable[[], Any] = lambda: None
    clear: Callable[[Any], None] = lambda _: None

    def once(self, used_bytes: int = 0) -> tuple[Any, Sample]:
        """Do the work one time, which takes memory of about `used_bytes`."""
        made = self.prepared(used_bytes)
        answer, sample = self.timed(made)
        self.clear(made)
        return answer, sample

    def prepared(self, used_bytes: int) -> Any:
        warm_memory(used_bytes)
        return self.prepare()

    def timed(self, made: Any) -> tuple[Any, Sample]:
        watch = Stopwatch()
        with watch:
            answer = self.work(made)
        return answer, watch.sample()


@dataclasses.dataclass
class Contest:
    """One piece of work on one kind of data; `unit` is what `amount` counts: bytes or calls."""

    work: str
    corpus: str
    amount: int
    unit: str = "bytes"
    threads: int = 1
    samples: dict[str, list[Sample]] = dataclasses.field(default_factory=dict)

    def run(
        self, benchmark: Any, rounds: int, sides: Mapping[str, Side], same: Callable[[Any], Any] = lambda answer: answer
    ) -> None:
        """Time the sides in turn; `same(answer)` is what must be equal for all of them."""
        used_bytes = 2 * self.amount if self.unit == "bytes" and self.amount >= _LARGE_BYTES else 0
        answers = {name: same(side.once()[0]) for name, side in sides.items()}
        assert all(answer == answers[OURS] for answer in answers.values()), f"{self.work}: the answers differ"
        self.samples = {name: [] for name in sides}
        ours = sides[OURS]

        def peers() -> tuple[tuple[Any], dict[str, Any]]:
            for name in sides:
                if name != OURS:
                    self.samples[name].append(sides[name].once(used_bytes)[1])
            return (ours.prepared(used_bytes),), {}

        def own(made: Any) -> None:
            self.samples[OURS].append(ours.timed(made)[1])

        benchmark.group = f"{self.work} {self.corpus}"
        benchmark.pedantic(own, setup=peers, teardown=ours.clear, rounds=rounds, iterations=1)

    def record(self) -> dict[str, Any]:
        """What is kept of it: every time, and ratios of medians of pairs."""
        seconds = {name: [sample.seconds for sample in samples] for name, samples in self.samples.items()}
        cpu = {name: [sample.cpu_seconds for sample in samples] for name, samples in self.samples.items()}
        return {
            "work": self.work,
            "corpus": self.corpus,
            "threads": self.threads,
            "unit": self.unit,
            "amount": self.amount,
            "sides": {
                name: {
                    "seconds": seconds[name],
                    "cpu_seconds": cpu[name],
                    "median_s": median(seconds[name]),
                    "median_cpu_s": median(cpu[name]),
                    "times_as_fast": median_ratio(seconds[name], seconds[OURS]),
                    "times_the_cpu": median_ratio(cpu[name], [max(value, 1e-9) for value in cpu[OURS]]),
                }
                for name in seconds
            },
        }
