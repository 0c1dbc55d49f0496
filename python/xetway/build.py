"""The composition root: settings in, the application with all its parts out.

The only place that knows every part. Routes come from the modules that own them, each as
`(methods, pattern, handler)`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from xetway.errors import ConfigError
from xetway.http.app import Application
from xetway.http.cors import Cors
from xetway.http.errors import describe
from xetway.http.request import BODY_IDLE_S
from xetway.http.router import Route, Router
from xetway.settings import Settings
from xetway.settings.gateway import Telemetry
from xetway.siblings import Siblings, Total

if TYPE_CHECKING:
    from xetway.http.metrics import Source
    from xetway.telemetry.otlp import Otlp


def build(settings: Settings, siblings: Siblings) -> Application:
    """Open the store in the data folder and wire everything to it. Blocking.

    The first of the siblings cleans up.

    Raises:
        ConfigError: The data folder cannot be used.
    """
    try:
        return _build(settings, siblings)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else describe(error)
        raise ConfigError(f"the data folder {settings.data} cannot be used: {reason}") from error


def _build(settings: Settings, siblings: Siblings) -> Application:
    from xetway._native import Hash  # noqa: PLC0415
    from xetway.cas import downloads, uploads  # noqa: PLC0415  (`xetway --help` must not load the store)
    from xetway.cas.signing import UrlSigner, XetTokens  # noqa: PLC0415
    from xetway.cas.store import ContentStore  # noqa: PLC0415
    from xetway.http import metrics  # noqa: PLC0415
    from xetway.hub import downloads as plain_downloads  # noqa: PLC0415
    from xetway.hub.hub import Hub  # noqa: PLC0415
    from xetway.hub.routes import routes as hub_routes  # noqa: PLC0415
    from xetway.web import pages  # noqa: PLC0415

    store = ContentStore(settings.data)
    if siblings.number == 0:
        store.clean_leftovers()
    xet_tokens = XetTokens(store.db)
    hub = Hub(store, xet_tokens, open_writes=settings.open)
    hub_side: Iterable[Route] = chain(hub_routes(hub), plain_downloads.routes(hub))
    content_side: Iterable[Route] = downloads.routes(store, xet_tokens, UrlSigner(store.db))
    sources: list[metrics.Source] = []
    mirror = None
    if settings.upstream is not None:
        from xetway.mirror.build import build_mirror  # noqa: PLC0415  (what a server without one does not need)

        mirror = build_mirror(settings, store.db, os.environ)
        hub_side = mirror.hub_routes(hub, hub_side)
        content_side = mirror.content_routes(content_side)
        sources.append(mirror.samples)
    gateway = None
    if settings.gateway.models:
        from xetway.openai.build import GatewayParts  # noqa: PLC0415  (what a server without models does not need)

        gateway = GatewayParts(settings.gateway, store.db, siblings, os.environ)
        sources.append(gateway.samples)
    together = partial(
        Total[list[metrics.Sample]],
        siblings,
        "metrics",
        kind=list[metrics.Sample],
        add=metrics.merged,
        past=metrics.counted,
    )
    pages_of_numbers = (
        metrics.routes(*sources, together=together if siblings.count > 1 else None)
        if settings.gateway.telemetry.metrics
        else ()
    )
    otlp = _otlp(settings.gateway.telemetry, [metrics.process_samples, *sources])
    health: Iterable[Route] = [pages.HEALTH]
    if gateway is not None:
        pages_of_numbers = gateway.admitting(pages_of_numbers)
        health = [*gateway.admitting(health)]
    routes = [
        *pages.routes(settings.upstream),
        *health,
        *pages_of_numbers,
        *uploads.routes(store, xet_tokens),
        *content_side,
        *hub_side,
    ]

    def routing(changed: Settings | None = None) -> tuple[Router, Cors | None]:
        if gateway is not None and changed is not None:
            gateway.configure(changed.gateway)
        for_models = [] if gateway is None else [*gateway.routes()]
        router = Router([*routes, *for_models])
        cors = (changed or settings).gateway.cors
        if gateway is None or not cors.origins:
            return router, None
        return router, Cors(cors.origins, cors.max_age, router, [*for_models, *health])

    router, cors = routing()
    local_only = settings.is_loopback and settings.public_url is None
    limits = settings.gateway.http
    return Application(
        router,
        public_url=settings.public_url,
        local_only=local_only,
        max_header_bytes=limits.max_header_bytes,
        body_idle_s=limits.body_timeout if gateway is not None else BODY_IDLE_S,
        cors=cors,
        on_damage=lambda xorb: store.mark_damaged(Hash(xorb)),
        on_start=[siblings.run, *(part.start for part in (mirror, gateway, otlp) if part is not None)],
        on_drain=[gateway.drain] if gateway is not None else [],
        on_change=routing,
        on_stop=[part.close for part in (mirror, gateway, otlp) if part is not None],
        tracer=None if otlp is None else otlp.tracer,
    )


def _otlp(options: Telemetry, sources: Sequence[Source]) -> Otlp | None:
    """What sends traces and metrics, if they are to be sent.

    Raises:
        ConfigError: The extra that it takes is not installed.
    """
    if options.otlp_endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    try:
        from xetway.telemetry.otlp import Otlp  # noqa: PLC0415  (an extra of the package)
    except ImportError:
        raise ConfigError(
            "telemetry.otlp_endpoint needs the OpenTelemetry packages: pip install 'xetway[otel]'"
        ) from None
    return Otlp(options, sources, os.environ)
