"""Conditional and byte-range requests (RFC 9110, sections 13 and 14) for content of known size.

One range is honoured, as ``a-b``, ``a-`` or ``-n``. Several ranges, other units and what is malformed get the
whole content, as the RFC allows. Entity tags are strong, and the only validators. There are no dates: a name can get
other content twice in a second, or go back to older content, and both would pass for unchanged.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from enum import Enum
from typing import NamedTuple, TypeAlias

from xetway.errors import RequestError
from xetway.http.request import Request
from xetway.http.response import Piece, PieceReader, Response, StreamResponse, empty

_SPEC = re.compile(r"[ \t]*([0-9]{0,18})[ \t]*-[ \t]*([0-9]{0,18})[ \t]*")
_ETAG_LIST = re.compile(r'[ \t,]*(?:W/)?"([^"]*)"')


class Whole(Enum):
    """What to answer when it is not a part of the content."""

    FULL = 200
    NOT_MODIFIED = 304
    UNSATISFIABLE = 416


Selection: TypeAlias = Whole | tuple[int, int]


def parse_range(header: str, size: int) -> tuple[int, int] | None:
    """Read a Range header: half-open [start, end) inside `size`.

    Returns:
        None if it is malformed or not a single byte range; (size, size) if it lies outside the content.
    """
    unit, equals, spec = header.partition("=")
    match = _SPEC.fullmatch(spec)
    if unit.strip().lower() != "bytes" or not equals or match is None:
        return None
    first, last = match.groups()
    if not first:
        if not last:
            return None
        length = min(int(last), size)
        return size - length, size
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return size, size
    return start, min(int(last) + 1, size) if last else size


def select(method: str, headers: dict[str, str], *, size: int, etag: str) -> Selection:
    """Decide what a GET or HEAD gets. `etag` is the opaque tag, without quotes."""
    none_match = headers.get("if-none-match")
    if none_match is not None and _matches_weakly(none_match, etag):
        return Whole.NOT_MODIFIED
    header = headers.get("range")
    # Some clients send a range with every request; there is none in empty content, and 416 would help nobody.
    if header is None or size == 0 or method not in {"GET", "HEAD"}:
        return Whole.FULL
    if not _if_range_holds(headers.get("if-range"), etag):
        return Whole.FULL
    wanted = parse_range(header, size)
    if wanted is None:
        return Whole.FULL
    return wanted if wanted[0] < wanted[1] else Whole.UNSATISFIABLE


def file_response(
    request: Request,
    *,
    size: int,
    etag: str,
    headers: Iterable[tuple[str, str]] = (),
    open_range: Callable[[int, int], PieceReader],
) -> Response | StreamResponse:
    """Answer a GET or HEAD for content of `size` bytes, with all that Range and the conditions ask for.

    `open_range(start, end)` is called only when bytes are going to be sent; it may block, so the caller is a
    worker thread (as every handler that is not a coroutine).

    Raises:
        RequestError: `range_not_satisfiable` (416).
    """
    answer = _answer(request, size, etag, headers)
    if isinstance(answer, Response):
        return answer
    return StreamResponse(
        answer.status, answer.headers, answer.end - answer.start, open_range(answer.start, answer.end)
    )


async def streamed_file_response(
    request: Request,
    *,
    size: int,
    etag: str,
    headers: Iterable[tuple[str, str]] = (),
    open_range: Callable[[int, int], Awaitable[tuple[AsyncIterator[Piece], Iterable[tuple[str, str]]]]],
) -> Response | StreamResponse:
    """As `file_response`, for content that arrives from elsewhere.

    `open_range(start, end)` gives the pieces, and headers that are known only with them.
    """
    answer = _answer(request, size, etag, headers)
    if isinstance(answer, Response):
        return answer
    pieces, more = await open_range(answer.start, answer.end)
    return StreamResponse(answer.status, [*answer.headers, *more], answer.end - answer.start, pieces)


class _Part(NamedTuple):
    """A successful answer that has bytes of the content."""

    status: int
    headers: list[tuple[str, str]]
    start: int
    end: int


def _answer(request: Request, size: int, etag: str, headers: Iterable[tuple[str, str]]) -> Response | _Part:
    selection = select(request.method, request.headers, size=size, etag=etag)
    common = [("etag", f'"{etag}"'), ("accept-ranges", "bytes"), *headers]
    if selection is Whole.NOT_MODIFIED:
        return empty(304, [pair for pair in common if pair[0] not in {"content-type", "content-disposition"}])
    if selection is Whole.UNSATISFIABLE:
        raise RequestError(
            f"the range lies outside the content, which has {size} bytes",
            code="range_not_satisfiable",
            status=416,
            headers=(("content-range", f"bytes */{size}"), *common[:2]),
        )
    start, end = selection if isinstance(selection, tuple) else (0, size)
    if isinstance(selection, tuple):
        common.append(("content-range", f"bytes {start}-{end - 1}/{size}"))
    status = 206 if isinstance(selection, tuple) else 200
    if request.method == "HEAD" or start == end:
        return empty(status, [*common, ("content-length", str(end - start))])
    return _Part(status, common, start, end)


def _matches_weakly(header: str, etag: str) -> bool:
    """Compare If-None-Match with our tag: a list of tags, strong or weak, or ``*``."""
    return header.strip() == "*" or etag in _ETAG_LIST.findall(header)


def _if_range_holds(header: str | None, etag: str) -> bool:
    """Whether the part that the client has is still of this content; a weak tag or a date never proves it."""
    return header is None or header.strip() == f'"{etag}"'
