"""What the application promises of answers, errors and streams, whatever a handler does."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import sqlite3
import threading
import weakref
from collections.abc import AsyncIterator

import pytest

from tests.unit.http_driver import Client, call, scope
from xetway.errors import NotFoundError, RequestError, StoreCorruptionError, XetwayError
from xetway.http.app import Application
from xetway.http.request import Request
from xetway.http.response import Piece, Response, StreamResponse, empty, json_response, text
from xetway.http.router import Router


class PanicException(BaseException):
    """As the native module raises it when it has a bug."""


class Reader:
    """Gives some pieces, then ends or raises."""

    def __init__(self, pieces: list[bytes], error: BaseException | None = None) -> None:
        self._pieces = pieces
        self._error = error
        self.threads: set[str] = set()

    def read_parts(self) -> Piece:
        self.threads.add(threading.current_thread().name)
        if self._pieces:
            return [self._pieces.pop(0)]
        if self._error is not None:
            raise self._error
        return []


CORRUPT = StoreCorruptionError("chunk 7 of xorb abc does not match its hash", xorb="abc", chunk=7)


def sqlite_error(text: str, code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def fail(error: BaseException):
    def handler(_request: Request) -> Response:
        raise error

    return [("GET|POST", "/x", handler)]


def answer(response: Response | StreamResponse):
    async def handler(_request: Request) -> Response | StreamResponse:
        return response

    return [("GET|HEAD|POST", "/x", handler)]


def test_plain_answer() -> None:
    got = call(answer(text("hello")), "GET", "/x")
    assert (got.status, got.body, got.complete) == (200, b"hello", True)
    assert got.headers["content-length"] == "5"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["server"] == "xetway"
    assert len(got.headers["x-request-id"]) == 16


def test_head_has_the_length_and_no_body() -> None:
    got = call(answer(json_response({"a": 1})), "HEAD", "/x")
    assert (got.status, got.body, got.headers["content-length"]) == (200, b"", "7")
    reader = Reader([b"x"])
    got = call(answer(StreamResponse(200, [], 10, reader)), "HEAD", "/x")
    assert (got.body, got.headers["content-length"], got.complete) == (b"", "10", True)
    assert not reader.threads


def test_no_content_has_no_length() -> None:
    assert "content-length" not in call(answer(empty(204)), "GET", "/x").headers


def test_a_header_value_stays_one_header() -> None:
    got = call(answer(text("", headers=[("x-name", "a\r\nb: \u2713")])), "GET", "/x")
    assert got.headers["x-name"] == "a  b: ?"


def test_plain_functions_run_in_worker_threads() -> None:
    def handler(_request: Request) -> Response:
        return text(threading.current_thread().name)

    assert call([("GET", "/x", handler)], "GET", "/x").body.startswith(b"xetway")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFoundError("no such file", hub_code="EntryNotFound"), 404, "not_found"),
        (RequestError("bad\nthing", code="bad_thing"), 400, "bad_thing"),
        (CORRUPT, 500, "stored_data_corrupt"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
        (OSError(errno.EIO, "I/O error", "/secret/data/file"), 500, "internal_error"),
        (OSError(errno.ENOSPC, "No space left on device", "/secret/data"), 507, "storage_full"),
        (sqlite_error("database or disk is full", sqlite3.SQLITE_FULL), 507, "storage_full"),
        (sqlite_error("disk I/O error", sqlite3.SQLITE_IOERR_WRITE), 507, "storage_full"),
        (sqlite_error("disk I/O error", sqlite3.SQLITE_IOERR_READ), 500, "internal_error"),
        (sqlite_error("database is locked", sqlite3.SQLITE_BUSY), 503, "busy"),
        (sqlite_error("database is locked", sqlite3.SQLITE_BUSY_SNAPSHOT), 503, "busy"),
        (sqlite_error("no such table: secret", sqlite3.SQLITE_ERROR), 500, "internal_error"),
        (sqlite3.ProgrammingError("Cannot operate on a closed secret."), 500, "internal_error"),
        (PanicException("secret"), 500, "internal_error"),
    ],
)
def test_errors(error: BaseException, status: int, code: str, caplog: pytest.LogCaptureFixture) -> None:
    got = call(fail(error), "GET", "/x")
    assert (got.status, got.json["code"]) == (status, code)
    assert got.headers["x-error-message"].isprintable()
    assert b"secret" not in got.body
    assert b"Traceback" not in got.body
    assert got.headers.get("x-error-code") == getattr(error, "hub_code", None)
    assert ("retry-after" in got.headers) == (code == "busy")
    failures = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(failures) == (1 if status >= 500 and code != "busy" else 0) or code in {"busy", "storage_full"}
    for record in failures:
        assert "/secret" not in record.getMessage()
        assert "\n" not in record.getMessage()
        assert got.headers["x-request-id"] in record.getMessage()


def test_an_interrupt_is_not_swallowed() -> None:
    async def handler(_request: Request) -> Response:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        call([("GET", "/x", handler)], "GET", "/x")


def test_huge_headers_are_refused() -> None:
    got = call(answer(text("")), "GET", "/x", [("x-big", "x" * 66_000)])
    assert (got.status, got.json["code"]) == (431, "headers_too_large")


def test_stream() -> None:
    reader = Reader([b"a" * 10, b"b" * 10, b"c"])
    got = call(answer(StreamResponse(200, [], 21, reader)), "GET", "/x")
    assert (got.body, got.complete) == (b"a" * 10 + b"b" * 10 + b"c", True)
    assert all(name.startswith("xetway") for name in reader.threads)


def test_stream_of_one_piece_is_one_message() -> None:
    got = call(answer(StreamResponse(200, [], 3, Reader([b"abc"]))), "GET", "/x")
    assert len(got.messages) == 2
    assert got.body == b"abc"


def test_stream_without_length() -> None:
    async def frames() -> AsyncIterator[Piece]:
        yield [b"one\n"]
        yield [b"two\n"]

    got = call(answer(StreamResponse(200, [], None, frames())), "POST", "/x")
    assert (got.body, got.complete) == (b"one\ntwo\n", True)
    assert "content-length" not in got.headers


def test_an_error_before_the_first_byte_is_an_ordinary_answer() -> None:
    got = call(answer(StreamResponse(200, [], 100, Reader([], CORRUPT))), "GET", "/x")
    assert (got.status, got.json["code"], got.complete) == (500, "stored_data_corrupt", True)


@pytest.mark.parametrize("length", [100, None])
def test_an_error_after_the_first_byte_breaks_the_transfer(
    length: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    got = call(answer(StreamResponse(200, [], length, Reader([b"x" * 10], CORRUPT))), "GET", "/x")
    assert (got.status, got.body, got.complete) == (200, b"x" * 10, False)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "chunk 7 of xorb abc" in line


@pytest.mark.parametrize("pieces", [[b"x" * 10], [b"x" * 60, b"x" * 60]])
def test_a_stream_of_another_length_breaks_the_transfer(pieces: list[bytes]) -> None:
    assert not call(answer(StreamResponse(200, [], 100, Reader(pieces))), "GET", "/x").complete


def test_the_reader_is_released_when_the_client_leaves() -> None:
    reader = Reader([b"x" * 10] * 1000)
    gone = weakref.ref(reader)
    made = [StreamResponse(200, [], 10_000, reader)]

    async def handler(_request: Request) -> StreamResponse:
        return made.pop()

    del reader
    gc.disable()  # released at once, not when a collection comes by
    try:
        got = call([("GET", "/x", handler)], "GET", "/x", client=Client(leave_after=3))
        assert gone() is None
    finally:
        gc.enable()
    assert not got.complete
    assert len(got.messages) < 10


@pytest.mark.parametrize(("length", "note"), [(2_000, ""), (3_000, " client left")])
@pytest.mark.parametrize("slow", [False, True])
def test_a_client_that_closes_after_the_last_byte_has_not_left(
    caplog: pytest.LogCaptureFixture, length: int, note: str, *, slow: bool
) -> None:
    async def pieces() -> AsyncIterator[Piece]:
        for _ in range(length // 1_000):
            yield [b"x" * 1_000]
        await asyncio.sleep(30)

    source = pieces() if slow else Reader([b"x" * 1_000] * (length // 1_000))
    caplog.set_level(logging.INFO, "xetway.access")
    call(answer(StreamResponse(200, [], length, source)), "GET", "/x", client=Client(leave_after=2))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.partition(" id=")[2][16:] == note


def test_a_failure_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xetway.access")
    got = call(fail(CORRUPT), "GET", "/x")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("GET /x 500 ")
    assert f"id={got.headers['x-request-id']} request failed: stored_data_corrupt: chunk 7" in record.getMessage()


def test_a_generator_is_closed_when_the_client_leaves() -> None:
    closed = []

    async def frames() -> AsyncIterator[Piece]:
        try:
            while True:
                yield [b"x"]
        finally:
            closed.append(True)

    call(answer(StreamResponse(200, [], None, frames())), "GET", "/x", client=Client(leave_after=3))
    assert closed == [True]


def test_a_refused_body_is_read_first() -> None:
    client = Client([b"x" * 10] * 5)
    got = call(fail(XetwayError("no", code="no", status=401)), "POST", "/x", [("content-length", "50")], client)
    assert got.status == 401
    assert client._body == []


def test_a_client_that_waits_to_be_told_to_go_on_is_not_asked_for_its_body() -> None:
    client = Client([b"x" * 10] * 5)
    headers = [("content-length", "50"), ("expect", "100-continue")]
    assert call(fail(NotFoundError("no")), "POST", "/x", headers, client).status == 404
    assert len(client._body) == 5


def test_access_log_has_no_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xetway.access")
    got = call(answer(text("hello")), "GET", "/x?signature=abcdef", [("authorization", "Bearer sesame")])
    (line,) = [record.getMessage() for record in caplog.records if record.name == "xetway.access"]
    assert line.startswith("GET /x 200 5 B ")
    assert got.headers["x-request-id"] in line
    assert "abcdef" not in line
    assert "sesame" not in line


def test_abort_cuts_off_what_is_running() -> None:
    async def go() -> Client:
        started = asyncio.Event()

        async def handler(_request: Request) -> Response:
            started.set()
            await asyncio.Event().wait()
            raise AssertionError

        application, client = Application(Router([("GET", "/x", handler)])), Client()
        task = asyncio.create_task(application(scope("GET", "/x"), client.receive, client.send))
        await started.wait()
        assert application.abort() == 1
        await task
        return client

    assert asyncio.run(go()).messages == []


def test_lifespan() -> None:
    async def go() -> list[str]:
        events, sent = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], []

        async def receive():
            return events.pop(0)

        async def send(message):
            sent.append(message["type"])

        await Application(Router())({"type": "lifespan"}, receive, send)
        return sent

    assert asyncio.run(go()) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_requests_that_write_do_not_take_the_threads_of_readers() -> None:
    def where(_request: Request) -> Response:
        return text(threading.current_thread().name)

    routes = [("GET|POST", "/x", where)]
    assert call(routes, "GET", "/x").body.startswith(b"xetway-reader")
    assert call(routes, "POST", "/x").body.startswith(b"xetway-writer")


def test_damage_is_reported_by_name() -> None:
    seen: list[str] = []
    assert call(fail(CORRUPT), "GET", "/x", on_damage=seen.append).status == 500
    assert seen == ["abc"]
