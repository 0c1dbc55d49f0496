"""The content store of upstream repositories: tokens, reconstructions, and bytes of xorbs, all under our addresses.

A reconstruction is given to those who hold a token of ours for a repository (`tokens`) in which the upstream showed
them the file; for other files the upstream's content store decides, with the token that is sealed in ours.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Iterable

from xetway._native import Hash
from xetway.cas.epochs import at_every_epoch
from xetway.cas.uploads import path_hash
from xetway.errors import ForbiddenError, NotFoundError, RequestError, UpstreamIntegrityError, XetwayError
from xetway.http.ranges import parse_range
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Piece, Response, StreamResponse, empty, json_response
from xetway.http.router import Handler, Route
from xetway.http.threads import run
from xetway.hub.names import PLURALS, REPO_TYPES, RepoType
from xetway.mirror.callers import PUBLIC, Caller, own_token
from xetway.mirror.content_source import pieces_of, proof_of
from xetway.mirror.flights import Flights
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import RepoKey, repo_of
from xetway.mirror.ports import ByteStream
from xetway.mirror.precedence import AsyncHandler, called, guarded
from xetway.mirror.refusals import Refused
from xetway.mirror.tokens import Sealed, UpstreamToken, is_ours
from xetway.mirror.upstream import TROUBLE
from xetway.xet.plan import Plan, Url, read_plan

_OPEN_RANGE = re.compile(r"bytes=([0-9]{1,18})-([0-9]{0,18})")
_SESSION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOTHING = Plan(0, (), ())


class MirrorCas:
    """Handlers of the content store."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._flights: Flights[None] = Flights()

    def read_token(self, kind: RepoType) -> AsyncHandler:
        """The handler that gives a token for a repository of one type."""

        async def handler(request: Request) -> Response:
            repo, revision = repo_of(request, kind), request.params["revision"]
            return await self._read_token(request, repo, revision)

        return handler

    async def _read_token(self, request: Request, repo: RepoKey, revision: str) -> Response:
        mirror = self._mirror
        caller = mirror.callers.of(request)
        audience = await mirror.visibility.audience(repo, caller)
        word = "miss"
        try:
            token: UpstreamToken | None = await mirror.tokens.upstream_token(caller, repo, revision)
        except (Refused, ConnectionError, TimeoutError, RequestError) as error:
            if not await self._may_do_without(error, audience, repo):
                await self._note_refusal(error, caller, repo)
                raise
            token, word = mirror.tokens.kept_token(caller, repo, revision), "stale"
        if token is not None:
            value, exp = await run(mirror.tokens.issue, repo, audience, token)
        else:
            value, exp = await run(mirror.tokens.issue_for_later, repo, audience, revision, own_token(request))
        address = request.base_url
        headers = [
            ("x-xet-cas-url", address),
            ("x-xet-access-token", value),
            ("x-xet-token-expiration", str(exp)),
            ("cache-control", "no-store"),
            ("x-xetway-cache", word),
        ]
        return json_response({"casUrl": address, "exp": exp, "accessToken": value}, headers=headers)

    async def _note_refusal(self, error: Exception, caller: Caller, repo: RepoKey) -> None:
        """End what a caller was given, where the upstream no longer lets it read the repository."""
        if isinstance(error, Refused) and error.loses_access(is_description=False):
            await self._mirror.visibility.refused(repo, caller, error.answer.status)
            await run(self._mirror.storage.forget, caller.audience, repo)

    async def _may_do_without(self, error: Exception, audience: str, repo: RepoKey) -> bool:
        """Whether the upstream's absence leaves a caller with what it was shown before."""
        if isinstance(error, Refused) and error.answer.status not in TROUBLE:
            return False
        if isinstance(error, RequestError) and error.code != "not_cached":
            return False
        offline = self._mirror.upstream.offline
        since = 0 if offline else self._mirror.storage.now_s() - self._mirror.settings.max_stale_s
        return await run(self._mirror.files.knows, audience, repo, since)

    async def reconstruction_v1(self, request: Request) -> Response:
        """Terms of a file or of a byte range of it, with one signed address per xorb range."""
        file = path_hash(request, "hash")
        plan, generation = await self._plan(request, file)
        return json_response(plan.v1(self._addresses(request, file, generation)))

    async def reconstruction_v2(self, request: Request) -> Response:
        """The same in the form that hf_xet asks for first."""
        file = path_hash(request, "hash")
        plan, generation = await self._plan(request, file)
        return json_response(plan.v2(self._addresses(request, file, generation)))

    def _addresses(self, request: Request, file: Hash, generation: int) -> Url:
        base_url, signer = request.base_url, self._mirror.signer

        def address(xorb: Hash, start: int, end: int) -> str:
            query = signer.query(_signed(file, xorb, generation), ((start, end),))
            return f"{base_url}/mirror-data/{file}/{xorb}?g={generation}&{query}"

        return address

    async def _plan(self, request: Request, file: Hash) -> tuple[Plan, int]:
        mirror = self._mirror
        sealed = mirror.tokens.open(request.header("authorization"))
        if file == Hash.ZERO:
            return _NOTHING, 0
        caller = mirror.callers.again(sealed.hub_token)
        sizes = await run(mirror.files.sizes, sealed.audience, sealed.repo, file)
        if len(sizes) > 1:
            raise await self._told_wrongly(sealed, file, f"the upstream told {len(sizes)} lengths of file {file}")
        if not sizes and not await run(mirror.files.is_granted, sealed.audience, sealed.repo, file):
            key = (sealed.repo, sealed.token, sealed.revision, caller.audience, file)
            await self._flights.run(key, lambda: self._ask_for(sealed, caller, file))
        start, end = await self._wanted(request.header("range"), file)
        credentials = mirror.tokens.credentials_in(sealed, caller)
        try:
            planned = await mirror.content.plan(file, next(iter(sizes), None), start, end, credentials)
        except UpstreamIntegrityError as error:
            raise await self._told_wrongly(sealed, file, error.message) from error
        except XetwayError as error:
            raise self._final(error) from error
        if planned is None:
            known = await run(mirror.content.known, file)
            size = "*" if known is None else str(known[0])
            raise RequestError(
                "the range starts past the end of the file",
                code="range_not_satisfiable",
                status=416,
                headers=(("content-range", f"bytes */{size}"),),
            )
        _, generation, offset, terms, fetches = planned
        return read_plan((offset, terms, fetches)), generation

    async def _told_wrongly(self, sealed: Sealed, file: Hash, problem: str) -> RequestError:
        """Forget what was told of a file that has another length; returns what ends the transfer.

        It must not be repeated: the client would go by the length that it was told, and cut the file off.
        """
        await run(self._mirror.files.forget_content, sealed.audience, sealed.repo, file)
        return RequestError(problem, code=UpstreamIntegrityError.code)

    async def _ask_for(self, sealed: Sealed, caller: Caller, file: Hash) -> None:
        """Let the upstream's content store decide about a file that it was not seen to show."""
        mirror = self._mirror
        if mirror.upstream.offline:
            raise NotFoundError(
                f"not cached: file {file} of {sealed.repo.text}, and the upstream is not to be asked", code="not_cached"
            )
        cas_url, token = sealed.cas_url, sealed.token
        if not token:
            found = await self._token_now(caller, sealed)
            cas_url, token = found.cas_url, found.token
        headers = (("authorization", f"Bearer {token}"), ("range", "bytes=0-0"))
        for version in ("v2", "v1"):
            url = f"{cas_url}/{version}/reconstructions/{file}"
            answer = await mirror.upstream.ask_elsewhere("GET", url, headers)
            if answer.status in {200, 206, 416}:
                await self._note_grant(sealed, caller, file)
                return
            if answer.status not in {404, 501} or version == "v1":
                raise Refused(answer)

    async def _note_grant(self, sealed: Sealed, caller: Caller, file: Hash) -> None:
        """Remember that the upstream gave a file, unless that would be for everybody and is for its bearer alone."""
        is_public = sealed.audience == PUBLIC
        if not is_public or await self._mirror.visibility.audience_of_news(sealed.repo, caller) == PUBLIC:
            await run(self._mirror.files.grant, sealed.audience, sealed.repo, file)

    async def _token_now(self, caller: Caller, sealed: Sealed) -> UpstreamToken:
        """The upstream's token for the bearer of one of ours that was given out while it gave none."""
        try:
            return await self._mirror.tokens.upstream_token(caller, sealed.repo, sealed.revision)
        except Refused as refused:
            await self._note_refusal(refused, caller, sealed.repo)
            raise

    def _final(self, error: XetwayError) -> XetwayError:
        """Say what no repetition cures so that a client gives up: it repeats a 5xx for minutes."""
        if error.code == "storage_full":
            return RequestError(error.message, code=error.code, status=413)
        is_final = error.code == "not_cached" and self._mirror.upstream.offline
        return NotFoundError(error.message, code=error.code) if is_final else error

    async def _wanted(self, header: str | None, file: Hash) -> tuple[int, int | None]:
        """The byte range asked for; its end may lie past that of the file."""
        if header is None:
            return 0, None
        match = _OPEN_RANGE.fullmatch(header.strip())
        if match is not None:
            start, end = int(match[1]), int(match[2]) + 1 if match[2] else None
            if end is None or end > start:
                return start, end
        known = await run(self._mirror.content.known, file)
        wanted = parse_range(header, known[0]) if known is not None else None
        if wanted is None:
            raise RequestError("the Range header is malformed", code="bad_range")
        return wanted

    async def xorb_data(self, request: Request) -> AnyResponse:
        """Bytes of a xorb through a signed address: the range that was signed, or a part of it."""
        file, xorb = path_hash(request, "file"), path_hash(request, "xorb")
        generation = request.query_one("g") or ""
        if not (generation.isascii() and generation.isdigit() and len(generation) < 20):
            raise ForbiddenError("this address is not signed", code="bad_signature")
        (allowed,) = self._mirror.signer.check(
            _signed(file, xorb, int(generation)),
            request.query_one("b"),
            request.query_one("e"),
            request.query_one("s"),
        )
        start, end = _inside(request, allowed)
        headers = [
            ("content-type", "application/octet-stream"),
            ("accept-ranges", "bytes"),
            ("cache-control", "private, no-store"),
            # How long the xorb is, only the upstream knows.
            ("content-range", f"bytes {start}-{end - 1}/*"),
        ]
        if request.method == "HEAD":
            return empty(206, [*headers, ("content-length", str(end - start))])
        session = request.header("x-xet-session-id") or ""
        viewer = session if _SESSION.fullmatch(session) else None
        try:
            stream = await self._mirror.content.open_xorb(file, int(generation), xorb, start, end, viewer)
        except XetwayError as error:
            raise self._final(error) from error
        return StreamResponse(206, [*headers, *proof_of(stream)], end - start, self._pieces(stream))

    async def _pieces(self, stream: ByteStream) -> AsyncIterator[Piece]:
        async with contextlib.aclosing(pieces_of(stream)) as pieces:
            try:
                async for piece in pieces:
                    yield piece
            except XetwayError as error:
                raise self._final(error) from error


