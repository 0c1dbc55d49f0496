"""The ASGI application: one request in, one answer out, one line in the access log.

It runs handlers (coroutines on the loop, plain functions in worker threads), turns their errors into answers,
and streams bodies. What it guarantees about a streamed body: it is pulled no faster than the client reads, it
is dropped when the client leaves, an error before the first byte becomes an ordinary error answer, and an
error after it breaks the connection, so that a client never takes a part for the whole.

Two facts about Granian that this relies on, both tested: a response whose last message never comes is cut off, with
`content-length` and with chunks; and `send` to a client that left does not fail, so `receive` has to be watched.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeAlias

from xetway.errors import RequestError, StoreCorruptionError
from xetway.http.access import Line
from xetway.http.access import logger as access_log
from xetway.http.cors import Cors
from xetway.http.errors import as_xetway_error, describe, error_response
from xetway.http.origins import check_host, check_origin
from xetway.http.request import Receive, Request, Scope
from xetway.http.response import AnyResponse, Piece, PieceReader, Response, StreamResponse
from xetway.http.router import Router
from xetway.http.threads import run, use_pool_for

Send: TypeAlias = Callable[[dict[str, Any]], Awaitable[None]]

MAX_HEADER_BYTES = 64 * 1024
# What is still read of a refused body, so that the client sees the refusal and not a reset: a xorb's worth.
_DRAIN_BYTES = 128 * 1024 * 1024
_DRAIN_S = 30.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A client that takes nothing for so long is cut off; it can resume. The time-out of clients' own reads is the same.
SEND_IDLE_S = 300.0
_NO_BODY = frozenset({204, 304})
# Instead of a piece: the client has left.
_LEFT: Piece = []


class _Outcome:
    """What the access log says about one request."""

    __slots__ = ("failure", "note", "sent_bytes", "status")

    def __init__(self) -> None:
        self.status = 0
        self.sent_bytes = 0
        self.note = ""
        # What went wrong if that is the server's own, not the client's.
        self.failure: BaseException | None = None


class Application:
    """An ASGI 3 application for HTTP and lifespan events.

    `local_only` says that just this machine reaches it, by address or as localhost; see `http.origins`.
    `on_damage` is told the name of each xorb that could not be read (blocking, in a worker thread).
    All of `on_start` are called by `start`, beside each other, and of `on_stop` by `close`.
    """

    def __init__(
        self,
        router: Router,
        *,
        public_url: str | None = None,
        local_only: bool = False,
        cors: Cors | None = None,
        on_damage: Callable[[str], None] | None = None,
        on_start: Iterable[Callable[[], Coroutine[Any, Any, None]]] = (),
        on_stop: Iterable[Callable[[], None]] = (),
    ) -> None:
        self._router = router
        self._public_url = public_url
        self._local_only = local_only
        self._cors = cors
        self._on_damage = on_damage
        self._on_start = tuple(on_start)
        self._on_stop = tuple(on_stop)
        self._active: set[asyncio.Task[Any]] = set()
        self._stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        self._active.add(task)
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._active.discard(task)

    async def start(self) -> None:
        """Do what is to be done besides answering requests, once they are answered; may take long."""
        async with asyncio.TaskGroup() as group:
            for begin in self._on_start:
                group.create_task(begin())

    def abort(self) -> int:
        """Cut off the requests that are still being answered, whether or not somebody waits; returns how many."""
        self._stopping = True
        for task in self._active:
            task.cancel()
        return len(self._active)

    async def wait(self) -> None:
        """Wait for the requests that are still being answered."""
        if self._active:
            await asyncio.wait(set(self._active))

    def close(self) -> None:
        """Let go of what outlives requests, after the last one."""
        for end in self._on_stop:
            end()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive, self._public_url)
        outcome = _Outcome()
        if self._cors is not None:
            send = self._cors.telling(request, send)
        try:
            await self._exchange(request, send, outcome)
        except asyncio.CancelledError:
            outcome.note = " aborted"
            raise
        finally:
            _log(request, outcome, (time.perf_counter() - started) * 1000)
            # Its traceback leads back here: what it holds of the body would stay until it is collected.
            outcome.failure = None

    async def _exchange(self, request: Request, send: Send, outcome: _Outcome) -> None:
        try:
            response = await self._respond(request)
            if isinstance(response, StreamResponse):
                body = _pieces(response.pieces)
                waits = request.method != "HEAD" and not response.at_once
                first = await anext(body, []) if waits else []
                await _settle(request)
                await self._stream(request, response, body, first, send, outcome)
                return
        except (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001  (a Rust panic is a BaseException)
            failure = _failure(request, error, outcome)
            await self._report(request, error)
            if failure is None:
                return
            response = failure
        await _settle(request)
        await self._whole(request, response, send, outcome)

    async def _report(self, request: Request, error: BaseException) -> None:
        if self._on_damage is None or not isinstance(error, StoreCorruptionError) or error.xorb is None:
            return
        try:
            await run(self._on_damage, error.xorb)
        except Exception as other:  # noqa: BLE001  (the answer to the client matters more)
            access_log.error("damage not recorded: %s id=%s", describe(other), request.request_id)

    async def _respond(self, request: Request) -> AnyResponse:
        if request.header_bytes > MAX_HEADER_BYTES:
            raise RequestError(
                f"the headers are larger than {MAX_HEADER_BYTES} bytes", code="headers_too_large", status=431
            )
        if self._local_only:
            check_host(request)
        if self._cors is None:
            check_origin(request)
        elif (told := self._cors.check(request)) is not None:
            return told
        handler, request.params = self._router.match(request.method, request.raw_path)
        use_pool_for(request.method)
        if inspect.iscoroutinefunction(handler):
            answer: AnyResponse = await handler(request)
            return answer
        return await run(handler, request)  # type: ignore[arg-type]

    @staticmethod
    async def _whole(request: Request, response: Response, send: Send, outcome: _Outcome) -> None:
        headers = response.headers
        if response.status not in _NO_BODY and not any(name == "content-length" for name, _ in headers):
            headers = [*headers, ("content-length", str(len(response.body)))]
        body = b"" if request.method == "HEAD" else response.body
        outcome.status = response.status
        await send(_start(request, response.status, headers))
        await send({"type": "http.response.body", "body": body, "more_body": False})
        outcome.sent_bytes = len(body)

    @staticmethod
    async def _stream(
        request: Request,
        response: StreamResponse,
        body: AsyncIterator[Piece],
        piece: Piece,
        send: Send,
        outcome: _Outcome,
    ) -> None:
        headers = response.headers
        if response.length is not None:
            headers = [*headers, ("content-length", str(response.length))]
        outcome.status = response.status
        await send(_start(request, response.status, headers))
        if request.method == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if len(piece) == 1 and len(piece[0]) == response.length:
            await send({"type": "http.response.body", "body": piece[0], "more_body": False})
            outcome.sent_bytes = response.length
            return
        loop = asyncio.get_running_loop()
        left = asyncio.create_task(request.client_leaves())
        try:
            if response.at_once:
                piece = await _next(response, left, body)
            while piece:
                async with asyncio.timeout(SEND_IDLE_S) as idle:
                    for part in piece:
                        await send({"type": "http.response.body", "body": part, "more_body": True})
                        if left.done() and outcome.sent_bytes + len(part) != response.length:
                            outcome.note = " client left"
                            return
                        outcome.sent_bytes += len(part)
                        idle.reschedule(loop.time() + SEND_IDLE_S)
                piece.clear()
                piece = await _next(response, left, body)
            if piece is _LEFT and outcome.sent_bytes != response.length:
                outcome.note = " client left"
                return
            if response.length is not None and outcome.sent_bytes != response.length:
                raise RuntimeError(f"{outcome.sent_bytes} bytes were produced instead of {response.length}")
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            left.cancel()
            await _close(body)


def _log(request: Request, outcome: _Outcome, duration_ms: float) -> None:
    """Write the request's one line: as an error if the server failed, and not at all for those who watch its health."""
    level = logging.INFO
    if outcome.failure is not None:
        level = logging.ERROR
    elif outcome.status == 200 and request.raw_path == b"/health":
        level = logging.DEBUG
    if not access_log.isEnabledFor(level):
        return
    access_log.log(
        level,
        Line(request, outcome.status, outcome.sent_bytes, duration_ms, outcome.note),
        exc_info=outcome.failure if access_log.isEnabledFor(logging.DEBUG) else None,
    )


