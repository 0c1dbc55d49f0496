"""Numbers about requests to models, for /metrics.

Labels are the configured models and few fixed words, so nothing a client sends makes them grow.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

from xetway.errors import TransportError
from xetway.http.metrics import Sample
from xetway.openai.usage import Usage
from xetway.ports import Target
from xetway.settings.gateway import Model

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Histogram:
    """Counts of seconds."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(BOUNDS_S, seconds)] += 1
        self._sum_s += seconds

    def samples(self, name: str, text: str, labels: tuple[tuple[str, str], ...]) -> Iterator[Sample]:
        """Tell it as Prometheus wants it: each bucket counts all that are not above its bound."""
        total = 0
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self._counts, strict=True):
            total += count
            yield Sample(f"{name}_bucket", total, "histogram", text, (*labels, ("le", bound)))
        yield Sample(f"{name}_sum", self._sum_s, "histogram", text, labels)
        yield Sample(f"{name}_count", total, "histogram", text, labels)


class _OfModel:
    """The numbers of one model."""

    __slots__ = ("answer_tokens", "by_status", "duration", "first_byte", "prompt_tokens")

    def __init__(self) -> None:
        self.by_status: dict[int, int] = {}
        self.duration = Histogram()
        self.first_byte = Histogram()
        self.prompt_tokens = 0
        self.answer_tokens = 0


class Meter:
    """Counts requests, and tries at upstreams."""

    def __init__(self, models: Iterable[str]) -> None:
        self._models = {name: _OfModel() for name in models}
        self._tries: dict[tuple[str, str, str], int] = {}

    def ended(self, model: str, status: int, duration_s: float, first_byte_s: float, usage: Usage | None) -> None:
        """Count a request that reached a model."""
        numbers = self._models[model]
        numbers.by_status[status] = numbers.by_status.get(status, 0) + 1
        numbers.duration.add(duration_s)
        if status < 400:
            numbers.first_byte.add(first_byte_s)
        if usage is not None:
            numbers.prompt_tokens += usage.prompt
            numbers.answer_tokens += usage.answer

    def tried(self, model: Model, target: Target, status: int, error: TransportError | None) -> None:
        """Count a try at an upstream."""
        key = (model.name, target.name, error.code if error is not None else f"{status // 100}xx")
        self._tries[key] = self._tries.get(key, 0) + 1

    def samples(self) -> Iterator[Sample]:
        """Tell all of it."""
        for name, numbers in self._models.items():
            labels = (("model", name),)
            for status, count in sorted(numbers.by_status.items()):
                yield Sample(
                    "xetway_requests_total",
                    count,
                    "counter",
                    "Requests to models by status; 499: the client left.",
                    (*labels, ("status", str(status))),
                )
            yield from numbers.duration.samples(
                "xetway_request_duration_seconds", "Time from a request to its last byte.", labels
            )
            yield from numbers.first_byte.samples(
                "xetway_time_to_first_byte_seconds", "Time from a request to its answer's first byte.", labels
            )
            for kind, tokens in (("prompt", numbers.prompt_tokens), ("answer", numbers.answer_tokens)):
                yield Sample(
                    "xetway_tokens_total", tokens, "counter", "Tokens, as upstreams say.", (*labels, ("kind", kind))
                )
        for (name, target, outcome), count in sorted(self._tries.items()):
            yield Sample(
                "xetway_upstream_requests_total",
                count,
                "counter",
                "Requests to upstreams by what became of them.",
                (("model", name), ("upstream", target), ("outcome", outcome)),
            )
