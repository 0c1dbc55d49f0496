"""Opens the content of files of the upstream.

Files in xorbs are put together from chunks; others are fetched whole and proven by the digest that their ETag is: a git
blob id (40 hex digits) or a SHA-256 (64). A file whose ETag is neither cannot be proven, so it is not cached: up to
64 MiB it is fetched afresh for each request and marked `x-xetway-proof: none`; larger ones are refused.

Where the content is not what was told of a file, that is forgotten, and the upstream asked about the file again.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from urllib.parse import quote

from xetway.errors import RequestError, UpstreamIntegrityError
from xetway.http.response import Piece, parts_of
from xetway.http.threads import run
from xetway.hub.names import is_oid, is_sha256
from xetway.mirror.callers import Caller
from xetway.mirror.finder import Found
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import segment
from xetway.mirror.ports import Algorithm, ByteStream
from xetway.mirror.refusals import Refused
from xetway.mirror.upstream import MAX_ANSWER_BYTES

Opened = tuple[AsyncIterator[Piece], list[tuple[str, str]]]
PROOF_HEADER = "x-xetway-proof"


class ContentSource:
    """Opens files that were found."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    async def open(self, caller: Caller, found: Found, start: int, end: int) -> Opened:
        """Open bytes [start, end); returns the pieces, and headers about their proof.

        Raises:
            RequestError: `unverifiable_file` (502); what the compiled part raises, before the first byte.
        """
        info, content = found.info, self._mirror.content
        digest = digest_of(info.etag)
        async with self._in_doubt(found):
            if info.xet is not None:
                credentials = self._mirror.tokens.credentials(caller, found.repo, info.commit)
                stream = await content.open_file(info.xet, found.size, start, end, credentials)
            elif digest is not None:
                url, headers = self._address(caller, found)
                stream = await content.open_plain(*digest, found.size, start, end, url, headers)
            else:
                return await self._unproven(caller, found, start, end)
        return self._pieces(stream, found), proof_of(stream)

    async def hold(self, caller: Caller, found: Found, progress: Any) -> None:
        """Hold all of a file, if it can be proven; `progress` is given bytes held and bytes in all."""
        info, content = found.info, self._mirror.content
        digest = digest_of(info.etag)
        async with self._in_doubt(found):
            if info.xet is not None:
                credentials = self._mirror.tokens.credentials(caller, found.repo, info.commit)
                await content.prefetch(info.xet, found.size, credentials, progress)
            elif digest is not None:
                url, headers = self._address(caller, found)
                await content.prefetch_plain(*digest, found.size, url, headers, progress)

    async def _pieces(self, stream: ByteStream, found: Found) -> AsyncGenerator[Piece]:
        async with self._in_doubt(found), aclosing(pieces_of(stream)) as pieces:
            async for piece in pieces:
                yield piece

    @asynccontextmanager
    async def _in_doubt(self, found: Found) -> AsyncGenerator[None]:
        """Forget what was told of a file if its content turns out to be another."""
        try:
            yield
        except UpstreamIntegrityError:
            await run(self._mirror.files.forget, found.audience, found.repo, found.view, found.info)
            raise

    def _address(self, caller: Caller, found: Found) -> tuple[str | None, list[tuple[str, str]]]:
        """Where the upstream has a file that is not in xorbs, and what to send there; no address when offline."""
        if self._mirror.upstream.offline:
            return None, []
        return self._mirror.upstream.url + _target(found), caller.headers()

    async def _unproven(self, caller: Caller, found: Found, start: int, end: int) -> Opened:
        if found.size > MAX_ANSWER_BYTES:
            raise RequestError(
                f"the upstream names no digest for {found.info.path}, so it could not be verified",
                code="unverifiable_file",
                status=502,
            )
        answer = await self._mirror.upstream.ask(caller, "GET", _target(found), follow=False)
        location = answer.headers.get("location")
        if 300 <= answer.status < 400 and location is not None:
            inside = self._mirror.upstream.below(location, answer.url)
            if inside is None:
                answer = await self._mirror.upstream.ask_elsewhere("GET", location, base=answer.url)
            else:
                answer = await self._mirror.upstream.ask(caller, "GET", inside)
        if answer.status != 200:
            raise Refused(answer)
        if len(answer.body) != found.size:
            raise RequestError(
                f"the upstream sent {len(answer.body)} bytes of {found.info.path}, which has {found.size}",
                code="bad_upstream_answer",
                status=502,
            )

        async def pieces() -> AsyncIterator[Piece]:
            yield parts_of(answer.body[start:end])

        return pieces(), [(PROOF_HEADER, "none")]


def digest_of(etag: str) -> tuple[Algorithm, bytes] | None:
    """Read what an ETag proves content by; None if it is no digest."""
    if is_oid(etag):
        return "git-sha1", bytes.fromhex(etag)
    return ("sha256", bytes.fromhex(etag)) if is_sha256(etag) else None


def proof_of(stream: ByteStream) -> list[tuple[str, str]]:
    """Say whether bytes are proven as they are sent; others are once the transfer ends well, if it is the whole."""
    return [(PROOF_HEADER, "proven" if stream.proven else "none")]


async def pieces_of(stream: ByteStream) -> AsyncGenerator[Piece]:
    """Give the pieces of a stream, and stop it when nobody wants them any more."""
    try:
        while piece := await stream.read_parts():
            yield piece
    finally:
        stream.close()


def _target(found: Found) -> str:
    return f"{found.repo.page}/{found.view}/{segment(found.info.commit)}/{quote(found.info.path)}"