def _signed(file: Hash, xorb: Hash, generation: int) -> str:
    return f"mirror {file} {xorb} {generation}"


def _inside(request: Request, allowed: tuple[int, int]) -> tuple[int, int]:
    """The part of the signed range that is asked for."""
    header = request.header("range")
    if header is None and request.method == "HEAD":
        return allowed
    wanted = None if header is None else parse_range(header, allowed[1])
    if wanted is None or not allowed[0] <= wanted[0] < wanted[1] <= allowed[1]:
        raise ForbiddenError("this address is signed for another byte range", code="range_not_signed")
    return wanted


def by_token(hosted: Handler, mirrored: Handler) -> AsyncHandler:
    """Answer with the content store that the request's token is for."""
    other = guarded(mirrored)

    async def answer(request: Request) -> AnyResponse:
        if is_ours(request.header("authorization")):
            return await other(request)
        return await called(hosted, request)

    return answer


def token_routes(mirror: Mirror) -> Iterable[Route]:
    """The routes of tokens, which stand behind those of hosted repositories."""
    cas = MirrorCas(mirror)
    for kind in REPO_TYPES:
        handler = cas.read_token(kind)
        for repo in ("{namespace}/{name}", "{name}"):
            yield "GET", f"/api/{PLURALS[kind]}/{repo}/xet-read-token/{{revision}}", handler


def content_routes(mirror: Mirror, hosted: Iterable[Route]) -> Iterable[Route]:
    """The routes of the content store: ours and the upstream's, told apart by the token."""
    cas = MirrorCas(mirror)
    mirrored: dict[tuple[str, str], Handler] = {}
    ours = [
        ("GET", "/v2/reconstructions/{hash}", cas.reconstruction_v2),
        ("GET", "/v1/reconstructions/{hash}", cas.reconstruction_v1),
        ("GET", "/reconstructions/{hash}", cas.reconstruction_v1),
    ]
    for method, pattern, handler in at_every_epoch(ours):
        mirrored[method, pattern] = handler
    for methods, pattern, handler in hosted:
        other = mirrored.get((methods, pattern))
        yield methods, pattern, handler if other is None else by_token(handler, other)
    yield "GET|HEAD", "/mirror-data/{file}/{xorb}", guarded(cas.xorb_data)
