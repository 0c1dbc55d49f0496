"""Routes that copy on the server: LFS files into another repository, and whole repositories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from xetway.errors import ConflictError, RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.hub import Hub
from xetway.hub.names import PREFIXES, REPO_TYPES, RepoType, is_sha256
from xetway.hub.repos import duplicate_repo
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes, already_there, is_private

MAX_COPIES = 1_000


class DuplicateBody(msgspec.Struct):
    """What the copy of a repository is called, and whether it is hidden; as the original if neither says."""

    repository: str
    visibility: str | None = None
    private: bool | None = None


class CopyTarget(msgspec.Struct):
    """The repository to copy to."""

    name: str
    type: RepoType = "model"


class CopiedFile(msgspec.Struct):
    """An LFS file to copy."""

    sha256: str


class CopyBody(msgspec.Struct):
    """Which LFS files another repository should be able to commit."""

    target: CopyTarget
    files: list[CopiedFile]


class Copies(RepoRoutes):
    """Handlers of copies."""

    async def duplicate(self, request: Request) -> Response:
        """Let another repository use LFS files of this one, so that it can commit them."""
        return await run(self._duplicate, request, await request.json(CopyBody, MAX_JSON_BYTES))

    def _duplicate(self, request: Request, body: CopyBody) -> Response:
        if len(body.files) > MAX_COPIES:
            raise RequestError(f"at most {MAX_COPIES} files can be copied at once", code="too_many_files")
        source = self.readable(request)
        namespace, _, name = body.target.name.partition("/")
        target, _ = self.hub.access.writable(request, body.target.type, namespace, name)
        store = self.hub.store
        files, failed = [], list[dict[str, Any]]()
        for item in body.files:
            found = store.file_by_sha256(source.id, bytes.fromhex(item.sha256)) if is_sha256(item.sha256) else None
            if found is None:
                failed.append({"sha256": item.sha256, "error": "the source repository has no such file"})
            else:
                files.append(found)
        store.add_files(target.id, files)
        return json_response({"failed": failed})

    async def repository(self, request: Request) -> Response:
        """Copy a repository with its history."""
        return await run(self._repository, request, await request.json(DuplicateBody, MAX_JSON_BYTES))

    def _repository(self, request: Request, body: DuplicateBody) -> Response:
        source = self.readable(request)
        namespace, _, name = body.repository.partition("/")
        asked = is_private(body.private, body.visibility)
        private = source.private if asked is None else asked
        user = self.hub.access.writer(request, self.kind, namespace, name, private=private)
        url = f"{request.base_url}/{PREFIXES[self.kind]}{namespace}/{name}"
        try:
            with self.hub.db.write() as tx:
                duplicate_repo(tx, source, namespace, name, user=user, private=private, now_s=self.hub.store.now_s())
        except ConflictError as error:
            if error.code != "repo_exists":
                raise
            return already_there(error, url)
        self.hub.note_name(self.kind, f"{namespace}/{name}")
        return json_response({"url": url, "filesCopyPending": False})


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Copies(hub, kind)
        yield "POST", of.api + "/{namespace}/{name}/lfs-files/duplicate", of.duplicate
        yield "POST", of.api + "/{namespace}/{name}/duplicate", of.repository
