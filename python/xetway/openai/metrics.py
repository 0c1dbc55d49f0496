"""The gateway's numbers for /metrics: what each means, and where it is read.

They come from the meter, and from the parts that count for themselves. docs/telemetry.md is written of METRICS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import get_args

from xetway.engines.remote import RemoteTarget
from xetway.http.histogram import Metric
from xetway.http.metrics import Sample
from xetway.openai.meter import Meter
from xetway.policy import batching
from xetway.policy.batching import Batcher
from xetway.policy.breaker import Phase
from xetway.policy.cache import AnswerCache
from xetway.policy.queue import WAIT_BOUNDS_S, Queue
from xetway.policy.storage import MemoryStorage
from xetway.ports import Storage

_OF_UPSTREAM = ("model", "upstream")
_PHASES: tuple[Phase, ...] = get_args(Phase)

REQUESTS = Metric(
    "xetway_requests_total", "counter", "Requests to models by status; 499: the client left.", ("model", "status")
)
IN_FLIGHT = Metric("xetway_requests_in_flight", "gauge", "Requests to models that are not answered yet.", ("model",))
DURATION = Metric("xetway_request_duration_seconds", "histogram", "Time from a request to its last byte.", ("model",))
FIRST_BYTE = Metric(
    "xetway_time_to_first_byte_seconds",
    "histogram",
    "Time from a request to its answer's first byte; of a stream that is its first event.",
    ("model",),
)
GAP = Metric(
    "xetway_time_between_events_seconds",
    "histogram",
    "Inter-token latency: time between events of a stream; those that came together share what passed.",
    ("model",),
)
TOKENS = Metric("xetway_tokens_total", "counter", "Tokens, as upstreams say.", ("model", "kind"))
ERRORS = Metric(
    "xetway_errors_total", "counter", "Requests that this server refused or failed, by the code it told.", ("code",)
)
LIMITED = Metric(
    "xetway_limited_total", "counter", "Requests beyond a limit: of requests, tokens or concurrency.", ("kind",)
)
TRIES = Metric(
    "xetway_upstream_requests_total",
    "counter",
    "Requests to upstreams by what became of them: a class of status, or the code of a failure.",
    (*_OF_UPSTREAM, "outcome"),
)
HEALTHY = Metric(
    "xetway_upstream_healthy", "gauge", "What the last health check said; 1 where there is none.", _OF_UPSTREAM, "min"
)
BREAKER = Metric(
    "xetway_breaker_state",
    "gauge",
    "1 for the state that the circuit breaker is in: closed, open or half_open.",
    (*_OF_UPSTREAM, "state"),
    "max",
)
OPENINGS = Metric(
    "xetway_breaker_openings_total", "counter", "Times that the circuit breaker opened.", _OF_UPSTREAM, "max"
)
QUEUE_RUNNING = Metric("xetway_queue_running", "gauge", "Slots that are taken.", ("model",))
QUEUE_WAITING = Metric("xetway_queue_waiting", "gauge", "Requests that wait for a slot.", ("model",))
QUEUE_GRANTED = Metric("xetway_queue_granted_total", "counter", "Slots that were given.", ("model",))
QUEUE_LEFT = Metric(
    "xetway_queue_left_total",
    "counter",
    "Requests that got no slot: expired (no slot in time), rejected (the line was full) or cancelled.",
    ("model", "reason"),
)
QUEUE_WAIT = Metric("xetway_queue_wait_seconds", "histogram", "How long those waited, of all models, who got a slot.")
CACHE = Metric("xetway_cache_requests_total", "counter", "Lookups in the cache: hit, miss or bypass.", ("result",))
CACHE_SHARED = Metric(
    "xetway_cache_coalesced_total", "counter", "Hits that waited for the same request of somebody else."
)
CACHE_STORED = Metric("xetway_cache_stored_total", "counter", "Answers that were kept.")
CACHE_BYTES = Metric("xetway_cache_bytes", "gauge", "Memory that kept answers take.")
CACHE_ENTRIES = Metric("xetway_cache_entries", "gauge", "Answers that are kept in memory.")
CACHE_EVICTIONS = Metric(
    "xetway_cache_evictions_total", "counter", "Answers that were dropped to make room for others."
)
BATCH_INPUTS = Metric("xetway_batch_inputs", "histogram", "Inputs of requests for embeddings that were sent as one.")
BATCHED = Metric(
    "xetway_batching_requests_total",
    "counter",
    "Requests for embeddings: sent together, alone, or again by themselves after the whole was refused.",
    ("sent",),
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))


def of_requests(meter: Meter) -> Iterator[Sample]:
    """What the meter counted."""
    for name, numbers in list(meter.models.items()):
        for status, count in sorted(numbers.by_status.items()):
            yield REQUESTS.sample(count, name, str(status))
        yield IN_FLIGHT.sample(numbers.active, name)
        yield from numbers.duration.samples(DURATION, name)
        yield from numbers.first_byte.samples(FIRST_BYTE, name)
        yield from numbers.gaps.samples(GAP, name)
        yield TOKENS.sample(numbers.prompt_tokens, name, "prompt")
        yield TOKENS.sample(numbers.answer_tokens, name, "answer")
    for key, count in sorted(meter.tries.items()):
        yield TRIES.sample(count, *key)
    for code, count in sorted(meter.errors.items()):
        yield ERRORS.sample(count, code)
    for kind in ("requests", "tokens", "concurrency"):
        yield LIMITED.sample(meter.limited.get(kind, 0), kind)


def of_upstreams(upstreams: Mapping[str, Sequence[RemoteTarget]]) -> Iterator[Sample]:
    """How the upstreams of each model are."""
    for model, targets in upstreams.items():
        for target in targets:
            state = target.breaker.state()
            yield HEALTHY.sample(target.healthy, model, target.name)
            for phase in _PHASES:
                yield BREAKER.sample(state.state == phase, model, target.name, phase)
            yield OPENINGS.sample(state.times_opened, model, target.name)


def of_queue(queue: Queue) -> Iterator[Sample]:
    """Who has a slot, and who waits for one."""
    for model, stats in queue.model_stats().queues.items():
        yield QUEUE_RUNNING.sample(stats.running, model)
        yield QUEUE_WAITING.sample(stats.current_size, model)
        yield QUEUE_GRANTED.sample(stats.total_processed, model)
        yield QUEUE_LEFT.sample(stats.total_timeouts, model, "expired")
        yield QUEUE_LEFT.sample(stats.total_rejected, model, "rejected")
        yield QUEUE_LEFT.sample(stats.total_cancelled, model, "cancelled")
    waits = queue.waits()
    yield from QUEUE_WAIT.histogram(WAIT_BOUNDS_S, waits.counts, waits.sum_s)


def of_cache(cache: AnswerCache, storage: Storage) -> Iterator[Sample]:
    """What the cache was good for; how full it is only if it is in this process' memory."""
    stats = cache.stats
    yield CACHE.sample(stats.hits, "hit")
    yield CACHE.sample(stats.misses, "miss")
    yield CACHE.sample(stats.bypasses, "bypass")
    yield CACHE_SHARED.sample(stats.shared)
    yield CACHE_STORED.sample(stats.stored)
    if isinstance(storage, MemoryStorage):
        yield CACHE_BYTES.sample(storage.size_bytes)
        yield CACHE_ENTRIES.sample(len(storage))
        yield CACHE_EVICTIONS.sample(storage.evictions)


def of_batches(batcher: Batcher) -> Iterator[Sample]:
    """How much was sent as one."""
    stats = batcher.stats
    yield from BATCH_INPUTS.histogram(batching.SIZE_BOUNDS, tuple(stats.sizes), stats.inputs)
    yield BATCHED.sample(stats.requests, "together")
    yield BATCHED.sample(stats.alone, "alone")
    yield BATCHED.sample(stats.resent, "again")
