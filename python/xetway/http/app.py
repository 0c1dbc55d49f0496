"""The ASGI application: one request in, one answer out, one line in the access log.

It runs handlers (coroutines on the loop, plain functions in worker threads), turns their errors into answers,
and streams bodies. What it guarantees about a streamed body: it is pulled no faster than the client reads, it
is dropped when the client leaves, an error before the first byte becomes an ordinary error answer, and an
error after it breaks the connection, so that a client never takes a part for the whole.

A fact about Granian that this relies on, and tests: a response whose last message never comes is cut off, with
`content-length` and with chunks.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from functools import cache
from typing import Any

from xetway.errors import RequestError, StoreCorruptionError
from xetway.http.access import Line, write
from xetway.http.access import logger as access_log
from xetway.http.cors import Cors
from xetway.http.delayed import Delayed
from xetway.http.errors import as_xetway_error, describe, error_response
from xetway.http.origins import check_host, check_origin
from xetway.http.request import BODY_IDLE_S, Receive, Request, Scope
from xetway.http.response import AnyResponse, Piece, PieceReader, Response, StreamResponse
from xetway.http.router import Router
from xetway.http.sending import Send, Sending
from xetway.http.threads import run, use_pool_for
from xetway.http.tracing import Tracer
from xetway.settings import Settings

_is_coroutine = cache(inspect.iscoroutinefunction)

MAX_HEADER_BYTES = 64 * 1024
# What is still read of a refused body, so that the client sees the refusal and not a reset: a xorb's worth.
_DRAIN_BYTES = 128 * 1024 * 1024
_DRAIN_S = 30.0
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# A client that takes nothing for so long is cut off; it can resume. The time-out of clients' own reads is the same.
SEND_IDLE_S = 300.0
_NO_BODY = frozenset({204, 304})
_ALWAYS_TOLD = ((b"x-content-type-options", b"nosniff"), (b"server", b"xetway"))


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
    All of `on_start` are called by `start`, beside each other, of `on_drain` by `drain`, and of `on_stop` by `close`.
    `on_change` makes another router of changed settings. `tracer` begins the trace of each request.
    """

    def __init__(
        self,
        router: Router,
        *,
        public_url: str | None = None,
        local_only: bool = False,
        cors: Cors | None = None,
        max_header_bytes: int = MAX_HEADER_BYTES,
        body_idle_s: float = BODY_IDLE_S,
        on_damage: Callable[[str], None] | None = None,
        on_start: Iterable[Callable[[], Coroutine[Any, Any, None]]] = (),
        on_drain: Iterable[Callable[[], None]] = (),
        on_stop: Iterable[Callable[[], Awaitable[None] | None]] = (),
        on_change: Callable[[Settings], tuple[Router, Cors | None]] | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._router = router
        self._public_url = public_url
        self._local_only = local_only
        self._cors = cors
        self._max_header_bytes = max_header_bytes
        self._body_idle_s = body_idle_s
        self._on_damage = on_damage
        self._on_start = tuple(on_start)
        self._on_drain = tuple(on_drain)
        self._on_stop = tuple(on_stop)
        self._on_change = on_change
        self._tracer = tracer
        self._active: dict[asyncio.Task[Any], tuple[str, str | int] | None] = {}
        self._stopping = False
        self._unsent = Delayed(SEND_IDLE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection scope."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        self._active[task] = scope.get("client")
        try:
            await self._serve(scope, receive, send)
        except asyncio.CancelledError:
            if not self._stopping:
                raise
        finally:
            self._active.pop(task, None)

    async def start(self) -> None:
        """Do what is to be done besides answering requests, once they are answered; may take long."""
        async with asyncio.TaskGroup() as group:
            for begin in self._on_start:
                group.create_task(begin())

    def configure(self, settings: Settings) -> None:
        """Answer the requests that come from now on by other settings, as far as that is possible while running.

        Raises:
            ConfigError: They cannot be used; then nothing changes.
        """
        if self._on_change is not None:
            self._router, self._cors = self._on_change(settings)

    def drain(self) -> None:
        """Prepare for the end: requests that run are still answered, and others should go elsewhere."""
        for prepare in self._on_drain:
            prepare()

    @property
    def is_busy(self) -> bool:
        """Whether requests are being answered."""
        return bool(self._active)

    def clients(self) -> set[tuple[str, int]]:
        """Addresses and ports of those who wait for an answer."""
        return {(host, int(port)) for host, port in filter(None, self._active.values())}

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

    async def close(self) -> None:
        """Let go of what outlives requests, after the last one."""
        for end in self._on_stop:
            ending = end()
            if ending is not None:
                await ending

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        request = Request(scope, receive, self._public_url, body_idle_s=self._body_idle_s)
        outcome = _Outcome()
        if self._cors is not None:
            send = self._cors.telling(request, send)
        if self._tracer is not None:
            request.trace = self._tracer(request)
        try:
            await self._exchange(request, send, outcome)
        except asyncio.CancelledError:
            outcome.note = " aborted"
            raise
        finally:
            request.forget()
            _log(request, outcome, (time.perf_counter() - started) * 1000)
            if request.trace is not None:
                request.trace.end(request, outcome.status, failed=outcome.failure is not None)
            # Its traceback leads back here: what it holds of the body would stay until it is collected.
            outcome.failure = None

    async def _exchange(self, request: Request, send: Send, outcome: _Outcome) -> None:
        try:
            response = await self._respond(request)
            if isinstance(response, StreamResponse):
                source = response.pieces
                body = _read(source) if isinstance(source, PieceReader) else source
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
        if request.header_bytes > self._max_header_bytes:
            raise RequestError(
                f"the headers are larger than {self._max_header_bytes} bytes", code="headers_too_large", status=431
            )
        if self._local_only:
            check_host(request)
        if self._cors is None:
            check_origin(request)
        elif (told := self._cors.check(request)) is not None:
            return told
        handler, request.params = self._router.match(request.method, request.raw_path)
        use_pool_for(request.method)
        if _is_coroutine(handler):
            answer: AnyResponse = await handler(request)  # type: ignore[misc]
            return answer
        return await run(handler, request)  # type: ignore[arg-type]

    @staticmethod
    async def _whole(request: Request, response: Response, send: Send, outcome: _Outcome) -> None:
        length: int | None = len(response.body)
        if response.status in _NO_BODY or (response.headers and "content-length" in dict(response.headers)):
            length = None
        body = b"" if request.method == "HEAD" else response.body
        outcome.status = response.status
        await send(_start(request, response, length))
        await send({"type": "http.response.body", "body": body, "more_body": False})
        outcome.sent_bytes = len(body)

    async def _stream(
        self,
        request: Request,
        response: StreamResponse,
        body: AsyncIterator[Piece],
        piece: Piece,
        send: Send,
        outcome: _Outcome,
    ) -> None:
        outcome.status = response.status
        await send(_start(request, response, response.length))
        if request.method == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        if len(piece) == 1 and len(piece[0]) == response.length:
            await send({"type": "http.response.body", "body": piece[0], "more_body": False})
            outcome.sent_bytes = response.length
            return
        sending = Sending(request, send, response.length, self._unsent)
        try:
            await sending.run(piece, body, is_slow=body is response.pieces)
        finally:
            outcome.sent_bytes = sending.sent_bytes
            if sending.left:
                outcome.note = " client left"
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
    line = Line(request, outcome.status, outcome.sent_bytes, duration_ms, outcome.note)
    failure = outcome.failure if outcome.failure is not None and access_log.isEnabledFor(logging.DEBUG) else None
    write(level, line, failure)


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


async def _read(source: PieceReader) -> AsyncIterator[Piece]:
    """Pull the next piece only when asked, in a worker thread."""
    while piece := await run(source.read_parts):
        yield piece


async def _close(source: AsyncIterator[Piece]) -> None:
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


async def _settle(request: Request) -> None:
    """Take in a body that the handler left, within limits."""
    if request.has_body:
        await request.drain(_DRAIN_BYTES, _DRAIN_S)


def _start(request: Request, response: AnyResponse, length: int | None) -> dict[str, Any]:
    headers = [(name.encode("latin-1"), _header_value(value)) for name, value in response.headers]
    headers += response.raw_headers
    if length is not None:
        headers.append((b"content-length", b"%d" % length))
    headers.append((b"x-request-id", request.request_id.encode()))
    headers += _ALWAYS_TOLD
    return {"type": "http.response.start", "status": response.status, "headers": headers}


def _header_value(value: str) -> bytes:
    """Encode a value so that it is one header, whatever a name in it holds."""
    return _CONTROL.sub(" ", value).encode("latin-1", "replace")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
