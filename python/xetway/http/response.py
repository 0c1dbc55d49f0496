"""What handlers return. Plain values: the application decides about HEAD, errors and disconnects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import msgspec

Headers: TypeAlias = Iterable[tuple[str, str]]
# As they are sent; what is in them was checked where they come from.
RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
# Some of a body, in parts that are sent one by one. What a client does not take stays in memory, up to some parts.
Piece: TypeAlias = list[bytes]
PART_BYTES = 64 * 1024

_JSON = msgspec.json.Encoder()


@runtime_checkable
class PieceReader(Protocol):
    """Something blocking that gives bytes piece by piece."""

    def read_parts(self) -> Piece:
        """Return the next piece; nothing at the end. It is the caller's."""
        ...


def parts_of(data: bytes) -> Piece:
    """Cut bytes into parts that a body is sent in."""
    return [data[start : start + PART_BYTES] for start in range(0, len(data), PART_BYTES)]


class Response:
    """A status, headers (names in lower case) and a whole body.

    `content-length` is added by the application unless it is there already (HEAD answers without a body), but never
    among `raw_headers`.
    """

    __slots__ = ("body", "headers", "raw_headers", "status")

    def __init__(
        self, status: int, headers: Headers = (), body: bytes = b"", *, raw_headers: RawHeaders | None = None
    ) -> None:
        self.status = status
        self.headers = list(headers)
        self.raw_headers = raw_headers or []
        self.body = body


class StreamResponse:
    """A body that is produced while it is sent.

    `length` is its size in bytes, sent as `content-length`; None sends chunks. `pieces` is a `PieceReader`,
    read in a worker thread, or an async iterator. Both are dropped as soon as the client leaves. Its head is sent with
    the first piece, so that an error before that is an ordinary answer, or if `at_once` without waiting.
    """

    __slots__ = ("at_once", "headers", "length", "pieces", "raw_headers", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        length: int | None,
        pieces: PieceReader | AsyncIterator[Piece],
        *,
        at_once: bool = False,
        raw_headers: RawHeaders | None = None,
    ) -> None:
        self.status = status
        self.headers = list(headers)
        self.raw_headers = raw_headers or []
        self.length = length
        self.pieces = pieces
        self.at_once = at_once


AnyResponse: TypeAlias = Response | StreamResponse


def json_response(value: Any, status: int = 200, headers: Headers = ()) -> Response:
    """Encode `value` (msgspec Structs welcome) as one line of JSON."""
    return Response(status, [("content-type", "application/json"), *headers], _JSON.encode(value))


def text(value: str, status: int = 200, headers: Headers = ()) -> Response:
    """Plain UTF-8 text."""
    return Response(status, [("content-type", "text/plain; charset=utf-8"), *headers], value.encode())


def empty(status: int = 200, headers: Headers = ()) -> Response:
    """No body."""
    return Response(status, headers)
