"""The composition root: settings in, the application with all its parts out.

The only place that knows every part. Routes come from the modules that own them, each as
`(methods, pattern, handler)`.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from itertools import chain

from xetway.errors import ConfigError
from xetway.http.app import Application
from xetway.http.errors import describe
from xetway.http.router import Route, Router
from xetway.settings import Settings


def build(settings: Settings, *, first: bool = True) -> Application:
    """Open the store in the data folder and wire everything to it. Blocking.

    `first` is false in the workers beside the first process, which leave cleaning up to it.

    Raises:
        ConfigError: The data folder cannot be used.
    """
    try:
        return _build(settings, first=first)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(f"the data folder {settings.data} cannot be used: {describe(error)}") from error


def _build(settings: Settings, *, first: bool) -> Application:
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
    if first:
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
    gateway_side: list[Route] = []
    if settings.gateway.models:
        if settings.workers > 1 or not first:
            raise ConfigError("--workers must be 1 with [[models]]: limits and queue are those of one process")
        from xetway.openai.build import GatewayParts  # noqa: PLC0415  (what a server without models does not need)

        gateway = GatewayParts(settings.gateway, store.db, os.environ)
        gateway_side = list(gateway.routes())
        sources.append(gateway.samples)
    pages_of_numbers = metrics.routes(*sources) if settings.gateway.telemetry.metrics else ()
    health: Iterable[Route] = [pages.HEALTH]
    if gateway is not None:
        pages_of_numbers = gateway.admitting(pages_of_numbers)
        health = list(gateway.admitting(health))
    router = Router()
    for routes in (
        pages.routes(settings.upstream),
        health,
        pages_of_numbers,
        uploads.routes(store, xet_tokens),
        content_side,
        hub_side,
        gateway_side,
    ):
        for methods, pattern, handler in routes:
            router.add(methods, pattern, handler)
    cors = None
    pages_from = settings.gateway.cors
    if gateway_side and pages_from.origins:
        from xetway.http.cors import Cors  # noqa: PLC0415  (what few servers need)

        cors = Cors(pages_from.origins, pages_from.max_age, router, [*gateway_side, *health])
    local_only = settings.is_loopback and settings.public_url is None
    return Application(
        router,
        public_url=settings.public_url,
        local_only=local_only,
        cors=cors,
        on_damage=lambda xorb: store.mark_damaged(Hash(xorb)),
        on_start=[part.start for part in (mirror, gateway) if part is not None],
        on_stop=[part.close for part in (mirror, gateway) if part is not None],
    )
