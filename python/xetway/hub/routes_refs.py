"""Routes of branches and tags."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import msgspec

from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.answers import RefInfo, is_true
from xetway.hub.commits import squash
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES
from xetway.hub.repos import still
from xetway.hub.revisions import HEADS, PULLS, TAGS, create_branch, create_tag, delete_ref, list_refs
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes

T = TypeVar("T")


class BranchBody(msgspec.Struct, rename="camel"):
    """Where a branch starts."""

    starting_point: str | None = None
    overwrite: bool = False


class TagBody(msgspec.Struct):
    """What a tag is called."""

    tag: str
    message: str | None = None


class SquashBody(msgspec.Struct):
    """The message of the one commit that is left."""

    message: str = ""


class Refs(RepoRoutes):
    """Handlers of branches and tags."""

    def refs(self, request: Request) -> Response:
        """List branches and tags, and pull requests if asked."""
        repo = self.readable(request)
        with self.hub.db.read() as tx:
            refs = list_refs(tx, repo.id)
        groups = {"branches": HEADS, "tags": TAGS, "pullRequests": PULLS}
        if not is_true(request.query_one("include_prs")):
            del groups["pullRequests"]
        answer: dict[str, list[RefInfo]] = {"converts": []}
        for group, prefix in groups.items():
            answer[group] = [
                RefInfo(ref.name.removeprefix(prefix), ref.name, ref.oid.hex())
                for ref in refs
                if ref.name.startswith(prefix)
            ]
        return json_response(answer)

    async def create_branch(self, request: Request) -> Response:
        """Create a branch."""
        return await run(self._create_branch, request, await _optional(request, BranchBody))

    def _create_branch(self, request: Request, body: BranchBody) -> Response:
        repo, _ = self.writable(request)
        with self.hub.db.write() as tx:
            still(tx, repo)
            create_branch(
                tx, repo.id, request.params["branch"], body.starting_point or "main", overwrite=body.overwrite
            )
        return json_response({})

    def delete_branch(self, request: Request) -> Response:
        """Delete a branch."""
        return self._delete(request, HEADS, "branch")

    async def create_tag(self, request: Request) -> Response:
        """Tag a revision."""
        return await run(self._create_tag, request, await request.json(TagBody, MAX_JSON_BYTES))

    def _create_tag(self, request: Request, body: TagBody) -> Response:
        repo, _ = self.writable(request)
        with self.hub.db.write() as tx:
            still(tx, repo)
            create_tag(tx, repo.id, body.tag, request.params["revision"], body.message)
        return json_response({})

    def delete_tag(self, request: Request) -> Response:
        """Delete a tag."""
        return self._delete(request, TAGS, "revision")

    def _delete(self, request: Request, prefix: str, parameter: str) -> Response:
        repo, _ = self.writable(request)
        with self.hub.db.write() as tx:
            still(tx, repo)
            delete_ref(tx, repo.id, prefix, request.params[parameter])
        return json_response({})

    async def squash(self, request: Request) -> Response:
        """Replace a branch's history by one commit."""
        return await run(self._squash, request, await _optional(request, SquashBody))

    def _squash(self, request: Request, body: SquashBody) -> Response:
        repo, user = self.writable(request)
        with self.hub.db.write() as tx:
            oid = squash(tx, repo, request.params["branch"], body.message, user=user, now_s=self.hub.store.now_s())
        return json_response({"commitOid": oid.hex()})


async def _optional(request: Request, body_type: type[T]) -> T:
    """The JSON body; its defaults if there is none."""
    if not request.has_body:
        return body_type()
    return await request.json(body_type, MAX_JSON_BYTES)


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Refs(hub, kind)
        repo = of.api + "/{namespace}/{name}"
        yield "GET|HEAD", repo + "/refs", of.refs
        yield "POST", repo + "/branch/{branch}", of.create_branch
        yield "DELETE", repo + "/branch/{branch}", of.delete_branch
        yield "POST", repo + "/tag/{revision}", of.create_tag
        yield "DELETE", repo + "/tag/{revision}", of.delete_tag
        yield "POST", repo + "/super-squash/{branch}", of.squash
