"""Files of upstream repositories: ``resolve``, ``raw``, and the plain downloads by name and hash.

Answers are whole: never a redirect, and never an address of the upstream.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from xetway.errors import NotFoundError, RequestError, XetwayError
from xetway.http.ranges import streamed_file_response
from xetway.http.request import Request
from xetway.http.response import AnyResponse
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.downloads import content_disposition
from xetway.hub.names import PLURALS, PREFIXES, REPO_TYPES, RepoType, is_sha256
from xetway.hub.routes_resolve import disposition
from xetway.mirror.callers import PUBLIC, Caller
from xetway.mirror.content_source import ContentSource
from xetway.mirror.file_table import View
from xetway.mirror.finder import Found
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import RepoKey, repo_named, repo_of, revision_named
from xetway.mirror.precedence import AsyncHandler
from xetway.mirror.refusals import Refused
from xetway.mirror.replies import cache_headers

# Readers of ranges ask for one file many times in a row; meanwhile a branch may be taken to stand still.
_RANGE_FRESH_S = 10


class Files:
    """Handlers that give out files."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._source = ContentSource(mirror)

    def resolve(self, kind: RepoType) -> AsyncHandler:
        """The handler of ``resolve`` for one type: content, or with HEAD what is known about it."""

        async def handler(request: Request) -> AnyResponse:
            params = request.params
            return await self._give(request, repo_of(request, kind), params["revision"], params["path"], "resolve")

        return handler

    def raw(self, kind: RepoType) -> AsyncHandler:
        """The handler of ``raw``: what git has."""

        async def handler(request: Request) -> AnyResponse:
            params = request.params
            return await self._give(request, repo_of(request, kind), params["revision"], params["path"], "raw")

        return handler

    async def _give(self, request: Request, repo: RepoKey, revision: str, path: str, view: View) -> AnyResponse:
        caller = self._mirror.callers.of(request)
        fresh_s = _RANGE_FRESH_S if request.method == "GET" and request.header("range") is not None else 0
        found = await self._mirror.finder.find(caller, repo, revision, path, view, fresh_s)
        info = found.info
        headers = [
            ("x-repo-commit", info.commit),
            ("content-type", "application/octet-stream" if info.is_linked else "text/plain; charset=utf-8"),
            # Uploaded pages and scripts must not run as if they were this server's own.
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("content-disposition", disposition(path)),
            *cache_headers(found.cache, found.age_s),
        ]
        if info.is_linked and view == "resolve":
            headers += [("x-linked-size", str(found.size)), ("x-linked-etag", f'"{info.etag}"')]
        if info.xet is not None and found.size:
            route = f"/api/{PLURALS[repo.kind]}/{repo.name}/xet-read-token/{info.commit}"
            headers += [
                ("x-xet-hash", str(info.xet)),
                ("x-xet-refresh-route", route),
                ("link", f'<{request.base_url}{route}>; rel="xet-auth"'),
            ]
        return await self._send(request, caller, found, info.etag, headers)

    async def by_name(self, request: Request) -> AnyResponse:
        """Send a file of a repository: the revision `?revision=`, or main."""
        path, params = request.params["path"], request.params
        repo = repo_named(_type(request.query_one("type", "model")), params["owner"], params["repo"])
        caller = self._mirror.callers.of(request)
        fresh_s = _RANGE_FRESH_S if request.header("range") is not None else 0
        revision = revision_named(request.query_one("revision") or "main")
        found = await self._mirror.finder.find(caller, repo, revision, path, "resolve", fresh_s)
        etag = found.info.etag if found.info.xet is None else str(found.info.xet)
        return await self._send(request, caller, found, etag, _download_headers(path.rpartition("/")[2], found))

    async def by_hash(self, request: Request) -> AnyResponse:
        """Send a file by its xet hash or SHA-256, if the upstream showed it to the caller, or to everybody."""
        digest = request.params["hash"].lower()
        if not is_sha256(digest):
            raise RequestError("a hash is 64 hex digits", code="bad_hash")
        caller = self._mirror.callers.of(request)
        for candidate in await run(self._mirror.files.by_content, (PUBLIC, caller.audience), digest):
            info, repo = candidate.info, candidate.repo
            try:
                if await self._mirror.visibility.audience(repo, caller) != candidate.audience:
                    continue
                # Asks again where what was shown is too old to rely on.
                found = await self._mirror.finder.find(caller, repo, info.commit, info.path)
            except (Refused, XetwayError, ConnectionError, TimeoutError):
                continue
            name = found.info.etag if found.info.xet is None else str(found.info.xet)
            if digest in {found.info.etag, name}:
                return await self._send(request, caller, found, name, _download_headers(name, found))
        raise NotFoundError("no file with this hash", code="file_not_found")

    async def _send(
        self, request: Request, caller: Caller, found: Found, etag: str, headers: list[tuple[str, str]]
    ) -> AnyResponse:
        return await streamed_file_response(
            request,
            size=found.size,
            # Without a tag of the upstream's, nothing may be taken for unchanged.
            etag=etag or f"none-{secrets.token_hex(8)}",
            headers=headers,
            open_range=lambda start, end: self._source.open(caller, found, start, end),
        )


def _type(name: str | None) -> RepoType:
    for kind in REPO_TYPES:
        if name == kind:
            return kind
    raise RequestError(f"type must be one of {', '.join(REPO_TYPES)}", code="bad_type")


def _download_headers(filename: str, found: Found) -> list[tuple[str, str]]:
    return [
        ("content-type", "application/octet-stream"),
        ("content-disposition", content_disposition(filename)),
        ("cache-control", "private, no-cache"),
        ("x-repo-commit", found.info.commit),
        *cache_headers(found.cache, found.age_s),
    ]


def routes(mirror: Mirror) -> Iterable[Route]:
    """The routes of this module, which stand behind those of hosted repositories."""
    files = Files(mirror)
    for kind in REPO_TYPES:
        resolve, raw = files.resolve(kind), files.raw(kind)
        for repo in ("{namespace}/{name}", "{name}"):
            base = f"/{PREFIXES[kind]}{repo}"
            yield "GET|HEAD", base + "/resolve/{revision}/{path...}", resolve
            yield "GET|HEAD", base + "/raw/{revision}/{path...}", raw
            yield "GET|HEAD", f"/api/{PLURALS[kind]}/{repo}/resolve/{{revision}}/{{path...}}", resolve
    yield "GET|HEAD", "/download/{owner}/{repo}/{path...}", files.by_name
    yield "GET|HEAD", "/download-hash/{hash}", files.by_hash
