"""Routes of repositories as a whole: info, list, create, move, delete, settings, and who may."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from xetway.errors import ConflictError, RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.answers import is_true, iso_date, next_link, repo_info, sibling
from xetway.hub.history import get_commit
from xetway.hub.hub import Hub
from xetway.hub.names import PREFIXES, REPO_TYPES, RepoType
from xetway.hub.objects import get_blobs
from xetway.hub.repos import (
    create_repo,
    delete_repo,
    find_repo,
    list_repos,
    move_repo,
    repo_not_found,
    set_private,
    used_bytes,
)
from xetway.hub.revisions import MAIN, get_ref, resolve
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes, already_there, is_private
from xetway.hub.trees import walk

MAX_LIST = 1_000


class CreateBody(msgspec.Struct):
    """What to create. Old clients say `private`, new ones `visibility`."""

    name: str
    organization: str | None = None
    type: RepoType | None = None
    private: bool | None = None
    visibility: str | None = None
    sdk: str | None = None


class DeleteBody(msgspec.Struct):
    """What to delete."""

    name: str
    organization: str | None = None
    type: RepoType | None = None


class MoveBody(msgspec.Struct, rename="camel"):
    """What to move where."""

    from_repo: str
    to_repo: str
    type: RepoType | None = None


class SettingsBody(msgspec.Struct):
    """What to change; other settings that clients know are ignored."""

    private: bool | None = None
    visibility: str | None = None


class Repos:
    """Handlers that name the repository in the body."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def create(self, request: Request) -> Response:
        """Create a repository; 409 with its address if it is there."""
        return await run(self._create, request, await request.json(CreateBody, MAX_JSON_BYTES))

    def _create(self, request: Request, body: CreateBody) -> Response:
        kind = body.type or "model"
        namespace, name = self._split(request, body.organization, body.name)
        private = bool(is_private(body.private, body.visibility))
        with self._hub.db.read() as tx:
            present = find_repo(tx, kind, namespace, name)
        user = self._hub.access.writer(
            request, kind, namespace, name, private=private or (present is not None and present.private)
        )
        url = f"{request.base_url}/{PREFIXES[kind]}{namespace}/{name}"
        try:
            with self._hub.db.write() as tx:
                repo = create_repo(
                    tx, kind, namespace, name, user=user, private=private, sdk=body.sdk, now_s=self._hub.store.now_s()
                )
        except ConflictError as error:
            return already_there(error, url)
        self._hub.note_name(kind, repo.full_name)
        return json_response({"url": url, "name": repo.full_name, "id": f"{repo.id:024x}"})

    async def delete(self, request: Request) -> Response:
        """Delete a repository."""
        return await run(self._delete, request, await request.json(DeleteBody, MAX_JSON_BYTES))

    def _delete(self, request: Request, body: DeleteBody) -> Response:
        namespace, name = self._split(request, body.organization, body.name)
        repo, _ = self._hub.access.writable(request, body.type or "model", namespace, name)
        with self._hub.db.write() as tx:
            delete_repo(tx, repo)
        return json_response({"success": True})

    async def move(self, request: Request) -> Response:
        """Rename a repository, or move it to another namespace."""
        return await run(self._move, request, await request.json(MoveBody, MAX_JSON_BYTES))

    def _move(self, request: Request, body: MoveBody) -> Response:
        kind = body.type or "model"
        old_namespace, _, old_name = body.from_repo.partition("/")
        repo, _ = self._hub.access.writable(request, kind, old_namespace, old_name)
        namespace, _, name = body.to_repo.partition("/")
        self._hub.access.writer(request, kind, namespace, name, private=repo.private)
        with self._hub.db.write() as tx:
            moved = move_repo(tx, repo, namespace, name)
        self._hub.note_name(kind, moved.full_name)
        return json_response({"success": True, "url": f"{request.base_url}/{moved.page}"})

    def _split(self, request: Request, organization: str | None, name: str) -> tuple[str, str]:
        if organization is None and "/" in name:
            organization, _, name = name.partition("/")
        return organization or self._hub.access.default_namespace(request), name


