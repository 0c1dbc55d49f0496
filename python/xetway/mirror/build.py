"""Puts a mirror together from the settings of a server, and its routes into those of the server."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from xetway import __version__
from xetway.db import Database
from xetway.http.metrics import Sample
from xetway.http.request import Request
from xetway.http.response import AnyResponse
from xetway.http.router import Handler, Route
from xetway.hub.hub import Hub
from xetway.hub.names import PLURALS, REPO_TYPES, RepoType
from xetway.mirror import metrics, routes_api, routes_cas, routes_pages, routes_prefetch, routes_resolve
from xetway.mirror.callers import fallback_token
from xetway.mirror.mirror import Mirror, MirrorSettings
from xetway.mirror.names import RepoKey
from xetway.mirror.ports import Native
from xetway.mirror.precedence import AsyncHandler, behind, called, for_writers, guarded
from xetway.mirror.probe import probe
from xetway.settings import Settings

logger = logging.getLogger("xetway")

_LEAST_FREE_BYTES = 1 << 30
_LEAST_FREE_SHARE = 0.05
# A xorb has 64 MiB, and several are in use at a time.
_SMALL_CACHE_BYTES = 1 << 30
# Clients give up soon, and should hear why.
_CONNECT_ATTEMPTS = 2
_DAMAGE_INTERVAL_S = 2.0


class MirrorRoutes:
    """A mirror beside a hub."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror

    def hub_routes(self, hub: Hub, hosted: Iterable[Route]) -> Iterator[Route]:
        """The hub's routes with the mirror's behind them."""
        mirror = self.mirror
        mirrored = [
            *routes_api.routes(mirror),
            *routes_resolve.routes(mirror),
            *routes_pages.routes(mirror),
            *routes_cas.token_routes(mirror),
        ]
        reads = {(method, pattern) for methods, pattern, _ in mirrored for method in methods.split("|")}
        around = {f"/api/{PLURALS[kind]}": routes_api.Api(mirror, kind).listing for kind in REPO_TYPES}
        around["/api/whoami-v2"] = routes_api.Api(mirror, "model").whoami
        hub.on_name = self._note_name
        for method, pattern, handler in behind(hosted, mirrored):
            wrap = around.get(pattern)
            if wrap is not None:
                yield method, pattern, guarded(wrap(_as_async(handler)))
            elif (method, pattern) in reads:
                yield method, pattern, handler
            else:
                yield method, pattern, _for_writers(hub, method, pattern, handler)
        yield from routes_prefetch.routes(mirror, hub)

    def _note_name(self, kind: RepoType, name: str) -> None:
        if self.mirror.storage.knows(RepoKey(kind, name)):
            logger.warning(
                "%s %s was made here, and hides the upstream's of that name, which was fetched through this mirror: "
                "delete or rename the one here to see that again",
                kind,
                name,
            )

    def content_routes(self, hosted: Iterable[Route]) -> Iterable[Route]:
        """The content store's routes with the mirror's beside them."""
        return routes_cas.content_routes(self.mirror, hosted)

    def samples(self) -> Iterator[Sample]:
        """Numbers for /metrics."""
        return metrics.samples(self.mirror)

    async def start(self) -> None:
        """Do what can be done while requests are answered already."""
        await probe(self.mirror)
        while True:
            await asyncio.sleep(_DAMAGE_INTERVAL_S)
            tell_damage(self.mirror)

    def close(self) -> None:
        """Let go of the cache."""
        tell_damage(self.mirror)
        self.mirror.content.close()


def build_mirror(settings: Settings, db: Database, environment: Mapping[str, str]) -> MirrorRoutes:
    """Open the cache in the data folder. The upstream is not asked anything. Blocking.

    Raises:
        ConfigError: a setting cannot be used, or another process serves from the folder (`cache_in_use`).
    """
    from xetway._native import Credentials, HttpClient, seal, unseal  # noqa: PLC0415
    from xetway._native import Mirror as Content  # noqa: PLC0415

    assert settings.upstream is not None
    folder = settings.data / "mirror"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    min_free = settings.min_free
    if min_free is None:
        min_free = max(_LEAST_FREE_BYTES, int(shutil.disk_usage(folder).total * _LEAST_FREE_SHARE))
    _warn_of_little_room(settings.cache_size, min_free, shutil.disk_usage(folder).free)
    http = HttpClient(
        user_agent=f"xetway/{__version__}",
        ca_bundle=settings.ca_bundle,
        concurrency=settings.upstream_concurrency,
        rate_limit_bytes_s=settings.upstream_rate,
        connect_attempts=_CONNECT_ATTEMPTS,
    )
    content = Content(http, folder, max_bytes=settings.cache_size, min_free_bytes=min_free)
    chosen = MirrorSettings(url=settings.upstream, offline=settings.offline, max_stale_s=settings.max_stale)
    fallback = fallback_token(environment, use_hf_token=settings.use_hf_token)
    return MirrorRoutes(Mirror(chosen, folder, db, Native(http, content, Credentials, seal, unseal), fallback=fallback))


def tell_damage(mirror: Mirror) -> None:
    """Log what was found damaged on the disk since the last time."""
    for what in mirror.content.take_damage():
        logger.warning("cached content was damaged on the disk, and is fetched again: %s", what)


def _warn_of_little_room(cache_size: int | None, min_free: int, free: int) -> None:
    if cache_size is not None and cache_size < _SMALL_CACHE_BYTES:
        logger.warning(
            "--cache-size is %d MiB: files that do not fit beside those in use are refused; give 1 GiB or more",
            cache_size >> 20,
        )
    if free < min_free:
        logger.warning(
            "--min-free keeps %d MiB of the disk free, and only %d MiB are: nothing new can be cached or served",
            min_free >> 20,
            free >> 20,
        )


def _for_writers(hub: Hub, method: str, pattern: str, handler: Handler) -> Handler:
    for kind in REPO_TYPES:
        if method in {"POST", "PUT", "DELETE"} and pattern.startswith(f"/api/{PLURALS[kind]}/{{namespace}}/{{name}}/"):
            return for_writers(handler, partial(_check_writer, hub, kind))
    return handler


def _check_writer(hub: Hub, kind: RepoType, request: Request) -> None:
    hub.access.writer(request, kind, request.params["namespace"], request.params["name"], private=False)


def _as_async(handler: Handler) -> AsyncHandler:
    async def answer(request: Request) -> AnyResponse:
        return await called(handler, request)

    return answer
