"""Several byte ranges in one answer, as ``multipart/byteranges`` (RFC 9110, sections 14.2 and 14.6).

Only ranges in order with something between them, and not many: whoever wants the same bytes again and again, or
thousands of crumbs, is told nothing here.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from xetway.http.ranges import parse_range
from xetway.http.response import Piece, PieceReader, StreamResponse

MAX_RANGES = 64


def parse_ranges(header: str | None, size: int) -> tuple[tuple[int, int], ...] | None:
    """Read a Range header of two ranges or more: half-open, ascending, inside `size`; None for any other header."""
    unit, _, specs = (header or "").partition("=")
    if not 1 <= specs.count(",") < MAX_RANGES:
        return None
    ranges = []
    reached = -1
    for spec in specs.split(","):
        wanted = parse_range(f"{unit}={spec}", size)
        if wanted is None or not reached < wanted[0] < wanted[1]:
            return None
        ranges.append(wanted)
        reached = wanted[1]
    return tuple(ranges)


def multipart_response(
    ranges: Sequence[tuple[int, int]],
    *,
    size: int,
    etag: str,
    headers: Iterable[tuple[str, str]],
    open_range: Callable[[int, int], PieceReader],
) -> StreamResponse:
    """Answer with these half-open ranges of content of `size` bytes, in this order.

    `open_range(start, end)` may block. The first range is opened here, each other one when its turn comes.
    """
    boundary = secrets.token_hex(16)
    heads = [
        f"\r\n--{boundary}\r\ncontent-type: application/octet-stream\r\n"
        f"content-range: bytes {start}-{end - 1}/{size}\r\n\r\n".encode()
        for start, end in ranges
    ]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, heads)) + sum(end - start for start, end in ranges) + len(tail)
    first = open_range(*ranges[0])

    def pieces() -> Iterator[Piece]:
        for index, (head, (start, end)) in enumerate(zip(heads, ranges, strict=True)):
            reader = open_range(start, end) if index else first
            yield [head, *reader.read_parts()]
            while piece := reader.read_parts():
                yield piece
        yield [tail]

    answer_headers = [
        ("etag", f'"{etag}"'),
        ("accept-ranges", "bytes"),
        *headers,
        ("content-type", f"multipart/byteranges; boundary={boundary}"),
    ]
    return StreamResponse(206, answer_headers, length, _Pieces(pieces()))


class _Pieces:
    """An iterator as a `PieceReader`."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces

    def read_parts(self) -> Piece:
        return next(self._pieces, [])
