"""The route that warms the cache, for `xetway prefetch`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec

from xetway.errors import NotFoundError, RequestError
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Piece, Response, StreamResponse
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.hub import Hub
from xetway.hub.names import RepoType
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import repo_named, revision_named
from xetway.mirror.precedence import guarded
from xetway.mirror.prefetch import Event, Prefetch, ResultEvent

_NDJSON = ("content-type", "application/x-ndjson")
_MAX_BODY_BYTES = 1024 * 1024
# Each is compared with each path.
_MAX_PATTERNS = 200
_MAX_PATTERN_CHARS = 500


class PrefetchBody(msgspec.Struct):
    """What to hold."""

    repo: str
    type: RepoType = "model"
    revision: str = "main"
    include: list[str] = []
    exclude: list[str] = []


class PrefetchRoute:
    """The handler. Whoever may read a repository may have it held here."""

    def __init__(self, mirror: Mirror, hub: Hub) -> None:
        self._mirror = mirror
        self._hub = hub

    async def prefetch(self, request: Request) -> AnyResponse:
        """Fetch files and tell of it, a line of JSON at a time; ends with ``result`` or ``error``."""
        body = await request.json(PrefetchBody, _MAX_BODY_BYTES)
        patterns = [*body.include, *body.exclude]
        if len(patterns) > _MAX_PATTERNS or any(len(pattern) > _MAX_PATTERN_CHARS for pattern in patterns):
            raise RequestError(
                f"at most {_MAX_PATTERNS} patterns of {_MAX_PATTERN_CHARS} characters are taken",
                code="too_many_patterns",
            )
        if await run(self._is_hosted, request, body):
            return Response(200, [_NDJSON], _line(ResultEvent(0, 0, 0)))
        caller = self._mirror.callers.of(request)
        work = Prefetch(
            self._mirror,
            caller,
            repo_named(body.type, *body.repo.split("/")),
            revision_named(body.revision),
            body.include,
            body.exclude,
        )
        paths = await work.find()

        async def lines() -> AsyncIterator[Piece]:
            events = work.events(paths)
            try:
                async for event in events:
                    yield [_line(event)]
            finally:
                await events.aclose()

        return StreamResponse(200, [_NDJSON, ("cache-control", "no-store")], None, lines())

    def _is_hosted(self, request: Request, body: PrefetchBody) -> bool:
        namespace, _, name = body.repo.partition("/")
        if not name:
            return False
        try:
            self._hub.access.readable(request, body.type, namespace, name)
        except NotFoundError:
            return False
        return True


def _line(event: Event) -> bytes:
    return msgspec.json.encode(event) + b"\n"


def routes(mirror: Mirror, hub: Hub) -> Iterable[Route]:
    """The route of this module."""
    yield "POST", "/api/xetway/prefetch", guarded(PrefetchRoute(mirror, hub).prefetch)
