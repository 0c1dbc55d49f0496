"""The routes of the gateway: the model endpoints, which models there are, and how it is.

A POST to one of `paths` goes to the model that its body names.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec.structs import asdict

from xetway import __version__
from xetway.engines.remote import RemoteTarget
from xetway.errors import NotFoundError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.openai import paths
from xetway.openai.catalog import Catalog, ModelList
from xetway.openai.description import Description
from xetway.openai.gateway import Gateway
from xetway.openai.status import QueueStats, Readiness, Status, UpstreamStatus
from xetway.policy.cache import Stats
from xetway.policy.key_object import Done
from xetway.policy.queue import ModelStats
from xetway.policy.queue_totals import QueueTotals


class Routes:
    """What answers them."""

    def __init__(
        self,
        gateway: Gateway,
        catalog: Catalog,
        targets: Mapping[str, Sequence[RemoteTarget]],
        queue_totals: Callable[[], Awaitable[QueueTotals]],
        cache_totals: Callable[[], Awaitable[Stats]] | None,
        started: float,
        more_paths: tuple[str, ...] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._catalog = catalog
        self._targets = targets
        self._queue_totals = queue_totals
        self._description = Description(gateway.auth, more_paths)
        self._cache_totals = cache_totals
        self._more_paths = more_paths
        self._clock = clock
        self._started = started
        self._draining = False

    def drain(self) -> None:
        """Say that nothing is ready, from now on: the server stops."""
        self._draining = True

    def routes(self) -> Iterable[Route]:
        """List them."""
        yield "GET|HEAD", "/v1/models", self._models
        yield "GET|HEAD", "/v1/models/{model...}", self._model
        for pattern in paths.patterns(self._more_paths):
            yield "POST", pattern, self._gateway.infer
        yield "GET|HEAD|POST|PUT|PATCH|DELETE", "/v1/{path...}", self._unknown
        yield "GET|HEAD", "/health/live", self._live
        yield "GET|HEAD", "/health/ready", self._ready
        yield "GET|HEAD", "/ready", self._ready
        yield "GET|HEAD", "/status", self._status
        yield "GET|HEAD", "/openapi.json", self._describe
        yield "GET", "/admin/queue/stats", self._queue_stats
        yield "POST", "/admin/breakers/reset", self._reset

    async def _models(self, request: Request) -> Response:
        caller = self._gateway.admit(request)
        known = [model for model in self._catalog.models if caller.may_use(model.name)]
        return json_response(ModelList([self._catalog.describe(model) for model in known]))

    async def _model(self, request: Request) -> Response:
        caller = self._gateway.admit(request)
        model = self._catalog.find(request.params["model"])
        if not caller.may_use(model.name):
            raise NotFoundError(f"the model {request.params['model'][:100]!r} does not exist", code="model_not_found")
        return json_response(self._catalog.describe(model))

    async def _unknown(self, request: Request) -> Response:
        self._gateway.admit(request)
        raise paths.not_forwarded(request.method, f"/v1/{request.params['path']}")

    async def _live(self, request: Request) -> Response:
        self._gateway.admit(request)
        return json_response(Readiness("alive"))

    async def _ready(self, request: Request) -> Response:
        self._gateway.admit(request)
        able = not self._draining and any(target.available for each in self._targets.values() for target in each)
        return json_response(Readiness("ready" if able else "not_ready"), 200 if able else 503)

    async def _status(self, request: Request) -> Response:
        caller = self._gateway.admit(request)
        known = {name: targets for name, targets in self._targets.items() if caller.may_use(name)}
        able = [any(target.available for target in targets) for targets in known.values()]
        models = {
            name: [UpstreamStatus(target.name, target.healthy, target.breaker.state()) for target in targets]
            for name, targets in known.items()
        }
        summary: Literal["ready", "degraded", "not_ready"] = (
            "ready" if all(able) else "degraded" if any(able) else "not_ready"
        )
        uptime_s = int(self._clock() - self._started)
        stats = None if self._cache_totals is None else await self._cache_totals()
        return json_response(Status(summary, __version__, uptime_s, sum(able), models, stats))

    async def _describe(self, request: Request) -> Response:
        self._gateway.admit(request)
        return self._description.answer(request)

    async def _queue_stats(self, request: Request) -> Response:
        self._gateway.admit(request, "admin")
        totals = await self._queue_totals()
        together = totals.all
        per_model = ModelStats(totals.models, together.current_size, together.total_queued, together.total_processed)
        return json_response(QueueStats(**asdict(together), per_model=per_model))

    async def _reset(self, request: Request) -> Response:
        self._gateway.admit(request, "admin")
        for targets in self._targets.values():
            for target in targets:
                target.breaker.reset()
        return json_response(Done("all upstreams are tried again"))
