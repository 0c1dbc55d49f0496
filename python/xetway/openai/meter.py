"""Counts what becomes of requests to models; `metrics` tells it.

Models are the configured ones and all else is a fixed set of words, so nothing a client sends makes it grow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from xetway.errors import LimitedError, TransportError, XetwayError
from xetway.http.histogram import Histogram
from xetway.openai.usage import Usage
from xetway.ports import Target
from xetway.settings.gateway import Model

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
GAP_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 10.0)


class OfModel:
    """The numbers of one model."""

    __slots__ = ("active", "answer_tokens", "by_status", "duration", "first_byte", "gaps", "prompt_tokens")

    def __init__(self) -> None:
        self.active = 0
        self.by_status: dict[int, int] = {}
        self.duration = Histogram(BOUNDS_S)
        self.first_byte = Histogram(BOUNDS_S)
        self.gaps = Histogram(GAP_BOUNDS_S)
        self.prompt_tokens = 0
        self.answer_tokens = 0


class Pace:
    """The times between the events of one stream.

    Events that come in one piece share the time since the piece before it.
    """

    __slots__ = ("_clock", "_gaps", "_last")

    def __init__(self, gaps: Histogram, clock: Callable[[], float] = time.perf_counter) -> None:
        self._gaps = gaps
        self._clock = clock
        self._last = 0.0

    def note(self, piece: bytes) -> None:
        """Count a piece with events, now."""
        now = self._clock()
        last, self._last = self._last, now
        if last:
            events = piece.count(b"\n\n") or piece.count(b"\n\r\n") or 1
            self._gaps.add((now - last) / events, events)


class Meter:
    """Counts requests, tries at upstreams, and what is refused."""

    def __init__(self, models: Iterable[str]) -> None:
        self.models: dict[str, OfModel] = {}
        # By model, upstream and outcome; by code; by kind of limit.
        self.tries: dict[tuple[str, str, str], int] = {}
        self.errors: dict[str, int] = {}
        self.limited: dict[str, int] = {}
        self.know(models)

    def know(self, models: Iterable[str]) -> None:
        """Count for these models too. Others keep their numbers: requests to them may still be under way."""
        for name in models:
            self.models.setdefault(name, OfModel())

    def began(self, model: str) -> None:
        """Count a request that is within its limits."""
        self.models[model].active += 1

    def pace(self, model: str) -> Pace:
        """Return what is told of each piece of a stream."""
        return Pace(self.models[model].gaps)

    def ended(self, model: str, status: int, duration_s: float, first_byte_s: float, usage: Usage | None) -> None:
        """Count the end of a request that began."""
        numbers = self.models[model]
        numbers.active -= 1
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
        self.tries[key] = self.tries.get(key, 0) + 1

    def told(self, error: XetwayError) -> None:
        """Count an error that a request was answered with."""
        self.errors[error.code] = self.errors.get(error.code, 0) + 1
        if isinstance(error, LimitedError):
            kind = "concurrency" if error.at_once else error.kind
            self.limited[kind] = self.limited.get(kind, 0) + 1
