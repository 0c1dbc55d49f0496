"""Routes of pull requests: opened and read. Merging is done by committing to the branch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from xetway.errors import NotFoundError, RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.answers import iso_date
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES
from xetway.hub.pulls import Pull, get_pull, list_pulls, open_pull
from xetway.hub.repos import Repo, still
from xetway.hub.revisions import resolve
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes

_MAX_TITLE_CHARACTERS = 1_000
_MAX_TEXT_CHARACTERS = 65_536


class PullBody(msgspec.Struct, rename="camel"):
    """What to open."""

    title: str
    description: str = ""
    pull_request: bool = False


class Pulls(RepoRoutes):
    """Handlers of pull requests and discussions."""

    async def create(self, request: Request) -> Response:
        """Open a pull request on main's head, or a discussion."""
        return await run(self._create, request, await request.json(PullBody, MAX_JSON_BYTES))

    def _create(self, request: Request, body: PullBody) -> Response:
        too_long = len(body.title) > _MAX_TITLE_CHARACTERS or len(body.description) > _MAX_TEXT_CHARACTERS
        if too_long or not body.title.strip():
            raise RequestError("the title or the description is empty or too long", code="bad_discussion")
        repo, user = self.writable(request)
        with self.hub.db.write() as tx:
            still(tx, repo)
            number = open_pull(
                tx,
                repo.id,
                title=body.title,
                description=body.description,
                author=user,
                now_s=self.hub.store.now_s(),
                head=resolve(tx, repo.id, "main") if body.pull_request else None,
            )
        return json_response({"num": number, "url": f"{request.base_url}/{repo.page}/discussions/{number}"})

    def one(self, request: Request) -> Response:
        """Describe a pull request."""
        repo = self.readable(request)
        number = request.params["number"]
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise NotFoundError("no such pull request", code="discussion_not_found")
        with self.hub.db.read() as tx:
            pull = get_pull(tx, repo.id, int(number))
        answer = _describe(repo, pull) | {"events": [], "filesWithConflicts": [], "diff": None}
        if pull.is_pull:
            answer["changes"] = {"base": "refs/heads/main"}
        return json_response(answer)

    def listing(self, request: Request) -> Response:
        """List pull requests and discussions."""
        repo = self.readable(request)
        with self.hub.db.read() as tx:
            pulls = list_pulls(tx, repo.id)
        return json_response(
            {"discussions": [_describe(repo, pull) for pull in pulls], "count": len(pulls), "start": 0}
        )


def _describe(repo: Repo, pull: Pull) -> dict[str, Any]:
    return {
        "num": pull.num,
        "title": pull.title,
        "status": "open",
        "author": {"name": pull.author},
        "isPullRequest": pull.is_pull,
        "createdAt": iso_date(pull.created_at),
        "repo": {"name": repo.full_name, "type": repo.type},
    }


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Pulls(hub, kind)
        repo = of.api + "/{namespace}/{name}"
        yield "GET|HEAD", repo + "/discussions", of.listing
        yield "POST", repo + "/discussions", of.create
        yield "GET|HEAD", repo + "/discussions/{number}", of.one
