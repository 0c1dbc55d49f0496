"""Rate limits that machines share, kept by a Valkey or Redis server (6.2 or newer).

The rules are those of `limits`, and so is the arithmetic: whole nanoseconds, of the server's clock. One script
decides over all limits of a request and takes from all or none; another settles. Places have an end of their own,
in case a machine dies with requests in them.

While the server is away (see `key_server`) the limits of this machine's table hold instead, so each machine allows as
much as all together were to. Places that were taken are given back when it is there again.

All keys have one hash tag: in a cluster they are on one node.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

from xetway.policy import limit_answers
from xetway.policy.caller import Caller
from xetway.policy.key_server import AWAY_S, KeyServer
from xetway.policy.limit_answers import NEVER_NS, Standing
from xetway.policy.limit_rules import Gate, Rate, Rules
from xetway.policy.limits import Limiter
from xetway.ports import Grant
from xetway.settings.gateway import Model

_PREFIX = "{xetway}:"
# How long the end of this process waits for what is being settled.
CLOSE_S = 1.0

# What both scripts begin with: how far a limit is from being whole, and making it so far. A limit is kept as seconds
# and nanoseconds, because a number of Lua's holds no more than 53 bits.
_RATES = """
local time = redis.call('TIME')
local now_s, now_ns = tonumber(time[1]), time[2] * 1000
local function waiting(key)
  local s, ns = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  return s and math.max(0, (s - now_s) * 1e9 + (ns - now_ns)) or 0
end
local function move(key, ahead)
  if ahead <= 0 then return redis.call('DEL', key) end
  local ns = now_ns + ahead
  local at = string.format('%.0f %.0f', now_s + math.floor(ns / 1e9), ns % 1e9)
  redis.call('SET', key, at, 'PX', string.format('%.0f', math.ceil(ahead / 1e6)))
end
"""

# KEYS: gates, then rates. ARGV: the request's own name, ms after which its places end, how many gates; each gate's
# limit; each rate's cost, interval and tolerance. Returns 1 and each rate's remaining units and reset; or 0, the
# number of the key that refuses, its remaining units, its reset, and when to try again (-1: never).
_TAKE = (
    _RATES
    + """
local now_ms = now_s * 1000 + math.floor(now_ns / 1e6)
local gates = tonumber(ARGV[3])
for i = 1, gates do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', string.format('%.0f', now_ms))
  if redis.call('ZCARD', KEYS[i]) >= tonumber(ARGV[3 + i]) then return {0, i, 0, 0, 0} end
