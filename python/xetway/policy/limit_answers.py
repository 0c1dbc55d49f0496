"""What a client is told of its limits: headers on every answer, and the error when one is reached.

Both dialects at once, each of the tightest limit of its kind: `x-ratelimit-{limit,remaining,reset}` with the unix
time at which the limit is whole again, and OpenAI's `-requests` and `-tokens` with how long that takes. The limit
is what may come at once after a pause, so it is what remains after a pause.

Source: https://platform.openai.com/docs/guides/rate-limits, headers; RFC 9110 10.2.3 for Retry-After.
"""

from __future__ import annotations

from typing import TypeAlias

from xetway.errors import LimitedError
from xetway.policy.limit_rules import Gate, Rate

# A limit, what remains of it, and the nanoseconds until it is whole.
Standing: TypeAlias = tuple[Rate, int, int]

NS_PER_S = 1_000_000_000
NEVER_NS = 2**64 - 1
# A place is free when some request ends, and nobody knows when that is.
_GATE_RETRY_S = 1


def tighter(one: Standing | None, other: Standing) -> Standing:
    """Return the one of which less remains."""
    return other if one is None or other[1] < one[1] else one


def headers(requests: Standing | None, tokens: Standing | None, unix_s: float) -> list[tuple[str, str]]:
    """Return the headers for the tightest limit of each kind; none for what is not limited."""
    told: list[tuple[str, str]] = []
    first = requests or tokens
    if first is not None:
        rate, remaining, reset_ns = first
        told = [
            ("x-ratelimit-limit", str(rate.capacity)),
            ("x-ratelimit-remaining", str(remaining)),
            ("x-ratelimit-reset", str(int(unix_s + reset_ns / NS_PER_S) + 1)),
        ]
    if requests is not None:
        rate, remaining, reset_ns = requests
        told += (
            ("x-ratelimit-limit-requests", str(rate.capacity)),
            ("x-ratelimit-remaining-requests", str(remaining)),
            ("x-ratelimit-reset-requests", duration(reset_ns)),
        )
    if tokens is not None:
        rate, remaining, reset_ns = tokens
        told += (
            ("x-ratelimit-limit-tokens", str(rate.capacity)),
            ("x-ratelimit-remaining-tokens", str(remaining)),
            ("x-ratelimit-reset-tokens", duration(reset_ns)),
        )
    return told


def duration(ns: int) -> str:
    """Write a time as OpenAI does, such as `120ms`, `1.5s`, `6m0s` or `1h0m0s`; rounded up."""
    ms = -(-ns // 1_000_000)
    if ms < 1000:
        return f"{ms}ms"
    if ms < 60_000:
        return f"{ms / 1000:g}s"
    minutes, seconds = divmod(-(-ms // 1000), 60)
    if minutes < 60:
        return f"{minutes}m{seconds}s"
    return f"{minutes // 60}h{minutes % 60}m{seconds}s"


def refused(standing: Standing, cost: int, retry_after_ns: int, unix_s: float) -> LimitedError:
    """Make the error for a request that a rate refuses."""
    rate = standing[0]
    told = headers(standing, None, unix_s) if rate.kind == "requests" else headers(None, standing, unix_s)
    if retry_after_ns >= NEVER_NS:
        return LimitedError(
            f"the request has about {cost} {rate.kind}, more than {rate.whose} may use at once, which is"
            f" {rate.capacity}; send less",
            kind=rate.kind,
            headers=tuple(told),
        )
    seconds = max(1, -(-retry_after_ns // NS_PER_S))
    return LimitedError(
        f"too many {rate.kind} for {rate.whose}: {rate.capacity} at once, and {_pace(rate)}; try again in {seconds} s",
        kind=rate.kind,
        retry_after_s=seconds,
        headers=(("retry-after", str(seconds)), *told),
    )


def crowded(gate: Gate) -> LimitedError:
    """Make the error for a request that finds no place."""
    return LimitedError(
        f"too many requests at a time for {gate.whose}: {gate.limit} are being answered",
        kind="requests",
        at_once=True,
        retry_after_s=_GATE_RETRY_S,
        headers=(("retry-after", str(_GATE_RETRY_S)),),
    )


def _pace(rate: Rate) -> str:
    return f"{60 * NS_PER_S // rate.interval_ns} each minute"
