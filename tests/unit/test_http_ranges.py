"""Byte ranges and conditions of RFC 9110, with a plain reading of it beside."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.http_driver import call
from xetway.http.ranges import Whole, file_response, parse_range, select
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Piece

CONTENT = bytes(range(256)) * 4
SIZE = len(CONTENT)
DATE = "Thu, 29 Feb 2024 12:00:00 GMT"


@pytest.mark.parametrize(
    ("header", "size", "wanted"),
    [
        ("bytes=0-0", 10, (0, 1)),
        ("bytes=0-", 10, (0, 10)),
        ("bytes=3-5", 10, (3, 6)),
        ("bytes=3-99", 10, (3, 10)),
        ("bytes=9-9", 10, (9, 10)),
        ("bytes=-3", 10, (7, 10)),
        ("bytes=-99", 10, (0, 10)),
        ("BYTES = 1 - 2", 10, (1, 3)),
        ("bytes=10-", 10, (10, 10)),
        ("bytes=10-20", 10, (10, 10)),
        ("bytes=999999999999999999-", 10, (10, 10)),
        ("bytes=-0", 10, (10, 10)),
        ("bytes=0-", 0, (0, 0)),
        ("bytes=-5", 0, (0, 0)),
        ("bytes=5-3", 10, None),
        ("bytes=-", 10, None),
        ("bytes=", 10, None),
        ("bytes", 10, None),
        ("", 10, None),
        ("bytes=a-b", 10, None),
        ("bytes=1-2,4-5", 10, None),
        ("bytes=--5", 10, None),
        ("bytes=+1-2", 10, None),
        ("bytes=1-2x", 10, None),
        ("bytes=\u0661-\u0662", 10, None),
        ("items=1-2", 10, None),
        ("bytes=9999999999999999999-", 10, None),
    ],
)
def test_parse_range(header: str, size: int, wanted: tuple[int, int] | None) -> None:
    assert parse_range(header, size) == wanted


@given(st.integers(0, 30), st.integers(0, 40), st.integers(0, 40))
def test_parse_range_selects_what_the_rfc_says(size: int, first: int, last: int) -> None:
    wanted = parse_range(f"bytes={first}-{last}", size)
    positions = [at for at in range(size) if first <= at <= last]
    if last < first:
        assert wanted is None
    else:
        assert wanted is not None
        assert list(range(*wanted)) == positions


@given(st.text(max_size=20), st.integers(0, 100))
def test_parse_range_takes_any_text(text: str, size: int) -> None:
    wanted = parse_range("bytes=" + text, size)
    assert wanted is None or 0 <= wanted[0] <= wanted[1] <= size


@pytest.mark.parametrize(
    ("headers", "wanted"),
    [
        ({}, Whole.FULL),
        ({"range": "bytes=1-2"}, (1, 3)),
        ({"range": "bytes=1024-"}, Whole.UNSATISFIABLE),
        ({"range": "bytes=1-2, 5-6"}, Whole.FULL),
        ({"range": "nonsense"}, Whole.FULL),
        ({"range": "bytes=1-2", "if-range": '"tag"'}, (1, 3)),
        ({"range": "bytes=1-2", "if-range": '"other"'}, Whole.FULL),
        ({"range": "bytes=1-2", "if-range": 'W/"tag"'}, Whole.FULL),
        ({"range": "bytes=1-2", "if-range": DATE}, Whole.FULL),
        ({"range": "bytes=1-2", "if-range": "yesterday"}, Whole.FULL),
        ({"range": "bytes=2000-", "if-range": '"other"'}, Whole.FULL),
        ({"if-none-match": '"tag"'}, Whole.NOT_MODIFIED),
        ({"if-none-match": 'W/"tag"'}, Whole.NOT_MODIFIED),
        ({"if-none-match": '"a", W/"b" , "tag"'}, Whole.NOT_MODIFIED),
        ({"if-none-match": "*"}, Whole.NOT_MODIFIED),
        ({"if-none-match": '"a"'}, Whole.FULL),
        ({"if-none-match": "tag"}, Whole.FULL),
        ({"if-none-match": '"tag"', "range": "bytes=1-2"}, Whole.NOT_MODIFIED),
        ({"if-modified-since": DATE}, Whole.FULL),
        ({"if-modified-since": DATE, "if-none-match": '"tag"'}, Whole.NOT_MODIFIED),
    ],
)
def test_select(headers: dict[str, str], wanted: object) -> None:
    assert select("GET", headers, size=SIZE, etag="tag") == wanted


def test_select_ignores_a_range_of_other_methods_and_of_nothing() -> None:
    assert select("POST", {"range": "bytes=0-1"}, size=SIZE, etag="tag") is Whole.FULL
    assert select("GET", {"range": "bytes=0-0"}, size=0, etag="tag") is Whole.FULL


class Bytes:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_parts(self) -> Piece:
        piece, self._content = self._content[:100], self._content[100:]
        return [piece] if piece else []


def send_content(request: Request) -> AnyResponse:
    return file_response(
        request,
        size=SIZE,
        etag="tag",
        headers=[("content-type", "application/x-test")],
        open_range=lambda start, end: Bytes(CONTENT[start:end]),
    )


ROUTES = [("GET|HEAD", "/f", send_content)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("header", "status", "start", "end"),
    [(None, 200, 0, SIZE), ("bytes=0-0", 206, 0, 1), ("bytes=100-399", 206, 100, 400), ("bytes=-24", 206, 1000, 1024)],
)
def test_file_response(method: str, header: str | None, status: int, start: int, end: int) -> None:
    answer = call(ROUTES, method, "/f", [("range", header)] if header else [])
    assert answer.status == status
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["etag"] == '"tag"'
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers.get("content-range") == (f"bytes {start}-{end - 1}/{SIZE}" if status == 206 else None)
    assert answer.body == (CONTENT[start:end] if method == "GET" else b"")
    assert answer.complete


def test_file_response_unsatisfiable() -> None:
    answer = call(ROUTES, "GET", "/f", [("range", f"bytes={SIZE}-")])
    assert answer.status == 416
    assert answer.headers["content-range"] == f"bytes */{SIZE}"
    assert answer.json["code"] == "range_not_satisfiable"


def test_file_response_not_modified() -> None:
    answer = call(ROUTES, "GET", "/f", [("if-none-match", '"tag"')])
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == '"tag"'
    assert "content-length" not in answer.headers
