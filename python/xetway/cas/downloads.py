"""CAS routes that give content out: reconstructions, xorb bytes, and deduplication queries."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Iterable
from typing import Any

from xetway._native import ByteReader
from xetway.cas.epochs import at_every_epoch
from xetway.cas.shards import neighbours
from xetway.cas.signing import UrlSigner, XetTokens, installation_key
from xetway.cas.store import ContentStore, term_xorbs
from xetway.cas.uploads import check_prefix, path_hash
from xetway.errors import ForbiddenError, NotFoundError, RequestError
from xetway.http.multipart import multipart_response, parse_ranges
from xetway.http.ranges import file_response, parse_range
from xetway.http.request import Request
from xetway.http.response import Response, StreamResponse, empty, json_response
from xetway.xet.plan import Plan, SharedUrl, read_plan

# Clients keep a deduplication answer for weeks; the key changes weekly so that within a week the same
# question gets the same bytes, which clients store once.
_DEDUP_PERIOD_S = 7 * 24 * 3600
_DEDUP_LIFE_S = 3 * _DEDUP_PERIOD_S
# Few enough for any server's longest request line, many enough that requests hardly count.
_RANGES_PER_URL = 32


class Downloads:
    """Handlers of the routes that read."""

    def __init__(self, store: ContentStore, tokens: XetTokens, signer: UrlSigner) -> None:
        self._store = store
        self._tokens = tokens
        self._signer = signer
        self._dedup_secret = installation_key(store.db, "dedup")

    def reconstruction_v1(self, request: Request) -> Response:
        """Terms of a file or of a byte range of it, with one signed address per xorb range."""
        address = self._addresses(request)
        return json_response(self._plan(request).v1(lambda xorb, start, end: address(xorb, ((start, end),))))

    def reconstruction_v2(self, request: Request) -> Response:
        """The same in the form that hf_xet asks for first: ranges of a xorb share addresses."""
        return json_response(self._plan(request).v2_shared(self._addresses(request), _RANGES_PER_URL))

    def _addresses(self, request: Request) -> SharedUrl:
        base_url = request.base_url
        return lambda xorb, spans: f"{base_url}/xorb-data/{xorb}?{self._signer.query(str(xorb), spans)}"

    def _plan(self, request: Request) -> Plan:
        grant = self._tokens.check(request.header("authorization"))
        file = self._store.repo_file(grant.repo_id, path_hash(request, "hash"))
        if file is None:
            raise NotFoundError("no such file in the repository that the xet token is for", code="file_not_found")
        self._check_sound(term_xorbs(file.terms))
        start, end = self._wanted(request.header("range"), file.size)
        return read_plan(self._store.xorbs.plan(file.terms, start, end))

    def _check_sound(self, xorbs: Iterable[bytes]) -> None:
        """Refuse what is known to be damaged in a way that clients do not try again, for minutes."""
        damaged = self._store.damaged(xorbs)
        if damaged is not None:
            raise RequestError(
                f"xorb {damaged} is damaged on this server; uploading its files again repairs it",
                code="stored_data_corrupt",
                status=410,
            )

    @staticmethod
    def _wanted(header: str | None, size: int) -> tuple[int, int]:
        """The byte range asked for, cut to the file; 416 if it starts past the end."""
        if header is None or size == 0:
            return 0, size
        wanted = parse_range(header, size)
        if wanted is None:
            raise RequestError("the Range header is malformed", code="bad_range")
        if wanted[0] >= wanted[1]:
            raise RequestError(
                "the range starts past the end of the file",
                code="range_not_satisfiable",
                status=416,
                headers=(("content-range", f"bytes */{size}"),),
            )
        return wanted

    def xorb_data(self, request: Request) -> Response | StreamResponse:
        """Bytes of a xorb through a signed address; only inside the ranges that were signed."""
        xorb = path_hash(request, "hash")
        allowed = self._signer.check(str(xorb), request.query_one("b"), request.query_one("e"), request.query_one("s"))
        if self._store.stored_bytes(xorb) is None:
            raise NotFoundError("no such xorb", code="xorb_not_found")
        self._check_sound((bytes(xorb),))

        def check_signed(start: int, end: int) -> None:
            if not any(first <= start <= end <= last for first, last in allowed):
                raise ForbiddenError("this address is signed for other byte ranges", code="range_not_signed")

        def open_range(start: int, end: int) -> ByteReader:
            # Here and not before: the answer to a Range header may be the whole (RFC 9110, section 13.1.5).
            check_signed(start, end)
            return self._store.xorbs.open_xorb(xorb, start, end)

        size, etag = self._store.xorb_bytes(xorb), str(xorb)
        headers = [("cache-control", "private, max-age=3600, immutable")]
        is_plain = request.method == "GET" and not {"if-range", "if-none-match"} & request.headers.keys()
        several = parse_ranges(request.header("range"), size) if is_plain else None
        if several:
            for start, end in several:
                check_signed(start, end)
            return multipart_response(several, size=size, etag=etag, headers=headers, open_range=open_range)
        headers.append(("content-type", "application/octet-stream"))
        return file_response(request, size=size, etag=etag, headers=headers, open_range=open_range)

    def chunk_query(self, request: Request) -> Response:
        """Global deduplication: a keyed shard with the xorbs around a chunk, or 404 for a chunk not known."""
        grant = self._tokens.check_write(request.header("authorization"))
        check_prefix(request)
        xorbs = neighbours(self._store, grant.repo_id, path_hash(request, "hash"))
        if not xorbs:
            raise NotFoundError("no such chunk", code="chunk_not_found")
        try:
            self._store.touch(xorbs)
        except sqlite3.OperationalError:
            # Someone writes for long, perhaps gc: what cannot be kept is not offered, which is only a miss.
            raise NotFoundError("no such chunk", code="chunk_not_found") from None
        period = self._store.now_s() // _DEDUP_PERIOD_S
        key = hmac.new(self._dedup_secret, str(period).encode(), hashlib.sha256).digest()
        created = period * _DEDUP_PERIOD_S
        shard = self._store.xorbs.dedup_shard(xorbs, key, created, created + _DEDUP_LIFE_S)
        return Response(200, [("content-type", "application/octet-stream")], shard)

    def xorb_head(self, request: Request) -> Response:
        """Whether a xorb is stored, and its length."""
        self._tokens.check(request.header("authorization"))
        check_prefix(request)
        size = self._store.stored_bytes(path_hash(request, "hash"))
        if size is None:
            raise NotFoundError("no such xorb", code="xorb_not_found")
        return empty(200, [("content-length", str(size))])


def routes(store: ContentStore, tokens: XetTokens, signer: UrlSigner) -> Iterable[tuple[str, str, Any]]:
    """The versioned routes and the unversioned ones of hf_xet 1.2.0."""
    downloads = Downloads(store, tokens, signer)
    yield from at_every_epoch(_routes(downloads))
    yield "GET|HEAD", "/xorb-data/{hash}", downloads.xorb_data


def _routes(downloads: Downloads) -> Iterable[tuple[str, str, Any]]:
    for version in ("/v1", ""):
        yield "GET", version + "/reconstructions/{hash}", downloads.reconstruction_v1
        yield "GET", version + "/chunks/{prefix}/{hash}", downloads.chunk_query
        yield "HEAD", version + "/xorbs/{prefix}/{hash}", downloads.xorb_head
    yield "GET", "/v2/reconstructions/{hash}", downloads.reconstruction_v2
