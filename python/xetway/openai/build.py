"""Puts the gateway together from the settings of a server."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import time
from asyncio import Future
from collections.abc import Iterable, Mapping
from functools import partial
from itertools import chain

from xetway import ports
from xetway._native import Answer, Forwarder
from xetway._native import Upstream as Connections
from xetway.db import Database
from xetway.engines.health import HealthChecks
from xetway.engines.remote import RemoteRuntime, Send
from xetway.errors import ConfigError
from xetway.http.metrics import Sample, Source
from xetway.http.request import Request
from xetway.http.response import AnyResponse
from xetway.http.router import Handler, Route
from xetway.http.threads import run
from xetway.openai import admin, metrics
from xetway.openai.asking import Asker
from xetway.openai.catalog import Catalog
from xetway.openai.gateway import Gateway
from xetway.openai.meter import Meter
from xetway.openai.routes import Routes
from xetway.policy import cache as caching
from xetway.policy import queue_totals, shares
from xetway.policy.batching import Stats as BatchStats
from xetway.policy.breaker import Breaker
from xetway.policy.cache import MAX_HEAD_BYTES, AnswerCache
from xetway.policy.cache import Stats as CacheStats
from xetway.policy.clearing import Clearing, ClearStore
from xetway.policy.flights import Flights
from xetway.policy.key_server import KeyServer, connect
from xetway.policy.key_store import KeyStore
from xetway.policy.keys import Keys
from xetway.policy.limits import Limiter
from xetway.policy.limits_valkey import ValkeyLimiter
from xetway.policy.queue import Queue
from xetway.policy.queue_totals import QueueTotals
from xetway.policy.rows import Rows
from xetway.policy.storage import MemoryStorage
from xetway.policy.storage_valkey import ValkeyStorage
from xetway.ports import RawHeaders
from xetway.settings import gateway as settings
from xetway.siblings import Siblings, Total

# Usage is read in answers as they pass, so they must not be compressed.
_PLAIN = (b"accept-encoding", b"identity")


class GatewayParts:
    """What a server needs of a gateway: routes, numbers, what runs beside the requests, and the end.

    Some of it lasts, and some is made anew when the settings change; requests under way keep what they began with.
    """

    def __init__(
        self,
        options: settings.Gateway,
        db: Database,
        siblings: Siblings,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._started = time.monotonic()
        self._siblings = siblings
        self._environment = environment
        self.keys = Keys(settings.Auth(), KeyStore(db), environment)
        self._meter = Meter(())
        self._queue = Queue(settings.Queue())
        self._rows = Rows(siblings.table, siblings.first_word, siblings.words)
        self._local = Limiter(options.limits, siblings.table, siblings.number)
        self._limiter: ports.Limiter = self._local
        if options.limits.url is not None:
            server = _key_server(options.limits.url, "limits.url", "each machine limits for itself")
            self._limiter = ValkeyLimiter(server, self._local, place_s=options.http.timeout + 1)
        self._storage = _storage(options.cache)
        self._clearing = Clearing(ClearStore(db), partial(siblings.ask, "answers"))
        self._flights = Flights()
        self._cache_stats = CacheStats()
        self._batch_stats = BatchStats()
        self._changed = asyncio.Event()
        self._catalog = Catalog(())
        self._runtime = RemoteRuntime((), Dialer(options.http), partial(self._breaker, options.breaker))
        self._queue_totals = Total(
            siblings,
            "queue",
            lambda: queue_totals.of_queue(self._queue),
            QueueTotals,
            queue_totals.added,
            queue_totals.past,
        )
        self._cache_totals = Total(
            siblings, "cache", lambda: self._cache_stats, CacheStats, caching.added, lambda past: past
        )
        siblings.on("answers", self._clearing.tidy)
        siblings.on("keys", partial(asyncio.to_thread, self.keys.look))
        siblings.on_release(self._release)
        self.configure(options)

    def configure(self, options: settings.Gateway) -> None:
        """Take on settings; those that do not change while a server runs have to be as before.

        Raises:
            ConfigError: Something cannot be used; then nothing changes.
        """
        options = shares.of_worker(options, self._siblings.number, self._siblings.count)
        catalog = Catalog(options.models, created=self._catalog.created)
        dial = Dialer(options.http)
        runtime = RemoteRuntime(options.models, dial, partial(self._breaker, options.breaker), self._environment)
        self.keys.configure(options.auth)
        runtime.follow(self._runtime)
        self._catalog, self._runtime = catalog, runtime
        self._meter.know(model.name for model in options.models)
        line = options.queue if options.queue.enabled else settings.Queue()
        self._queue.configure(line, keep=frozenset(model.name for model in options.models))
        self._local.configure(options.limits)
        cache = AnswerCache(options.cache, self._storage)
        cache.stats, cache.flights = self._cache_stats, self._flights
        self._clearing.configure(cache, options.cache.ttl)
        asker = Asker(runtime, self._queue, self._meter)
        self._gateway = gateway = Gateway(options, catalog, asker, self.keys, self._limiter, cache, self._meter)
        totals = self._cache_totals if options.cache.enabled else None
        self._routes = Routes(
            gateway, catalog, runtime.targets, self._queue_totals, totals, self._started, options.http.paths
        )
        self._health = HealthChecks(runtime.targets, dial)
        self._sources: list[Source] = [
            lambda: metrics.of_requests(self._meter),
            lambda: metrics.of_upstreams(runtime.targets),
            lambda: metrics.of_queue(self._queue),
        ]
        if options.cache.enabled:
            self._sources.append(lambda: metrics.of_cache(cache, self._storage))
        if (batcher := gateway.batcher) is not None:
            batcher.stats = self._batch_stats
            self._sources.append(lambda: metrics.of_batches(batcher))
        self._changed.set()

    def routes(self) -> Iterable[Route]:
        """All its routes, as the settings are now."""
        yield from self._routes.routes()
        tell = partial(self._siblings.ask, "keys")
        for methods, pattern, handler in admin.routes(self.keys, self._catalog, self._clearing, tell=tell):
            yield methods, pattern, self._telling(handler)

    def samples(self) -> Iterable[Sample]:
        """Its numbers."""
        return chain.from_iterable(source() for source in self._sources)

    def admitting(self, routes: Iterable[Route]) -> Iterable[Route]:
        """Routes of others, for callers who may see them: with a key unless `auth.public` has their path."""
        for methods, pattern, handler in routes:
            yield methods, pattern, self._admitting(handler)

    def _admitting(self, handler: Handler) -> Handler:
        async def handle(request: Request) -> AnyResponse:
            self._gateway.admit(request)
            if inspect.iscoroutinefunction(handler):
                return await handler(request)  # type: ignore[no-any-return]
            return await run(handler, request)  # type: ignore[arg-type]

        return handle

    def _telling(self, handler: Handler) -> Handler:
        """Have errors told as clients of model endpoints read them."""
        if inspect.iscoroutinefunction(handler):

            async def handle(request: Request) -> AnyResponse:
                request.tell = self._gateway.tell
                return await handler(request)  # type: ignore[no-any-return]

            return handle

        def call(request: Request) -> AnyResponse:
            request.tell = self._gateway.tell
            return handler(request)  # type: ignore[return-value]

        return call

    def drain(self) -> None:
        """Say that it is not ready, from now on."""
        self._routes.drain()

    async def start(self) -> None:
        """Do what is to be done beside the requests, until cancelled."""
        self.keys.start()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._clearing.watch())
            group.create_task(self._check_health())

    async def _check_health(self) -> None:
        while True:
            self._changed.clear()
            async with asyncio.TaskGroup() as group:
                checking = group.create_task(self._health.run())
                await self._changed.wait()
                checking.cancel()

    async def close(self) -> None:
        """Let go of what outlives requests."""
        self.keys.close()
        if isinstance(self._limiter, ValkeyLimiter):
            await self._limiter.close()

    def _breaker(
        self, options: settings.Breaker, model: settings.Model, upstream: settings.Upstream, name: str
    ) -> Breaker:
        row = self._rows.find(f"breaker {model.name} {upstream.url} {name}")
        return Breaker(options, row=row, worker=self._siblings.number)

    def _release(self, worker: int) -> None:
        for targets in self._runtime.targets.values():
            for target in targets:
                target.breaker.release(worker)


def _storage(options: settings.Cache) -> ports.Storage:
    if options.url is None:
        return MemoryStorage(options.max_bytes)
    server = _key_server(options.url, "cache.url", "nothing is cached")
    return ValkeyStorage(server, options.max_answer_bytes + MAX_HEAD_BYTES)


def _key_server(url: str, setting: str, without: str) -> KeyServer:
    return KeyServer(connect(url, setting), setting, without)


class Dialer:
    """Makes the way to an upstream."""

    def __init__(self, options: settings.Http) -> None:
        self._options = options
        self._forwarder = Forwarder()

    def __call__(self, upstream: settings.Upstream, headers: RawHeaders, timeout_s: float | None) -> Send:
        """Return what sends requests there; None is the time that all have.

        Raises:
            ConfigError: The upstream's address or certificates cannot be used.
        """
        connections = Connections(
            upstream.url,
            http=upstream.http,
            ca_bundle=_bundle(upstream),
            headers=[*headers, _PLAIN],
            max_connections=upstream.max_connections,
            connect_timeout_s=self._options.connect_timeout,
        )
        send, idle_timeout_s = self._forwarder.send, self._options.idle_timeout
        total_timeout_s = timeout_s or self._options.timeout

        def to(method: str, path: bytes, raw_headers: RawHeaders, body: bytes, own: RawHeaders) -> Future[Answer]:
            return send(
                connections,
                method,
                path,
                raw_headers,
                body,
                extra=own,
                first_byte_timeout_s=total_timeout_s,
                idle_timeout_s=idle_timeout_s,
                total_timeout_s=total_timeout_s,
            )

        return to


def _bundle(upstream: settings.Upstream) -> bytes | None:
    if upstream.ca_bundle is None:
        return None
    with contextlib.suppress(OSError):
        return upstream.ca_bundle.expanduser().read_bytes()
    raise ConfigError(f"the certificates of the upstream {upstream.url} cannot be read: {upstream.ca_bundle}")
