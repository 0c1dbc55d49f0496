"""A server with odd routes, for test_transfers.py: `python transfers_app.py DATA` serves until SIGTERM.

The real `serve`, the real application; only the routes are made up.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from xetway.errors import AuthError, StoreCorruptionError
from xetway.http.app import Application
from xetway.http.ranges import file_response
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Piece, Response, StreamResponse, json_response, parts_of
from xetway.http.router import Router
from xetway.listening import listen_exclusively
from xetway.serve import answer, configure_logging, leave
from xetway.settings import Settings
from xetway.siblings import Siblings
from xetway.web import pages
from xetway.workers import Workers

PIECE = bytes(256 * 1024)


class Zeros:
    """Zeros without end; counts what was taken, fails where told, says when it is dropped."""

    taken = 0
    open = 0
    waiting = 0
    lock = threading.Lock()

    def __init__(self, size: int, fail_at: int | None = None) -> None:
        self._left = size
        self._fail_at = fail_at
        self._size = size
        with Zeros.lock:
            Zeros.taken = 0
            Zeros.open += 1

    def __del__(self) -> None:
        with Zeros.lock:
            Zeros.open -= 1

    def read_parts(self) -> Piece:
        if self._fail_at is not None and self._size - self._left >= self._fail_at:
            raise StoreCorruptionError("chunk 3 of xorb 00ff does not match its hash", xorb="00ff", chunk=3)
        piece = PIECE[: min(len(PIECE), self._left)]
        self._left -= len(piece)
        with Zeros.lock:
            Zeros.taken += len(piece)
        return parts_of(piece)


def zeros(request: Request) -> AnyResponse:
    size = int(request.params["size"])
    return file_response(request, size=size, etag="zeros", open_range=lambda start, end: Zeros(end - start))


def broken(request: Request) -> AnyResponse:
    fail_at = int(request.params["at"])
    length = 10_000_000 if request.query_one("length") else None
    return StreamResponse(200, [], length, Zeros(10_000_000, fail_at))


async def frames(_request: Request) -> AnyResponse:
    async def make() -> AsyncIterator[Piece]:
        for number in range(5):
            yield [b"%d\n" % number]
            await asyncio.sleep(0.05)

    return StreamResponse(200, [("content-type", "application/x-ndjson")], None, make())


async def count(request: Request) -> Response:
    total = 0
    async for piece in request.pieces(1 << 30):
        total += len(piece)
    return json_response(total)


def refuse(_request: Request) -> Response:
    raise AuthError("no token")


def state(_request: Request) -> Response:
    return json_response({"taken": Zeros.taken, "open": Zeros.open, "waiting": Zeros.waiting})


def wait(request: Request) -> Response:
    Zeros.waiting += 1
    time.sleep(float(request.params["seconds"]))
    return json_response("done")


def main() -> None:
    router = Router([pages.HEALTH])
    router.add("GET|HEAD", "/zeros/{size}", zeros)
    router.add("GET", "/broken/{at}", broken)
    router.add("GET", "/frames", frames)
    router.add("POST", "/count", count)
    router.add("POST", "/refuse", refuse)
    router.add("GET", "/state", state)
    router.add("GET", "/wait/{seconds}", wait)
    configure_logging("info", "text")
    with listen_exclusively("127.0.0.1", 0) as held:
        settings = Settings(data=Path(sys.argv[1]), port=held.getsockname()[1])

        def ready() -> None:
            print(f"xetway listening on http://127.0.0.1:{settings.port}", flush=True)

        leave(asyncio.run(answer(Application(router), settings, held, ready, Workers(settings, Siblings()))))


if __name__ == "__main__":
    main()
