"""One request as handlers see it: decoded path parameters, query, headers, and a body with limits.

The body is never read unless a handler asks, and what ends early is never taken for complete: a client that
leaves, or sends fewer bytes than its `content-length` says, raises instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import chain
from typing import Any, TypeAlias, TypeVar
from urllib.parse import parse_qsl

import msgspec

from xetway.errors import RequestError, XetwayError
from xetway.http.bodies import Bodies
from xetway.http.response import Response
from xetway.http.tracing import Trace

T = TypeVar("T")
Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[dict[str, Any]]]

MAX_JSON_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 1024 * 1024
# A client that sends nothing for so long, in the middle of a body, is given up.
BODY_IDLE_S = 120.0
# Nor may it go on for ever with a byte now and then: its pauses together may be so much longer as this takes.
BODY_LEAST_BYTES_PER_S = 1024
MAX_QUERY_FIELDS = 200

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Of names that are no secrets; asking the system for each would cost a switch between threads.
_ids = random.Random()  # noqa: S311
_bodies = Bodies(128 * 1024 * 1024)


class Request:
    """An HTTP request. `params` is filled by the router, the rest comes from the ASGI scope."""

    __slots__ = (
        "_announced_bytes",
        "_body_idle_s",
        "_body_started",
        "_body_waited_s",
        "_first_headers",
        "_headers",
        "_kept_body",
        "_leaving",
        "_public_url",
        "_query",
        "_receive",
        "_received_bytes",
        "_scope",
        "client",
        "ended",
        "keeps_body",
        "method",
        "notes",
        "params",
        "raw_path",
        "request_id",
        "tell",
        "trace",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        public_url: str | None = None,
        *,
        body_idle_s: float = BODY_IDLE_S,
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._public_url = public_url
        self._body_idle_s = body_idle_s
        raw_headers: list[tuple[bytes, bytes]] = scope["headers"]
        # Names are in lower case already. Of repeated ones the first.
        self._first_headers = dict(reversed(raw_headers))
        self._headers: dict[str, str] | None = None
        self._query: dict[str, list[str]] | None = None
        self._body_started = False
        self._announced_bytes: int | None = None
        self._body_waited_s = 0.0
        self._received_bytes = 0
        self._kept_body: bytes | None = None
        self._leaving: asyncio.Task[None] | None = None
        # Whether a body that was read whole may be read again, by another handler of the same request.
        self.keeps_body = False
        self.ended = False
        # How errors are told to this client; None: as to clients of the Hub.
        self.tell: Callable[[XetwayError], Response] | None = None
        self.method: str = scope["method"]
        self.raw_path: bytes = scope["raw_path"]
        self.params: dict[str, str] = {}
        # What its line in the log tells beside what every line does; nothing secret.
        self.notes: dict[str, Any] = {}
        # Who follows it over several servers.
        self.trace: Trace | None = None
        client = scope.get("client")
        self.client: str = client[0] if client else "-"
        given = self.header("x-request-id")
        self.request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{_ids.getrandbits(64):016x}"

    @property
    def headers(self) -> dict[str, str]:
        """All headers, names in lower case; repeated ones are joined with a comma."""
        if self._headers is None:
            self._headers = {}
            for raw_name, raw_value in self._scope["headers"]:
                name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
                self._headers[name] = f"{self._headers[name]}, {value}" if name in self._headers else value
        return self._headers

    @property
    def header_bytes(self) -> int:
        """The size of all headers as they came."""
        headers = self.raw_headers
        return len(b"".join(chain.from_iterable(headers))) + 4 * len(headers)

    @property
    def raw_headers(self) -> list[tuple[bytes, bytes]]:
        """All headers as they came, names in lower case."""
        headers: list[tuple[bytes, bytes]] = self._scope["headers"]
        return headers

    def raw_header(self, name: bytes) -> bytes | None:
        """Look one header up as it came; `name` in lower case. The first, if there are several."""
        return self._first_headers.get(name)

    @property
    def raw_query(self) -> bytes:
        """What comes after the question mark, as it came."""
        query: bytes = self._scope["query_string"]
        return query

    def header(self, name: str) -> str | None:
        """Look a header up; `name` in lower case."""
        value = self._first_headers.get(name.encode())
        if value is None:
            return None
        return value.decode("latin-1") if len(self._first_headers) == len(self.raw_headers) else self.headers[name]

    @property
    def query(self) -> dict[str, list[str]]:
        """The decoded query string.

        Raises:
            RequestError: `bad_query` if it is not UTF-8 or has too many fields.
        """
        if self._query is None:
            raw: bytes = self._scope["query_string"]
            try:
                pairs = parse_qsl(
                    raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_QUERY_FIELDS
                )
            except ValueError:
                raise RequestError("the query string is malformed", code="bad_query") from None
            self._query = {}
            for name, value in pairs:
                self._query.setdefault(name, []).append(value)
        return self._query

    def query_one(self, name: str, default: str | None = None) -> str | None:
        """The last value of a query field, or `default`."""
        values = self.query.get(name)
        return values[-1] if values else default

    @property
    def host(self) -> str:
        """The Host header: the name or address that the client used, and perhaps a port.

        Raises:
            RequestError: `bad_host` if it is missing or malformed.
        """
        host = self.header("host") or ""
        if not _HOST.fullmatch(host):
            raise RequestError("the Host header is missing or malformed", code="bad_host")
        return host

    @property
    def base_url(self) -> str:
        """Where the client reached this server, for links in answers; no slash at its end.

        The configured public URL, otherwise scheme and Host header.

        Raises:
            RequestError: `bad_host`, as `host`.
        """
        if self._public_url is not None:
            return self._public_url
        return f"{self._scope.get('scheme', 'http')}://{self.host}"

    @property
    def content_length(self) -> int | None:
        """The body's size as the client announced it; None when it sends chunks.

        Raises:
            RequestError: `bad_content_length`; `unsupported_transfer_encoding` (501) with any coding but chunks, where
                a proxy before this server might see another end of the body (RFC 9112, section 6.1).
        """
        value, coding = self.header("content-length"), self.header("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise RequestError(
                "the only transfer encoding known here is chunked", code="unsupported_transfer_encoding", status=501
            )
        if value is None:
            return None
        if not (value.isascii() and value.isdigit() and len(value) <= 20):
            raise RequestError("Content-Length is not a number", code="bad_content_length")
        return int(value)

    async def pieces(self, limit_bytes: int, piece_bytes: int = PIECE_BYTES) -> AsyncIterator[bytes]:
        """Give the body in pieces of `piece_bytes` (the last one may be shorter).

        Raises:
            RequestError: `body_too_large` (413) past `limit_bytes`; `truncated_body` (400) if the client
                leaves before the body is complete, or sends less than it announced.
        """
        self._begin(limit_bytes)
        held: list[bytes] = []
        held_bytes = 0
        while not self.ended:
            data = await self._next()
            self._check(limit_bytes)
            if held_bytes + len(data) < piece_bytes:
                held.append(data)
                held_bytes += len(data)
                continue
            joined = b"".join((*held, data)) if held else data
            whole = len(joined) - len(joined) % piece_bytes
            for start in range(0, whole, piece_bytes):
                yield joined[start : start + piece_bytes] if len(joined) != piece_bytes else joined
            held = [joined[whole:]]
            held_bytes = len(joined) - whole
        if held_bytes:
            yield b"".join(held)

    async def read(self, limit_bytes: int) -> bytes:
        """Read the whole body into memory.

        Raises:
            RequestError: as `pieces`; `busy` (503) when the bodies of all requests take too much memory.
        """
        if self._kept_body is not None:
            return self._kept_body
        self._begin(limit_bytes)
        body = b""
        held = bytearray()
        try:
            while not self.ended:
                body = await self._next()
                _bodies.add(len(body))
                self._check(limit_bytes)
                if held or not self.ended:
                    held += body
        finally:
            _bodies.add(-self._received_bytes)
        if held:
            body = bytes(held)
        if self.keeps_body:
            self._kept_body = body
        return body

    async def json(self, type: type[T], limit_bytes: int = MAX_JSON_BYTES) -> T:  # noqa: A002
        """Decode the body as JSON of the given (msgspec) type.

        Raises:
            RequestError: `bad_json`, with the place that is wrong; or as `pieces`.
        """
        body = await self.read(limit_bytes)
        try:
            return msgspec.json.decode(body, type=type)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RequestError(f"the body is not the JSON expected here: {error}", code="bad_json") from None

    async def drain(self, limit_bytes: int, limit_s: float) -> None:
        """Read and drop what is left of the body, within limits, so that a client still sending gets the answer.

        A client that waits for `100 Continue` has sent nothing, and is left alone.
        """
        if self.ended or self.header("expect") is not None:
            return
        limit_bytes += self._received_bytes
        with contextlib.suppress(TimeoutError, RequestError):
            async with asyncio.timeout(limit_s):
                while self._received_bytes <= limit_bytes and not self.ended:
                    await self._next()

    def leaving(self) -> asyncio.Task[None]:
        """Return what is done when the client closes the connection; for a request whose body was read.

        There is one for all who want to know, and nobody may cancel it but `forget`: what is received after a wait
        that was cancelled may say that a client left which is still there (Granian 2.8).
        """
        if self._leaving is None:
            self._leaving = asyncio.create_task(self._client_leaves())
        return self._leaving

    def forget(self) -> None:
        """Do not wait for the client any more: it was answered."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _client_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    @property
    def has_body(self) -> bool:
        """Whether the client announced a body that is not read to its end."""
        return not self.ended and (
            b"transfer-encoding" in self._first_headers or (self.header("content-length") or "0") != "0"
        )

    async def _next(self) -> bytes:
        clock = asyncio.get_running_loop().time
        began = clock()
        left_s = self._body_idle_s + self._received_bytes / BODY_LEAST_BYTES_PER_S - self._body_waited_s
        try:
            async with asyncio.timeout(min(self._body_idle_s, left_s)):
                message = await self._receive()
        except TimeoutError:
            self.ended = True
            raise RequestError(
                f"the body came too slowly: {self._received_bytes} bytes, and then no more in time",
                code="body_timeout",
                status=408,
                headers=(("connection", "close"),),
            ) from None
        self._body_waited_s += clock() - began
        if message["type"] != "http.request":
            # How Granian reports a connection that was cut, and malformed chunks; half-closed ones still get answers.
            self.ended = True
            raise RequestError(
                f"the connection ended after {self._received_bytes} bytes, before the body was complete",
                code="truncated_body",
            )
        data: bytes = message.get("body", b"")
        self._received_bytes += len(data)
        # Granian says that it was the last of it one message later, which costs as much as the body.
        self.ended = not message.get("more_body", False) or self._received_bytes == self._announced_bytes
        return data

    def _begin(self, limit_bytes: int) -> None:
        if self._body_started:
            raise RuntimeError("the body was read already")
        self._announced_bytes = self.content_length
        if self._announced_bytes is not None and self._announced_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        self._body_started = True

    def _check(self, limit_bytes: int) -> None:
        if self._received_bytes > limit_bytes:
            raise _too_large(limit_bytes)
        if self.ended and self._announced_bytes not in {None, self._received_bytes}:
            raise RequestError(
                f"the body ended after {self._received_bytes} bytes, Content-Length says {self._announced_bytes}",
                code="truncated_body",
            )


def _too_large(limit_bytes: int) -> RequestError:
    return RequestError(f"the body is larger than {limit_bytes} bytes", code="body_too_large", status=413)
