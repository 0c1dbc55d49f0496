"""What the gateway tells of itself."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from xetway.policy.breaker import State
from xetway.policy.cache import Stats as CacheStats
from xetway.policy.queue import ModelStats, Stats


class Readiness(Struct, frozen=True):
    """Whether this process lives, or can answer for a model."""

    status: Literal["alive", "ready", "not_ready"]


class UpstreamStatus(Struct, frozen=True):
    """One upstream of a model."""

    upstream: str
    healthy: bool
    breaker: State


class Status(Struct, frozen=True):
    """The answer of /status."""

    status: Literal["ready", "degraded", "not_ready"]
    version: str
    uptime_seconds: int
    models_available: int
    models: dict[str, list[UpstreamStatus]]
    # What the caches of all workers did; null where there is none.
    cache: CacheStats | None


class QueueStats(Stats, frozen=True):
    """The counts of the queue over all models, and of each."""

    per_model: ModelStats