end
local answer, moved, at = {1}, {}, 3 + gates
for i = gates + 1, #KEYS do
  local cost, interval, tolerance = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  at = at + 3
  local wait = waiting(KEYS[i])
  local ahead = wait + cost * interval
  if ahead > tolerance then
    local later = cost * interval > tolerance and -1 or ahead - tolerance
    return {0, i, math.max(0, math.floor((tolerance - wait) / interval)), wait, later}
  end
  if cost > 0 then moved[i] = ahead end
  answer[#answer + 1] = math.floor((tolerance - ahead) / interval)
  answer[#answer + 1] = ahead
end
for i = 1, gates do
  redis.call('ZADD', KEYS[i], string.format('%.0f', now_ms + ARGV[2]), ARGV[1])
  if redis.call('PTTL', KEYS[i]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
end
for i, ahead in pairs(moved) do move(KEYS[i], ahead) end
return answer
"""
)

# KEYS: gates, then rates. ARGV: the request's own name, how many gates, then nanoseconds for each rate, negative
# ones to give back. Returns 1.
_SETTLE = (
    _RATES
    + """
local gates = tonumber(ARGV[2])
for i = 1, gates do redis.call('ZREM', KEYS[i], ARGV[1]) end
for i = gates + 1, #KEYS do move(KEYS[i], waiting(KEYS[i]) + ARGV[2 + i - gates]) end
return 1
"""
)


class ValkeyGrant:
    """What a request has taken on the server; see `limits.Grant`."""

    __slots__ = ("_estimated", "_limiter", "_member", "_requests", "_rules", "_tokens")

    def __init__(
        self,
        limiter: ValkeyLimiter,
        rules: Rules,
        estimated: int,
        member: str,
        requests: Standing | None,
        tokens: Standing | None,
    ) -> None:
        self._limiter: ValkeyLimiter | None = limiter
        self._rules = rules
        self._estimated = estimated
        self._member = member
        self._requests = requests
        self._tokens = tokens

    def headers(self) -> list[tuple[str, str]]:
        """Return what the client is told of its limits, names in lower case."""
        return limit_answers.headers(self._requests, self._tokens, time.time())

    def finish(self, tokens_used: int | None = None) -> None:
        """Settle the tokens and leave, in the background. Once more does nothing."""
        limiter, self._limiter = self._limiter, None
        if limiter is not None:
            more = 0 if tokens_used is None else tokens_used - self._estimated
            limiter.settle(self._rules, self._member, more)


class ValkeyLimiter:
    """Decides by a server, or by this machine's table while that is away. For one event loop.

    Args:
        server: Closed by `close`.
        local: What holds while the server is away; its rules are those that hold here.
        place_s: How long a request may take at most: after that its place is free.
        sleep: Waits between tries to give a place back.
    """

    def __init__(
        self,
        server: KeyServer,
        local: Limiter,
        place_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._server = server
        self._local = local
        self._place_s = place_s
        self._sleep = sleep
        self._take = server.client.register_script(_TAKE)
        self._settle = server.client.register_script(_SETTLE)
        self._settling: set[asyncio.Task[None]] = set()

    async def take(self, caller: Caller, model: Model, estimated_tokens: int = 0) -> Grant:
        """Take one request, and its tokens as far as they are known.

        Raises:
            LimitedError: A limit is reached; nothing was taken.
        """
        rules = self._local.rules.find(caller, model)
        keys = _keys(rules.gates, rules.requests + rules.tokens)
        if not keys:
            return self._local.take(caller, model, estimated_tokens)
        member = secrets.token_hex(8)
        arguments: list[str | int] = [member, int(self._place_s * 1000), len(rules.gates)]
        arguments += (gate.limit for gate in rules.gates)
        for rate in rules.requests:
            arguments += (1, rate.interval_ns, rate.tolerance_ns)
        for rate in rules.tokens:
            arguments += (estimated_tokens, rate.interval_ns, rate.tolerance_ns)
        asked = False

        def take() -> Awaitable[list[int]]:
            nonlocal asked
            asked = True
            return self._take(keys=keys, args=arguments)

        answer = None
        try:
            answer = await self._server.ask(take)
        finally:
            # Nobody knows whether it has the place.
            if answer is None and asked and rules.gates:
                self.settle(rules, member, 0)
        if answer is None:
            return self._local.take(caller, model, estimated_tokens)
        if not answer[0]:
            raise _refusal(rules, answer, estimated_tokens)
        requests = _tightest(rules.requests, answer[1:])
        tokens = _tightest(rules.tokens, answer[1 + 2 * len(rules.requests) :])
        return ValkeyGrant(self, rules, estimated_tokens, member, requests, tokens)

    def settle(self, rules: Rules, member: str, more_tokens: int) -> None:
        """Leave gates and take so many tokens more, in the background; while the server is away only the former."""
        rates = rules.tokens if more_tokens else ()
        if keys := _keys(rules.gates, rates):
            arguments: list[str | int] = [member, len(rules.gates)]
            arguments += (more_tokens * rate.interval_ns for rate in rates)
            task = asyncio.get_running_loop().create_task(self._settle_all(keys, arguments, len(rules.gates)))
            self._settling.add(task)
            task.add_done_callback(self._settling.discard)

    async def close(self) -> None:
        """Wait a moment for what is being settled, and close the connections."""
        if self._settling:
            await asyncio.wait(self._settling, timeout=CLOSE_S)
        await self._server.close()

    async def _settle_all(self, keys: Sequence[str], arguments: Sequence[str | int], gates: int) -> None:
        done = await self._server.ask(lambda: self._settle(keys=keys, args=arguments))
        # Tokens might be settled twice, but who left twice has left; and at the end of its time a place is free.
        for _ in range(int(self._place_s / AWAY_S) if gates else 0):
            if done is not None:
                return
            await self._sleep(AWAY_S)
            done = await self._server.ask(lambda: self._settle(keys=keys[:gates], args=arguments[:2]))


def _keys(gates: tuple[Gate, ...], rates: tuple[Rate, ...]) -> list[str]:
    return [_PREFIX + gate.label for gate in gates] + [_PREFIX + rate.label for rate in rates]


def _tightest(rates: tuple[Rate, ...], numbers: Sequence[int]) -> Standing | None:
    tightest: Standing | None = None
    for rate, remaining, reset_ns in zip(rates, numbers[::2], numbers[1::2], strict=False):
        tightest = limit_answers.tighter(tightest, (rate, remaining, reset_ns))
    return tightest


def _refusal(rules: Rules, answer: Sequence[int], estimated_tokens: int) -> Exception:
    _, key, remaining, reset_ns, later_ns = answer
    place = key - 1 - len(rules.gates)
    if place < 0:
        return limit_answers.crowded(rules.gates[key - 1])
    rate = (*rules.requests, *rules.tokens)[place]
    cost = 1 if rate.kind == "requests" else estimated_tokens
    retry_after_ns = NEVER_NS if later_ns < 0 else later_ns
    return limit_answers.refused((rate, remaining, reset_ns), cost, retry_after_ns, time.time())
