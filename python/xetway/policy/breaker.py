"""Leaving an upstream alone that fails, and asking it again later, one request at a time.

Closed: all may pass; `failures` faults in a row open it. Open: nobody passes for `open_for` seconds. Half open: one
probe at a time; `successes` good ones close it, a fault opens it again.

A fault is one of the upstream: no connection, no answer in time, an answer that says it is away, or 500 to different
requests in a row. What says nothing about its health is neutral: 4xx, a 429, a client that left, a cancelled request;
it only lets the next probe go. A pass counts in the period in which it was given: what a request begun before the
last change has to tell comes too late.

All of it is in shared words, so an upstream is left alone by all workers, and probed by one of them. Whoever changes
the state swaps it, and looks again if another was faster.

| word | bits | meaning |
|---|---|---|
| 0 | 0-1 | phase: 0 closed, 1 open, 2 half open |
| 0 | 2-12 | whose probe is under way: number of the worker + 1 |
| 0 | 13-28 | faults in a row while closed, good probes while half open |
| 0 | 29-60 | period |
| 1 | | when it was opened, nanoseconds of the clock |
| 2 | | how often it was opened |
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

import msgspec

from xetway.policy.rows import Row, own_row
from xetway.settings import gateway as settings

Phase: TypeAlias = Literal["closed", "open", "half_open"]

_PHASES: tuple[Phase, ...] = ("closed", "open", "half_open")
_CLOSED, _OPEN, _HALF_OPEN = range(3)
_STATE, _OPENED_AT, _TIMES = range(3)
_PHASE_BITS = 3
_PROBER, _PROBER_BITS = 2, 0x7FF << 2
_COUNT, _MAX_COUNT = 13, 0xFFFF
_PERIOD, _MAX_PERIOD = 29, 0xFFFF_FFFF


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
    """The breaker of one upstream.

    Args:
        options: When it opens.
        clock: A time that all processes share.
        row: The words it is in, which all workers' breakers of this upstream share.
        worker: The number of this process.
    """

    __slots__ = ("_clock", "_options", "_row", "_worker")

    def __init__(
        self,
        options: settings.Breaker,
        clock: Callable[[], float] = time.monotonic,
        row: Row | None = None,
        worker: int = 0,
    ) -> None:
        self._options = options
        self._clock = clock
        # One that is switched off knows nothing of what opened it before.
        self._row = row if row is not None and options.enabled else own_row()
        self._worker = worker

    def allow(self) -> Pass | None:
        """Give leave to ask the upstream, which has to be told how it went; None while it is left alone."""
        while True:
            state = self._row.word(_STATE)
            phase = state & _PHASE_BITS
            if phase == _CLOSED:
                return Pass(self, state >> _PERIOD)
            if phase == _OPEN and self._remaining_s() > 0:
                return None
            if state & _PROBER_BITS:
                return None
            probed = (_next(state, _HALF_OPEN) if phase == _OPEN else state) | (self._worker + 1) << _PROBER
            if self._row.swap(_STATE, state, probed):
                return _Probe(self, probed >> _PERIOD)

    def retry_after_s(self) -> int:
        """Return after how many whole seconds asking may help; 0 if it may now."""
        state = self._row.word(_STATE)
        if state & _PHASE_BITS == _OPEN:
            return math.ceil(self._remaining_s())
        return 1 if state & _PROBER_BITS else 0

    def state(self) -> State:
        """Describe it."""
        state = self._row.word(_STATE)
        phase, count = state & _PHASE_BITS, state >> _COUNT & _MAX_COUNT
        faults, successes = (count, 0) if phase == _CLOSED else (0, count)
        return State(_PHASES[phase], faults, successes, self.retry_after_s(), self._row.word(_TIMES))

    def reset(self) -> None:
        """Close it, as an operator does who knows better."""
        while not self._row.swap(_STATE, state := self._row.word(_STATE), _next(state, _CLOSED)):
            pass

    def note_ok(self, period: int) -> None:
        """Count an answer of a request that began in `period`."""
        while (state := self._row.word(_STATE)) >> _PERIOD == period:
            count = state >> _COUNT & _MAX_COUNT
            if state & _PHASE_BITS == _HALF_OPEN:
                good = count + 1
                enough = good >= min(self._options.successes, _MAX_COUNT)
                noted = _next(state, _CLOSED) if enough else _within(period, _HALF_OPEN, good)
            elif count:
                noted = _within(period, _CLOSED, 0)
            else:
                return
            if self._row.swap(_STATE, state, noted):
                return

    def note_fault(self, period: int) -> None:
        """Count a fault that a request met which began in `period`."""
        while self._options.enabled and (state := self._row.word(_STATE)) >> _PERIOD == period:
            faults = min((state >> _COUNT & _MAX_COUNT) + 1, _MAX_COUNT)
            opens = state & _PHASE_BITS == _HALF_OPEN or faults >= min(self._options.failures, _MAX_COUNT)
            if opens:
                # Before anyone sees that it is open.
                self._row.put(_OPENED_AT, int(self._clock() * 1e9))
            if self._row.swap(_STATE, state, _next(state, _OPEN) if opens else _within(period, _CLOSED, faults)):
                if opens:
                    self._row.add(_TIMES, 1)
                return

    def note_neutral(self, period: int) -> None:
        """Let the next probe go, if it was a probe that began in `period`."""
        while (state := self._row.word(_STATE)) >> _PERIOD == period and state & _PROBER_BITS:
            if self._row.swap(_STATE, state, state & ~_PROBER_BITS):
                return

    def release(self, worker: int) -> None:
        """Let the next probe go, if the last one was of a worker that has ended."""
        while (state := self._row.word(_STATE)) & _PROBER_BITS == (worker + 1) << _PROBER:
            if self._row.swap(_STATE, state, state & ~_PROBER_BITS):
                return

    def _remaining_s(self) -> float:
        return max(0.0, self._row.word(_OPENED_AT) / 1e9 + self._options.open_for - self._clock())


def _next(state: int, phase: int) -> int:
    """The state that begins the next period."""
    return _within(((state >> _PERIOD) + 1) & _MAX_PERIOD, phase, 0)


def _within(period: int, phase: int, count: int) -> int:
    return period << _PERIOD | count << _COUNT | phase
