"""Leaving an upstream alone that fails, and asking it again later, one request at a time.

Closed: all may pass; `failures` faults in a row open it. Open: nobody passes for `open_for` seconds. Half open: one
probe at a time; `successes` good ones close it, a fault opens it again.

A fault is one of the upstream: no connection, no answer in time, an answer that says it is away. What says nothing
about its health is neutral: 4xx, a 429, a client that left, a cancelled request; it only lets the next probe go.
A pass counts in the period in which it was given: what a request begun before the last change has to tell comes too
late. For one event loop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from xetway.settings import gateway as settings

Phase: TypeAlias = Literal["closed", "open", "half_open"]


class State(msgspec.Struct, frozen=True):
    """What /status tells. `faults` are those in a row while closed, `successes` good probes while half open."""

    state: Phase
    faults: int
    successes: int
    retry_after_s: int
    times_opened: int


class Pass:
    """Leave to ask the upstream. The first of `ok`, `fault` and `neutral` counts, the others do nothing."""

    __slots__ = ("_breaker", "_period")

    def __init__(self, breaker: Breaker, period: int) -> None:
        self._breaker = breaker
        self._period = period

    def ok(self) -> None:
        """The upstream answered as it should."""
        period, self._period = self._period, -1
        self._breaker.note_ok(period)

    def fault(self) -> None:
        """The upstream failed."""
        period, self._period = self._period, -1
        self._breaker.note_fault(period)

    def neutral(self) -> None:
        """Nothing is known about the upstream."""
        period, self._period = self._period, -1
        self._breaker.note_neutral(period)


class _Probe(Pass):
    """The pass of a probe. If it is dropped without a word, the next probe may go all the same."""

    __slots__ = ()

    def __del__(self) -> None:
        self.neutral()


class Breaker:
    """The breaker of one upstream."""

    __slots__ = ("_clock", "_faults", "_opened_at", "_options", "_period", "_phase", "_probing", "_successes", "_times")

    def __init__(self, options: settings.Breaker, clock: Callable[[], float] = time.monotonic) -> None:
        self._options = options
        self._clock = clock
        self._phase: Phase = "closed"
        self._period = 0
        self._faults = 0
        self._successes = 0
        self._probing = False
        self._opened_at = 0.0
        self._times = 0

    def allow(self) -> Pass | None:
        """Give leave to ask the upstream, which has to be told how it went; None while it is left alone."""
        if self._phase == "closed":
            return Pass(self, self._period)
        if self._phase == "open":
            if self._remaining_s() > 0:
                return None
            self._enter("half_open")
        if self._probing:
            return None
        self._probing = True
        return _Probe(self, self._period)

    def retry_after_s(self) -> int:
        """Return after how many whole seconds asking may help; 0 if it may now."""
        if self._phase == "open":
            return math.ceil(self._remaining_s())
        return 1 if self._probing else 0

    def state(self) -> State:
        """Describe it."""
        return State(self._phase, self._faults, self._successes, self.retry_after_s(), self._times)

    def reset(self) -> None:
        """Close it, as an operator does who knows better."""
        self._enter("closed")

    def note_ok(self, period: int) -> None:
        """Count an answer of a request that began in `period`."""
        if period != self._period:
            return
        self._faults = 0
        if self._phase == "half_open":
            self._probing = False
            self._successes += 1
            if self._successes >= self._options.successes:
                self._enter("closed")

    def note_fault(self, period: int) -> None:
        """Count a fault that a request met which began in `period`."""
        if period != self._period or not self._options.enabled:
            return
        self._faults += 1
        if self._phase == "half_open" or self._faults >= self._options.failures:
            self._times += 1
            self._opened_at = self._clock()
            self._enter("open")

    def note_neutral(self, period: int) -> None:
        """Let the next probe go, if it was a probe that began in `period`."""
        if period == self._period:
            self._probing = False

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._period += 1
        self._faults = self._successes = 0
        self._probing = False

    def _remaining_s(self) -> float:
        return max(0.0, self._opened_at + self._options.open_for - self._clock())
