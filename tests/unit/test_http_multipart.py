"""Several ranges in one answer."""

from __future__ import annotations

import re

import pytest

from tests.unit.http_driver import call
from xetway.http.multipart import MAX_RANGES, multipart_response, parse_ranges
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Piece, text

SIZE = 1024
CONTENT = bytes(range(256)) * 4


@pytest.mark.parametrize(
    ("header", "ranges"),
    [
        ("bytes=0-0,2-2", ((0, 1), (2, 3))),
        ("Bytes = 5-9 ,\t100-199 , 1000-", ((5, 10), (100, 200), (1000, SIZE))),
        ("bytes=0-9,-24", ((0, 10), (1000, SIZE))),
        ("bytes=1020-1021,1023-5000", ((1020, 1022), (1023, SIZE))),
    ],
)
def test_several_ranges(header: str, ranges: tuple[tuple[int, int], ...]) -> None:
    assert parse_ranges(header, SIZE) == ranges


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=0-9",
        "items=0-1,3-4",
        "bytes=0-9,",
        "bytes=0-9,x",
        "bytes=0-9,20-10",
        "bytes=0-9,1024-",
        "bytes=20-29,0-9",
        "bytes=0-9,5-20",
        "bytes=0-9,10-19",
        "bytes=0-9,0-9",
        "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2 * MAX_RANGES + 2, 2)),
    ],
)
def test_other_headers_are_not_several_ranges(header: str | None) -> None:
    assert parse_ranges(header, SIZE) is None


def test_as_many_ranges_as_allowed() -> None:
    header = "bytes=" + ",".join(f"{at}-{at}" for at in range(0, 2 * MAX_RANGES, 2))
    assert len(parse_ranges(header, SIZE) or ()) == MAX_RANGES


class Bytes:
    opened = 0

    def __init__(self, content: bytes) -> None:
        self._content = content
        Bytes.opened += 1

    def read_parts(self) -> Piece:
        piece, self._content = self._content[:100], self._content[100:]
        return [piece] if piece else []


def send_parts(request: Request) -> AnyResponse:
    ranges = parse_ranges(request.header("range"), SIZE)
    if ranges is None:
        return text("none")
    opened = Bytes.opened
    response = multipart_response(
        ranges,
        size=SIZE,
        etag="tag",
        headers=[("cache-control", "private")],
        open_range=lambda start, end: Bytes(CONTENT[start:end]),
    )
    assert Bytes.opened == opened + 1
    return response


def test_multipart_answer() -> None:
    answer = call([("GET", "/f", send_parts)], "GET", "/f", [("range", "bytes=0-0,100-399,-24")])
    assert (answer.status, answer.complete) == (206, True)
    assert answer.headers["content-length"] == str(len(answer.body))
    assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"tag"', "private")
    assert "content-range" not in answer.headers
    kind, boundary = re.fullmatch(r"(\S+); boundary=(\w{1,70})", answer.headers["content-type"]).groups()
    assert kind == "multipart/byteranges"
    first, *parts, last = answer.body.split(f"\r\n--{boundary}".encode())
    assert (first, last) == (b"", b"--\r\n")
    heads, bodies = zip(*(part.split(b"\r\n\r\n", 1) for part in parts), strict=True)
    assert bodies == (CONTENT[:1], CONTENT[100:400], CONTENT[1000:])
    assert [re.search(rb"content-range: (.*)", head)[1] for head in heads] == [
        b"bytes 0-0/1024",
        b"bytes 100-399/1024",
        b"bytes 1000-1023/1024",
    ]


def test_boundaries_cannot_be_foretold() -> None:
    route = [("GET", "/f", send_parts)]
    one, other = (call(route, "GET", "/f", [("range", "bytes=0-0,2-2")]).headers["content-type"] for _ in range(2))
    assert one != other
