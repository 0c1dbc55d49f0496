"""Routes of the LFS protocol, for clients without xet: batch, and the signed addresses that it hands out."""

from __future__ import annotations

from collections.abc import Iterable

from xetway.errors import NotFoundError, RequestError
from xetway.http.ranges import file_response
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Response, empty, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.hub import Hub
from xetway.hub.lfs import JSON_HEADERS, Action, BatchRequest, LfsObject, answer_batch
from xetway.hub.names import PREFIXES, REPO_TYPES
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes


class LfsBatch(RepoRoutes):
    """The handler that is asked first."""

    async def batch(self, request: Request) -> Response:
        """Say where to upload or download which object."""
        return await run(self._batch, request, await request.json(BatchRequest, MAX_JSON_BYTES))

    def _batch(self, request: Request, body: BatchRequest) -> Response:
        repo = self.writable(request)[0] if body.operation == "upload" else self.readable(request)
        principal = self.hub.access.principal(request)
        answer = answer_batch(
            self.hub.store,
            self.hub.lfs_urls,
            repo.id,
            0 if principal is None else principal.id,
            body,
            base_url=request.base_url,
            xet="xet" in body.transfers,
        )
        return Response(200, JSON_HEADERS, json_response(answer).body)


class LfsObjects:
    """The handlers behind the signed addresses. The signature is all the right they ask for."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def _check(self, request: Request, action: Action) -> tuple[int, LfsObject]:
        return self._hub.lfs_urls.check(action, request.params, request.query_one)

    async def upload(self, request: Request) -> Response:
        """Take an object; it is kept if its size and SHA-256 are those signed."""
        repo_id, item = await run(self._check, request, "upload")
        announced = request.content_length
        if announced is not None and announced != item.size:
            raise _wrong_size(announced, item.size)
        writer = self._hub.store.writer()
        received = 0
        try:
            async for piece in request.pieces(item.size):
                await run(writer.write, piece)
                received += len(piece)
            if received != item.size:
                raise _wrong_size(received, item.size)
            await run(writer.finish, repo_id, bytes.fromhex(item.oid))
        finally:
            writer.abort()
        return empty(200, [("etag", f'"{item.oid}"')])

    def verify(self, request: Request) -> Response:
        """Say whether an object arrived."""
        repo_id, item = self._check(request, "verify")
        file = self._hub.store.file_by_sha256(repo_id, bytes.fromhex(item.oid))
        if file is None or file.size != item.size:
            raise NotFoundError("the object was not uploaded", code="lfs_object_missing")
        return Response(200, JSON_HEADERS, b"{}")

    def download(self, request: Request) -> AnyResponse:
        """Give an object."""
        repo_id, item = self._check(request, "download")
        file = self._hub.store.file_by_sha256(repo_id, bytes.fromhex(item.oid))
        if file is None:
            raise NotFoundError("the repository has no such object", code="lfs_object_missing")
        return file_response(
            request,
            size=file.size,
            etag=item.oid,
            headers=[("content-type", "application/octet-stream")],
            open_range=lambda start, end: self._hub.store.open(file, start, end),
        )


def _wrong_size(actual: int, expected: int) -> RequestError:
    return RequestError(f"the object has {actual} bytes, {expected} were announced", code="lfs_size_mismatch")


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    objects = LfsObjects(hub)
    for kind in REPO_TYPES:
        of = LfsBatch(hub, kind)
        yield "POST", f"/{PREFIXES[kind]}{{namespace}}/{{name}}.git/info/lfs/objects/batch", of.batch
        yield "POST", f"/{PREFIXES[kind]}{{namespace}}/{{name}}/info/lfs/objects/batch", of.batch
    yield "PUT", "/lfs-objects/upload/{repo}/{oid}", objects.upload
    yield "POST", "/lfs-objects/verify/{repo}/{oid}", objects.verify
    yield "GET|HEAD", "/lfs-objects/download/{repo}/{oid}", objects.download