class RepoInfo(RepoRoutes):
    """Handlers that name the repository in the path."""

    def info(self, request: Request) -> Response:
        """Describe a repository at a revision, with the names of its files."""
        repo = self.readable(request)
        value = repo_info(repo)
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, request.params.get("revision", "main")))
            value |= {"sha": commit.oid.hex(), "lastModified": iso_date(commit.date)}
            expand = {name for part in ("expand", "expand[]") for name in request.query.get(part, ())}
            if not expand or "siblings" in expand:
                files = [(path, entry.oid) for path, entry in walk(tx, commit.tree) if not entry.is_folder]
                blobs = get_blobs(tx, (oid for _, oid in files)) if is_true(request.query_one("blobs")) else {}
                value["siblings"] = [sibling(path, blobs.get(oid)) for path, oid in files]
            if "usedStorage" in expand:
                value["usedStorage"] = used_bytes(tx, repo.id)
        if expand:
            value = {name: item for name, item in value.items() if name in expand or name in {"_id", "id", "sha"}}
        return json_response(value)

    def listing(self, request: Request) -> Response:
        """List the repositories that the request may see, newest first."""
        principal = self.hub.access.principal(request)
        limit, before = _number(request, "limit", MAX_LIST), _number(request, "cursor", None)
        limit = max(1, min(limit or MAX_LIST, MAX_LIST))
        search, author = request.query_one("search"), request.query_one("author")
        shown: list[dict[str, Any]] = []
        with self.hub.db.read() as tx:
            more = True
            while more and len(shown) < limit:
                page = list_repos(tx, self.kind, search=search, author=author, before=before, limit=limit)
                more = len(page) == limit
                for repo in page:
                    before = repo.id
                    if self.hub.access.may_read(principal, repo):
                        head = get_ref(tx, repo.id, MAIN)
                        shown.append(repo_info(repo) | {"sha": None if head is None else head.hex()})
                    if len(shown) == limit:
                        more = True
                        break
        return json_response(shown, headers=[next_link(request, cursor=str(before))] if more and shown else ())

    async def settings(self, request: Request) -> Response:
        """Hide or show a repository."""
        return await run(self._settings, request, await request.json(SettingsBody, MAX_JSON_BYTES))

    def _settings(self, request: Request, body: SettingsBody) -> Response:
        repo, _ = self.writable(request)
        private = is_private(body.private, body.visibility)
        if private is not None:
            self.hub.access.writer(request, self.kind, repo.namespace, repo.name, private=private)
            with self.hub.db.write() as tx:
                set_private(tx, repo, private=private)
        return json_response({"private": repo.private if private is None else private})

    def auth_check(self, request: Request) -> Response:
        """Say whether the request may read the repository."""
        self.readable(request)
        return json_response({})

    def auth_check_write(self, request: Request) -> Response:
        """Say whether the request may write the repository."""
        self.writable(request)
        return json_response({})

    def single(self, _request: Request) -> Response:
        """Answer for a repository name without a namespace."""
        raise repo_not_found()


def _number(request: Request, name: str, default: int | None) -> int | None:
    text = request.query_one(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise RequestError(f"the query field '{name}' is not a number", code="bad_query")
    return int(text)


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    repos = Repos(hub)
    yield "POST", "/api/repos/create", repos.create
    yield "DELETE", "/api/repos/delete", repos.delete
    yield "POST", "/api/repos/move", repos.move
    for kind in REPO_TYPES:
        of = RepoInfo(hub, kind)
        repo = of.api + "/{namespace}/{name}"
        yield "GET|HEAD", of.api, of.listing
        yield "GET|HEAD", of.api + "/{name}", of.single
        yield "GET|HEAD", of.api + "/{name}/revision/{revision}", of.single
        yield "GET|HEAD", of.api + "/{name}/tree/{revision}", of.single
        yield "GET|HEAD", of.api + "/{name}/refs", of.single
        yield "GET|HEAD", repo, of.info
        yield "GET|HEAD", repo + "/revision/{revision}", of.info
        yield "PUT", repo + "/settings", of.settings
        yield "GET", repo + "/auth-check", of.auth_check
        yield "GET", repo + "/auth-check/read", of.auth_check
        yield "GET", repo + "/auth-check/write", of.auth_check_write
