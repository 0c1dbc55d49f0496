"""Which limits a request has to keep: those of its key or its address, and those of its model.

A `settings.Limit` says what is allowed in a minute; `Rate` and `Gate` say it as the shared table wants it. What was
found for a caller and a model is kept, for so many of them that strangers' addresses cost bounded memory.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Literal, TypeAlias

from msgspec import Struct

from xetway.policy.caller import Caller
from xetway.settings.gateway import Limit, Limits, Model

Kind: TypeAlias = Literal["requests", "tokens"]

NS_PER_MINUTE = 60_000_000_000
_KEPT = 10_000
_MAX_ADDRESS = 64
_UNLIMITED = Limit()


class Rate(Struct, frozen=True, gc=False):
    """So many units at once, one more each interval. `whose` is for messages, `label` names it, `name` is its hash."""

    kind: Kind
    whose: str
    label: str
    name: int
    capacity: int
    interval_ns: int
    tolerance_ns: int


class Gate(Struct, frozen=True, gc=False):
    """So many requests at a time."""

    whose: str
    label: str
    name: int
    limit: int


class Rules(Struct, frozen=True):
    """All limits of one caller's requests to one model."""

    requests: tuple[Rate, ...]
    tokens: tuple[Rate, ...]
    gates: tuple[Gate, ...]
    # What they were made from.
    is_anonymous: bool
    caller_limit: Limit | None
    model_limit: Limit


class RuleBook:
    """Finds rules. `name` hashes the name of a limit."""

    def __init__(self, limits: Limits, name: Callable[[str], int]) -> None:
        self._limits = limits
        self._name = name
        self._kept: dict[tuple[str, str], Rules] = {}

    def find(self, caller: Caller, model: Model) -> Rules:
        """Return the rules for requests of a caller to a model."""
        rules = self._kept.get((caller.id, model.name))
        if (
            rules is not None
            and rules.caller_limit is caller.limit
            and rules.model_limit is model.limit
            and rules.is_anonymous is (caller.key_name is None)
        ):
            return rules
        rules = self._make(caller, model)
        if len(self._kept) >= _KEPT:
            self._kept.clear()
        self._kept[caller.id, model.name] = rules
        return rules

    def _make(self, caller: Caller, model: Model) -> Rules:
        is_anonymous = caller.key_name is None
        common = self._limits.anonymous if is_anonymous else self._limits.key
        own = caller.limit or (common if self._limits.enabled else _UNLIMITED)
        who = f"address {network(caller.id)}" if is_anonymous else f"key {caller.id}"
        whose = "this address" if is_anonymous else "this key"
        # The model's own limit is the model's, whoever calls.
        limited = ((own, whose, who), (model.limit, f"the model {model.name}", f"model {model.name}"))
        return Rules(
            requests=tuple(
                self._rate("requests", whose, who, limit.requests_per_minute, limit.burst)
                for limit, whose, who in limited
                if limit.requests_per_minute is not None
            ),
            tokens=tuple(
                self._rate("tokens", whose, who, limit.tokens_per_minute, None)
                for limit, whose, who in limited
                if limit.tokens_per_minute is not None
            ),
            gates=tuple(
                Gate(whose, label := f"concurrency {who}", self._name(label), limit.concurrency)
                for limit, whose, who in limited
                if limit.concurrency is not None
            ),
            is_anonymous=is_anonymous,
            caller_limit=caller.limit,
            model_limit=model.limit,
        )

    def _rate(self, kind: Kind, whose: str, who: str, per_minute: int, burst: int | None) -> Rate:
        label = f"{kind} {who}"
        capacity = burst or per_minute
        # Rounded down: a limit that does not divide a minute is wider by less than a nanosecond for each unit.
        interval_ns = max(1, NS_PER_MINUTE // per_minute)
        return Rate(kind, whose, label, self._name(label), capacity, interval_ns, capacity * interval_ns)


def network(address: str) -> str:
    """What is limited together: an IPv4 address, or the /64 of an IPv6 address, which is one customer's (RFC 6177)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:_MAX_ADDRESS]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
