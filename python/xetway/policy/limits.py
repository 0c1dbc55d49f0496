"""Rate limits that all workers of this machine share: requests and tokens per minute, and requests at a time.

A request takes from each limit that applies to it, or from none: the one that refuses gives the others back. Tokens
are taken as an estimate, and settled when it is known how many there were; an answer that was longer leaves a
debt, which the next requests wait for. Nothing waits here, and nothing is asynchronous.

How it is counted is in `rust/shared`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from xetway.policy import limit_answers
from xetway.policy.caller import Caller
from xetway.policy.limit_answers import Standing
from xetway.policy.limit_rules import Gate, Rate, RuleBook, Rules
from xetway.ports import LimitTable
from xetway.settings.gateway import Limits, Model

_BYTES_PER_TOKEN = 4


def estimate_tokens(prompt_bytes: int) -> int:
    """How many tokens a prompt of so many bytes may have, before anyone has counted."""
    return -(-prompt_bytes // _BYTES_PER_TOKEN)


class Grant:
    """What a request has taken. `finish` has to be called, whatever becomes of the request."""

    __slots__ = ("_entered", "_estimated", "_limiter", "_requests", "_rules", "_tokens")

    def __init__(
        self,
        limiter: Limiter,
        rules: Rules,
        estimated: int,
        entered: list[int] | None,
        requests: Standing | None,
        tokens: Standing | None,
    ) -> None:
        self._limiter: Limiter | None = limiter
        self._rules = rules
        self._estimated = estimated
        self._entered = entered
        self._requests = requests
        self._tokens = tokens

    def headers(self, unix_s: float | None = None) -> list[tuple[str, str]]:
        """Return what the client is told of its limits, names in lower case."""
        return limit_answers.headers(self._requests, self._tokens, time.time() if unix_s is None else unix_s)

    def finish(self, tokens_used: int | None = None) -> None:
        """Settle the tokens and leave. None: not known, so the estimate holds. Once more does nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is None:
            return
        if self._entered is not None:
            limiter.leave(self._entered)
        if tokens_used is not None and self._rules.tokens:
            limiter.settle(self._rules.tokens, tokens_used - self._estimated)


class Limiter:
    """Decides by a table in memory.

    Args:
        limits: Those that callers have who have none of their own.
        table: A `SharedTable`.
        worker: The number of this process in the table.
        clock_ns: The time of the table, the same in all processes.
    """

    def __init__(
        self, limits: Limits, table: LimitTable, worker: int = 0, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._table = table
        self._worker = worker
        self._clock_ns = clock_ns
        self.configure(limits)

    def configure(self, limits: Limits) -> None:
        """Take on other limits; what was taken stays taken."""
        self.rules = RuleBook(limits, self._table.name)

    def take(self, caller: Caller, model: Model, estimated_tokens: int = 0) -> Grant:
        """Take one request, and its tokens as far as they are known.

        Raises:
            LimitedError: A limit is reached; nothing was taken.
        """
        rules = self.rules.find(caller, model)
        now_ns = self._clock_ns()
        entered = self._enter(rules.gates, now_ns) if rules.gates else None
        requests = tokens = None
        try:
            if rules.requests:
                requests = self._take(rules.requests, 1, now_ns)
            if rules.tokens:
                tokens = self._take(rules.tokens, estimated_tokens, now_ns)
        except BaseException:
            if requests is not None:
                self._give_back(rules.requests, 1, now_ns)
            if entered is not None:
                self.leave(entered)
            raise
        return Grant(self, rules, estimated_tokens, entered, requests, tokens)

    def leave(self, entered: list[int]) -> None:
        """Leave gates."""
        for number in entered:
            self._table.leave(number, self._worker)

    def settle(self, rates: tuple[Rate, ...], more: int) -> None:
        """Take so many units more, or give them back if that is negative."""
        if more > 0:
            now_ns = self._clock_ns()
            for rate in rates:
                self._table.charge(rate.name, more, rate.interval_ns, now_ns)
        elif more < 0:
            self._give_back(rates, -more, self._clock_ns())

    def _enter(self, gates: tuple[Gate, ...], now_ns: int) -> list[int]:
        entered: list[int] = []
        for gate in gates:
            number = self._table.enter(gate.name, self._worker, gate.limit, now_ns)
            if number is None:
                self.leave(entered)
                raise limit_answers.crowded(gate)
            entered.append(number)
        return entered

    def _take(self, rates: tuple[Rate, ...], cost: int, now_ns: int) -> Standing:
        """Take from each or from none; how the tightest stands."""
        tightest: Standing | None = None
        for rate in rates:
            allowed, remaining, retry_after_ns, reset_ns = self._table.take(
                rate.name, cost, rate.interval_ns, rate.tolerance_ns, now_ns
            )
            standing = (rate, remaining, reset_ns)
            if not allowed:
                self._give_back(rates[: rates.index(rate)], cost, now_ns)
                raise limit_answers.refused(standing, cost, retry_after_ns, time.time())
            tightest = limit_answers.tighter(tightest, standing)
        assert tightest is not None
        return tightest

    def _give_back(self, rates: tuple[Rate, ...], cost: int, now_ns: int) -> None:
        for rate in rates:
            self._table.refund(rate.name, cost, rate.interval_ns, now_ns)
