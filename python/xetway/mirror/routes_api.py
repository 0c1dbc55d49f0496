"""The Hub's API of upstream repositories: descriptions, listings, references, and lists of repositories."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Literal, TypeAlias
from urllib.parse import quote

import msgspec

from xetway.errors import XetwayError
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Response
from xetway.http.router import Route
from xetway.hub.answers import is_true
from xetway.hub.names import PLURALS, REPO_TYPES, RepoType
from xetway.mirror.answers import Question
from xetway.mirror.callers import own_token
from xetway.mirror.listings import is_sound
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import repo_of, segment
from xetway.mirror.refusals import Refused
from xetway.mirror.replies import query_of, reply
from xetway.mirror.upstream import bad_answer

Hosted: TypeAlias = Callable[[Request], Awaitable[AnyResponse]]

_JSON, _FORM = "application/json", "application/x-www-form-urlencoded"
# In a form, or in JSON. What is then told besides, such as scans, changes.
_EXPANDS = re.compile(rb"expand[\"']?\s*[=:]\s*[\"']?(?:true|1)", re.IGNORECASE)
_MAX_BODY_BYTES = 8 * 1024 * 1024
# The mark of pages that come from the upstream alone.
_MARK = "xetway_from"
# What the lists of repositories here understand; for other questions they would answer too much.
_KNOWN_FILTERS = frozenset({"search", "author", "limit", "cursor", "full", "sort", "direction", "config", "cardData"})


class Api:
    """Handlers for upstream repositories of one type."""

    def __init__(self, mirror: Mirror, kind: RepoType) -> None:
        self._mirror = mirror
        self._kind = kind

    async def description(self, request: Request) -> Response:
        """Describe a repository at a revision."""
        repo, revision = repo_of(request, self._kind), request.params.get("revision")
        view = "" if revision is None else f"/revision/{segment(revision)}"
        varies = any(name != "blobs" for name in request.query)
        is_whole = not request.query or set(request.query) <= {"blobs", "securityStatus"}
        about: Literal["description", "nothing"] = "description" if is_whole else "nothing"
        question = Question(repo.api + view + query_of(request), repo, revision, about, varies=varies)
        return await self._answer(request, question)

    async def tree(self, request: Request) -> Response:
        """List a folder."""
        repo, revision = repo_of(request, self._kind), request.params["revision"]
        path = request.params.get("path", "")
        below = f"/{quote(path)}" if path else ""
        expands = is_true(request.query_one("expand"))
        question = Question(
            f"{repo.api}/tree/{segment(revision)}{below}{query_of(request)}",
            repo,
            revision,
            "listing",
            lists_all=not path and is_true(request.query_one("recursive")) and "cursor" not in request.query,
            varies=expands,
        )
        return await self._answer(request, question)

    async def paths_info(self, request: Request) -> Response:
        """Describe some paths."""
        repo, revision = repo_of(request, self._kind), request.params["revision"]
        body = await request.read(_MAX_BODY_BYTES)
        question = Question(
            f"{repo.api}/paths-info/{segment(revision)}{query_of(request)}",
            repo,
            revision,
            "listing",
            method="POST",
            body=body,
            content_type=_JSON if "json" in (request.header("content-type") or "") else _FORM,
            varies=_EXPANDS.search(body) is not None,
        )
        return await self._answer(request, question)

    async def commits(self, request: Request) -> Response:
        """List commits."""
        repo, revision = repo_of(request, self._kind), request.params["revision"]
        return await self._answer(
            request, Question(f"{repo.api}/commits/{segment(revision)}{query_of(request)}", repo, revision)
        )

    async def refs(self, request: Request) -> Response:
        """List branches and tags."""
        repo = repo_of(request, self._kind)
        return await self._answer(request, Question(f"{repo.api}/refs{query_of(request)}", repo))

    async def auth_check(self, request: Request) -> Response:
        """Say whether the caller may read the repository."""
        repo = repo_of(request, self._kind)
        return await self._answer(request, Question(f"{repo.api}/auth-check", repo))

    async def _answer(self, request: Request, question: Question) -> Response:
        caller = self._mirror.callers.of(request)
        answered = await self._mirror.answers.get(question, caller)
        return reply(request, self._mirror.upstream, answered)

    def listing(self, hosted: Hosted) -> Hosted:
        """The list of repositories: those here that fit first, all on pages of their own, then the upstream's."""

        async def both(request: Request) -> AnyResponse:
            is_ours = request.query_one(_MARK) is None and set(request.query) <= _KNOWN_FILTERS
            own = await hosted(request) if is_ours else None
            if own is not None and (not isinstance(own, Response) or any(name == "link" for name, _ in own.headers)):
                return own
            target = f"/api/{PLURALS[self._kind]}{query_of(request, {_MARK, 'cursor'} if is_ours else {_MARK})}"
            try:
                answered = await self._mirror.answers.get(Question(target), self._mirror.callers.of(request))
            except (ConnectionError, TimeoutError, XetwayError, Refused):
                if own is None or own.body == b"[]":
                    raise
                own.headers.append(("warning", '111 xetway "the upstream could not be asked"'))
                return own
            response = reply(request, self._mirror.upstream, answered, **{_MARK: "upstream"})
            if not is_sound("listing", response.body):
                raise bad_answer("a list of repositories that is none")
            if own is not None and own.body != b"[]":
                response.body = _joined(own.body, response.body)
                response.headers = [pair for pair in response.headers if pair[0] != "etag"]
            return response

        return both

    def whoami(self, hosted: Hosted) -> Hosted:
        """Who the caller is: by the upstream, for a token of the upstream's."""

        async def either(request: Request) -> AnyResponse:
            if own_token(request) is None:
                return await hosted(request)
            return await self._answer(request, Question("/api/whoami-v2"))

        return either


def _joined(first: bytes, second: bytes) -> bytes:
    """Put two JSON arrays of repositories together; those here hide the upstream's of the same name."""
    ours = msgspec.json.decode(first, type=list[dict[str, object]])
    theirs = msgspec.json.decode(second, type=list[dict[str, object]])
    names = {str(item.get("id")).lower() for item in ours}
    return msgspec.json.encode([*ours, *(item for item in theirs if str(item.get("id")).lower() not in names)])


def routes(mirror: Mirror) -> Iterable[Route]:
    """The routes of this module that stand behind those of hosted repositories."""
    for kind in REPO_TYPES:
        of = Api(mirror, kind)
        for name in ("{namespace}/{name}", "{name}"):
            repo = f"/api/{PLURALS[kind]}/{name}"
            yield "GET|HEAD", repo, of.description
            yield "GET|HEAD", repo + "/revision/{revision}", of.description
            yield "GET|HEAD", repo + "/tree/{revision}", of.tree
            yield "GET|HEAD", repo + "/tree/{revision}/{path...}", of.tree
            yield "POST", repo + "/paths-info/{revision}", of.paths_info
            yield "GET|HEAD", repo + "/commits/{revision}", of.commits
            yield "GET|HEAD", repo + "/refs", of.refs
            yield "GET", repo + "/auth-check", of.auth_check
