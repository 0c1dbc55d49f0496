"""Routes of an upload on the Hub's side: how to upload each file, tokens for the content store, and the commit."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from xetway.cas.epochs import cas_path
from xetway.cas.signing import Scope
from xetway.errors import RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.access import ANONYMOUS
from xetway.hub.answers import is_true
from xetway.hub.commits import apply_commit
from xetway.hub.history import get_commit
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES
from xetway.hub.payload import MAX_BODY_BYTES, Payload
from xetway.hub.preupload import FileToUpload, plan_uploads
from xetway.hub.repos import Repo, repo_not_found
from xetway.hub.revisions import resolve
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes

MAX_PREUPLOAD_FILES = 1_000


class PreuploadBody(msgspec.Struct, rename="camel"):
    """The files that a client is about to upload, and the .gitignore among them."""

    files: list[FileToUpload]
    git_ignore: str | None = None


class XetConnection(msgspec.Struct, frozen=True, rename="camel"):
    """Where the content store is and the token that opens it until `exp` (unix seconds)."""

    cas_url: str
    access_token: str
    exp: int


class Commits(RepoRoutes):
    """Handlers of uploads."""

    async def preupload(self, request: Request) -> Response:
        """Say for each file whether it goes inline or through the content store, and what is there now."""
        return await run(self._preupload, request, await request.json(PreuploadBody, MAX_JSON_BYTES))

    def _preupload(self, request: Request, body: PreuploadBody) -> Response:
        if len(body.files) > MAX_PREUPLOAD_FILES:
            raise RequestError(f"at most {MAX_PREUPLOAD_FILES} files can be asked for at once", code="too_many_files")
        repo, _ = self.writable(request)
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, request.params["revision"]))
            return json_response({"files": plan_uploads(tx, commit.tree, body.files, body.git_ignore)})

    def read_token(self, request: Request) -> Response:
        """Give a token that reads the repository's content."""
        repo = self.readable(request)
        principal = self.hub.access.principal(request)
        with self.hub.db.read() as tx:
            resolve(tx, repo.id, request.params["revision"])
        return self._xet_token(request, repo, "read", ANONYMOUS if principal is None else principal.user)

    def write_token(self, request: Request) -> Response:
        """Give a token that stores content for the repository; clients name any revision, or ``None``."""
        repo, user = self.writable(request)
        return self._xet_token(request, repo, "write", user)

    def _xet_token(self, request: Request, repo: Repo, scope: Scope, user: str) -> Response:
        principal = self.hub.access.principal(request)
        token_id = 0 if principal is None else principal.id
        token, exp = self.hub.xet_tokens.issue(repo.id, scope, user, token_id)
        cas_url = request.base_url + cas_path(self.hub.db)
        # Clients in Python read the headers only, hf_xet reads the body only.
        headers = [
            ("x-xet-cas-url", cas_url),
            ("x-xet-access-token", token),
            ("x-xet-token-expiration", str(exp)),
            ("cache-control", "no-store"),
        ]
        return json_response(XetConnection(cas_url, token, exp), headers=headers)

    async def commit(self, request: Request) -> Response:
        """Apply a commit."""
        repo, _ = await run(self.writable, request)
        with await run(Payload, self.hub.store, repo.id) as payload:
            async for piece in request.pieces(MAX_BODY_BYTES):
                await run(payload.feed, piece)
            await run(payload.finish)
            return await run(self._commit, request, repo, payload)

    def _commit(self, request: Request, begun: Repo, payload: Payload) -> Response:
        # Asked again: the body may have taken hours, and its contents are those of the repository it began with.
        repo, user = self.writable(request)
        if repo.id != begun.id:
            raise repo_not_found()
        create_pull = is_true(request.query_one("create_pr"))
        result = apply_commit(
            self.hub.store, repo, request.params["revision"], payload, user=user, create_pull=create_pull
        )
        page = f"{request.base_url}/{repo.page}"
        answer = {"success": True, "commitUrl": f"{page}/commit/{result.oid.hex()}", "commitOid": result.oid.hex()}
        if result.pull is not None:
            answer["pullRequestUrl"] = f"{page}/discussions/{result.pull}"
        return json_response(answer)


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Commits(hub, kind)
        repo = of.api + "/{namespace}/{name}"
        yield "POST", repo + "/preupload/{revision}", of.preupload
        yield "GET", repo + "/xet-read-token/{revision}", of.read_token
        yield "GET", repo + "/xet-write-token/{revision}", of.write_token
        yield "POST", repo + "/commit/{revision}", of.commit