def _failure(request: Request, error: BaseException, outcome: _Outcome) -> Response | None:
    """Note what went wrong and give the answer that tells it; None when an answer has begun already."""
    told = as_xetway_error(error)
    request.notes["error"] = told.code
    if outcome.status:
        outcome.failure, outcome.note = error, f" transfer broken off: {describe(error)}"
        return None
    if told.status >= 500:
        outcome.failure, outcome.note = error, f" request failed: {describe(error)}"
    else:
        outcome.note = f" {told.code}"
    return (request.tell or error_response)(told)


async def _pieces(source: PieceReader | AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """Pull the next piece only when asked; a blocking source is read in a worker thread."""
    if isinstance(source, PieceReader):
        while piece := await run(source.read_parts):
            yield piece
        return
    try:
        async for piece in source:
            yield piece
    finally:
        await _close(source)


async def _next(response: StreamResponse, left: asyncio.Task[None], body: AsyncIterator[Piece]) -> Piece:
    """Pull the next piece; `_LEFT` if the client leaves first, and then nobody waits for the piece any more.

    That is for pieces that come from elsewhere, and may take long. One from the disk is not worth a task of its own.
    """
    if isinstance(response.pieces, PieceReader):
        return await anext(body, [])

    async def pull() -> Piece:
        return await anext(body, [])

    piece = asyncio.create_task(pull())
    try:
        await asyncio.wait({piece, left}, return_when=asyncio.FIRST_COMPLETED)
        return piece.result() if piece.done() else _LEFT
    finally:
        if not piece.done():
            piece.cancel()
            await asyncio.wait({piece})


async def _close(source: AsyncIterator[Piece]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


async def _settle(request: Request) -> None:
    """Take in a body that the handler left, within limits."""
    if request.has_body:
        await request.drain(_DRAIN_BYTES, _DRAIN_S)


def _start(request: Request, status: int, headers: list[tuple[str, str]]) -> dict[str, Any]:
    named = [
        *headers,
        ("x-request-id", request.request_id),
        ("x-content-type-options", "nosniff"),
        ("server", "xetway"),
    ]
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode("latin-1"), _header_value(value)) for name, value in named],
    }


def _header_value(value: str) -> bytes:
    """Encode a value so that it is one header, whatever a name in it holds."""
    return _CONTROL.sub(" ", value).encode("latin-1", "replace")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
