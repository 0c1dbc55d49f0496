"""CAS routes that take content in: xorbs and shards, in all the forms that hf_xet 1.2 to 1.8 send.

Upload grants (hf_xet 1.8) are not offered; the 404 that says so makes the client post the xorb here.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable
from typing import Any, NamedTuple

import msgspec

from xetway._native import Hash
from xetway.cas.epochs import at_every_epoch
from xetway.cas.shards import MAX_SHARD_BYTES, Progress, ShardCheck, ShardChecks
from xetway.cas.signing import XetTokens
from xetway.cas.store import ContentStore
from xetway.errors import FormatError, NotFoundError, RequestError, XetwayError
from xetway.http.request import Request
from xetway.http.response import Piece, Response, StreamResponse, json_response
from xetway.http.threads import run

# 64 MiB raw, stored uncompressed, with a header for each of 8,192 chunks and a footer if one is sent.
MAX_XORB_BODY_BYTES = 67_108_864 + 8_192 * (8 + 40) + 4_096
_PREFIXES = ("default", "default-merkledb")
# A shard that is checked sooner than this gets a plain status; one that takes longer gets progress frames.
_PATIENCE_S = 5.0
_FRAME_INTERVAL_S = 2.0
# A posted shard waits on disk for its turn to be parsed; small ones never get there.
_SPOOL_IN_MEMORY_BYTES = 1024 * 1024


class XorbAnswer(msgspec.Struct, frozen=True):
    """Answer to a posted xorb."""

    was_inserted: bool


class ShardAnswer(msgspec.Struct, frozen=True):
    """Answer to a shard posted to V1: 1 if it brought anything new."""

    result: int


class ValidatingFrame(msgspec.Struct, frozen=True, tag="validating"):
    """Progress of a V2 shard, in bytes of content."""

    verified: int
    total: int


class ResultFrame(msgspec.Struct, frozen=True, tag="result"):
    """The success of a V2 shard."""


class ErrorFrame(msgspec.Struct, frozen=True, tag="error"):
    """The refusal of a V2 shard whose check took long."""

    message: str
    retryable: bool


def path_hash(request: Request, name: str) -> Hash:
    """The hash in the path; 400 `bad_hash` if it is none."""
    try:
        return Hash(request.params[name])
    except ValueError:
        raise RequestError("a hash is 64 hex digits", code="bad_hash") from None


def check_prefix(request: Request) -> None:
    """Only the prefixes that clients use exist."""
    if request.params["prefix"] not in _PREFIXES:
        raise NotFoundError("no such prefix")


class Uploads:
    """Handlers of the routes that write."""

    def __init__(self, store: ContentStore, tokens: XetTokens) -> None:
        self._store = store
        self._tokens = tokens
        self._checks = ShardChecks(store, run)

    async def post_xorb(self, request: Request) -> Response:
        """Take a xorb: parsed, hashed and compared with its name before anything is kept."""
        await run(self._tokens.check_write, request.header("authorization"))
        check_prefix(request)
        xorb = path_hash(request, "hash")
        writer = await run(self._store.xorbs.create, xorb)
        try:
            await self._receive(request, writer.write)
            chunks, raw_bytes, stored_bytes = await run(writer.finish)
            inserted = await run(self._store.publish, xorb, writer, chunks, raw_bytes, stored_bytes)
        finally:
            writer.abort()
        return json_response(XorbAnswer(inserted))

    @staticmethod
    async def _receive(request: Request, write: Any) -> None:
        """Feed the body to `write`; after a refusal the rest of it is read and dropped.

        So the client gets the reason, not a reset connection while it is still sending.
        """
        refusal: XetwayError | None = None
        async for piece in request.pieces(MAX_XORB_BODY_BYTES):
            if refusal is None:
                try:
                    await run(write, piece)
                except XetwayError as error:
                    refusal = error
        if refusal is not None:
            raise refusal

    async def post_shard(self, request: Request) -> Response:
        """Take a shard (V1): one answer when everything is checked and recorded."""
        work = await self._begin(request)
        await _wait(work.task, request)
        return json_response(ShardAnswer(1 if work.task.result() else 0))

    async def post_shard_v2(self, request: Request) -> Response | StreamResponse:
        """Take a shard (V2): NDJSON, with progress while a long check runs."""
        work = await self._begin(request)
        headers = [("content-type", "application/x-ndjson")]
        if await _wait(work.task, request, _PATIENCE_S):
            work.task.result()
            return Response(200, headers, _frame(ResultFrame()))
        return StreamResponse(200, headers, None, _frames(work))

    async def _begin(self, request: Request) -> _Work:
        grant = await run(self._tokens.check_write, request.header("authorization"))
        body = tempfile.SpooledTemporaryFile(_SPOOL_IN_MEMORY_BYTES)  # noqa: SIM115  (the check closes it)
        try:
            async for piece in request.pieces(MAX_SHARD_BYTES):
                await run(body.write, piece)
        except BaseException:
            body.close()
            raise
        check = ShardCheck(self._checks, grant.repo_id)
        return _Work(asyncio.create_task(check.register(body)), check.progress)

    def post_grant(self, _request: Request) -> Response:
        """404, exactly: hf_xet then posts the xorb itself; any other status fails its upload."""
        raise NotFoundError("upload grants are not offered; post the xorb", code="grants_not_offered")


class _Work(NamedTuple):
    """A check that is running."""

    task: asyncio.Task[int]
    progress: Progress


async def _wait(task: asyncio.Task[int], request: Request, timeout_s: float | None = None) -> bool:
    """Wait until `task` is done, at most so long; false if it is not. Cancels it if the client leaves."""
    left = request.leaving()
    try:
        await asyncio.wait({task, left}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    except BaseException:
        task.cancel()
        raise
    if left.done() and not task.done():
        task.cancel()
        raise RequestError("the client left before the shard was checked", code="client_left")
    return task.done()


def _frame(frame: msgspec.Struct) -> bytes:
    return msgspec.json.encode(frame) + b"\n"


async def _frames(work: _Work) -> AsyncIterator[Piece]:
    """Progress until the work ends, then its outcome. Closed before that (the client left), it stops the work."""
    task, progress = work
    try:
        while not task.done():
            yield [_frame(ValidatingFrame(progress.verified, progress.total))]
            await asyncio.wait({task}, timeout=_FRAME_INTERVAL_S)
    finally:
        task.cancel()
    try:
        task.result()
    except FormatError as error:
        yield [_frame(ErrorFrame(error.message, retryable=False))]
    except XetwayError:
        yield [_frame(ErrorFrame("the server could not check the shard", retryable=True))]
    else:
        yield [_frame(ResultFrame())]


async def telemetry(request: Request) -> Response:
    """Answer at once and keep nothing: a client waits up to 2 s for this at the end of each transfer."""
    with contextlib.suppress(RequestError):
        await request.read(1024 * 1024)
    return json_response({})


def routes(store: ContentStore, tokens: XetTokens) -> Iterable[tuple[str, str, Any]]:
    """The routes of hf_xet 1.8, and the unversioned ones of 1.5.1 (shards) and 1.2.0 (all)."""
    return at_every_epoch(_routes(Uploads(store, tokens)))


def _routes(uploads: Uploads) -> Iterable[tuple[str, str, Any]]:
    for version in ("/v1", ""):
        yield "POST", version + "/xorbs/{prefix}/{hash}", uploads.post_xorb
        yield "POST", version + "/shards", uploads.post_shard
    yield "POST", "/v2/shards", uploads.post_shard_v2
    yield "POST", "/v1/xorb-grants/{prefix}/{hash}", uploads.post_grant
    yield "POST", "/v1/telemetry", telemetry
