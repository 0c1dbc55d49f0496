"""The ports for data: CAS answers with signed addresses, and the CDN that honours them for a while.

Neither knows the Hub's tokens. The CDN refuses whoever shows any, as storage with signed addresses does.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

from upstream.manners import Manners
from upstream.wire import Backend, BackendSource, FileSource, Headers, Reply, Request, Source, asked_ranges

XORB = re.compile(r"^/xorbs/default/([0-9a-f]{64})$")
BLOB = re.compile(r"^/blobs/([0-9a-f]{64})/([0-9a-f]{16})$")


class Addresses:
    """Makes and checks what is signed: addresses of data, and xet tokens."""

    def __init__(self, manners: Manners) -> None:
        self._manners = manners
        self._key = secrets.token_bytes(32)
        self._blobs: dict[str, BackendSource] = {}
        self.cdn_url = ""

    def blob(self, source: BackendSource, digest: str) -> str:
        """An address for a whole file. What is behind it stays here, so that no token is in it."""
        seen_as = hashlib.sha256(repr((source.target, source.headers)).encode()).hexdigest()[:16]
        self._blobs[seen_as] = source
        return self._signed(f"/blobs/{digest}/{seen_as}", {"response-content-disposition": "attachment"})

    def xorb(self, xorb: str, *ranges: dict[str, int]) -> str:
        """An address for ranges of a xorb, whose ends are included."""
        signed = ",".join(f"{item['start']}-{item['end']}" for item in ranges)
        return self._signed(f"/xorbs/default/{xorb}", {"X-Xet-Signed-Range": f"bytes={signed}"})

    def blob_source(self, name: str) -> BackendSource:
        return self._blobs[name]

    def _signed(self, path: str, fields: dict[str, str]) -> str:
        expires = f"{time.time() + self._manners.address_life_s:.3f}"
        query = urlencode({**fields, "Expires": expires})
        signature = self._signature(f"{path}?{query}")
        return f"{self.cdn_url}{path}?{query}&{urlencode({'Signature': signature, 'Key-Pair-Id': 'TEST'})}"

    def _signature(self, text: str) -> str:
        digest = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode()

    def refused(self, request: Request) -> str | None:
        """Why an address is not honoured; None if it is."""
        signed, _, rest = request.target.partition("&Signature=")
        given = parse_qs(f"Signature={rest}").get("Signature", [""])[0]
        if not hmac.compare_digest(given, self._signature(signed)):
            return "SignatureDoesNotMatch"
        if float(request.query["Expires"]) < time.time():
            return "AccessDenied"
        wanted = request.query.get("X-Xet-Signed-Range")
        if wanted is None:
            return None
        signed = asked_ranges(wanted, sys.maxsize)
        asked = asked_ranges(request.headers.get("range"), max(end for _, end in signed))
        if not asked or not all(any(in_range(one, other) for other in signed) for one in asked):
            return "AccessDenied"
        if self._manners.exact_ranges and not set(asked) <= set(signed):
            return "AccessDenied"
        return None

    def xet_token(self, behind: str) -> tuple[str, int]:
        """A xet token and when it ends, around the one of the server behind."""
        exp = int(time.time() + self._manners.token_life_s)
        return f"xet.{exp}.{behind}", exp

    @staticmethod
    def unwrapped(token: str) -> str | None:
        """The token of the server behind; None once ours has ended."""
        begin, _, rest = token.partition(".")
        exp, _, behind = rest.partition(".")
        return behind if begin == "xet" and exp.isdigit() and int(exp) > time.time() else None


class Cas:
    """Answers what comes to the CAS port: reconstructions, with addresses of our own."""

    def __init__(self, backend: Backend, manners: Manners, addresses: Addresses) -> None:
        self._backend = backend
        self._manners = manners
        self._addresses = addresses

    async def answer(self, request: Request) -> Reply:
        kind = "cas_json"
        if request.path.endswith("/telemetry"):
            return Reply("telemetry", 200)
        if "/v2/" in request.path and not self._manners.offers_v2:
            return Reply(kind, 404, body=b"{}")
        token = self._addresses.unwrapped(request.headers.get("authorization", "").removeprefix("Bearer "))
        if token is None:
            return Reply(kind, 401, [("content-type", "application/json")], b'{"error":"the token has expired"}')
        headers = [("authorization", f"Bearer {token}")]
        headers += [(name, request.headers[name]) for name in ("range", "content-type") if name in request.headers]
        answer = await self._backend.ask(request.method, request.target, headers, request.body)
        body = await answer.read()
        if answer.status == 200 and "/reconstructions/" in request.path:
            body = json.dumps(self._readdressed(json.loads(body))).encode()
        return Reply(kind, answer.status, [("content-type", answer.headers.get("content-type", ""))], body)

    def _readdressed(self, plan: dict[str, Any]) -> dict[str, Any]:
        for xorb, parts in plan.get("fetch_info", {}).items():
            for part in parts:
                part["url"] = self._addresses.xorb(xorb, part["url_range"])
        for xorb, parts in plan.get("xorbs", {}).items():
            for part in parts:
                part["url"] = self._addresses.xorb(xorb, *(item["bytes"] for item in part["ranges"]))
        return plan


class Cdn:
    """Answers what comes to the CDN port: ranges of xorbs, and files."""

    def __init__(self, data: Path, manners: Manners, addresses: Addresses) -> None:
        self._xorbs = data / "xorbs"
        self._manners = manners
        self._addresses = addresses

    async def answer(self, request: Request) -> Reply:
        xorb, blob = XORB.match(request.path), BLOB.match(request.path)
        kind = "xorb_bytes" if xorb else "plain_bytes"
        if "authorization" in request.headers:
            return refusal(kind, 400, "InvalidArgument", "Only one auth mechanism allowed")
        if not xorb and not blob:
            return refusal(kind, 404, "NoSuchKey", "The specified key does not exist.")
        reason = self._addresses.refused(request)
        if reason is not None:
            return refusal(kind, 403, reason, "Access denied")
        source = self._xorb(xorb[1]) if xorb else self._addresses.blob_source(request.path.rpartition("/")[2])
        etag = hashlib.sha256(request.path.encode()).hexdigest()[:32]  # the storage's own, as CDNs have it
        headers = [("etag", f'"{etag}"'), ("accept-ranges", "bytes"), ("content-type", "binary/octet-stream")]
        ranges = asked_ranges(request.headers.get("range"), source.size)
        if len(ranges) > 1:
            return self._several(kind, headers, source, ranges)
        return self._one(kind, headers, source, *ranges)

    @staticmethod
    def _one(kind: str, headers: Headers, source: Source, wanted: tuple[int, int] | None = None) -> Reply:
        if wanted is None:
            return Reply(kind, 200, headers, source=source, start=0, end=source.size)
        start, end = wanted
        if start >= end:
            return Reply(kind, 416, [("content-range", f"bytes */{source.size}")])
        headers.append(("content-range", f"bytes {start}-{end - 1}/{source.size}"))
        return Reply(kind, 206, headers, source=source, start=start, end=end)

    def _several(self, kind: str, headers: Headers, source: Source, ranges: list[tuple[int, int]]) -> Reply:
        manner = self._manners.several_ranges
        if manner.isdigit():
            return refusal(kind, int(manner), "InvalidArgument", "one range at a time")
        if manner != "parts":
            return self._one(kind, headers, source, *ranges[: manner == "first"])
        parts = PartsSource(source, ranges)
        others = [item for item in headers if item[0] != "content-type"]
        others.append(("content-type", f'multipart/byteranges; boundary="{PartsSource.BOUNDARY}"'))
        return Reply(kind, 206, others, source=parts, start=0, end=parts.size)

    def _xorb(self, name: str) -> Source:
        return FileSource(self._xorbs / name[:2] / f"{name}.xorb")


class PartsSource:
    """Ranges of content as the body of a multipart answer."""

    BOUNDARY = "an upstream's (boundary)"

    def __init__(self, source: Source, ranges: list[tuple[int, int]]) -> None:
        head = "\r\n--{}\r\nContent-Type: binary/octet-stream\r\nContent-Range: bytes {}-{}/{}\r\n\r\n"
        self._source = source
        self._parts = [
            (head.format(self.BOUNDARY, start, end - 1, source.size).encode(), start, end) for start, end in ranges
        ]
        self._tail = f"\r\n--{self.BOUNDARY}--\r\n".encode()
        self.size = sum(len(head) + end - start for head, start, end in self._parts) + len(self._tail)

    async def pieces(self, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Bytes [start, end) of the body."""
        at = 0
        async for piece in self._all():
            yield piece[max(0, start - at) : max(0, end - at)]
            at += len(piece)

    async def _all(self) -> AsyncGenerator[bytes, None]:
        for head, start, end in self._parts:
            yield head
            async with aclosing(self._source.pieces(start, end)) as pieces:
                async for piece in pieces:
                    yield piece
        yield self._tail


def in_range(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    """Whether a range that is not empty lies inside another."""
    return outer[0] <= inner[0] < inner[1] <= outer[1]


def refusal(kind: str, status: int, code: str, message: str) -> Reply:
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
    return Reply(kind, status, [("content-type", "application/xml")], body)
