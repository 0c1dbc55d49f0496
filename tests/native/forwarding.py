"""Asking by way of a forwarder, and answering in streams."""

import asyncio

from xetway._native import Forwarder

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def send(upstream, body=b"{}", path=b"/v1/x", headers=(), **options):
    """Ask; what is not said is generous."""
    times = {"first_byte_timeout_s": 20.0, "idle_timeout_s": 20.0, "total_timeout_s": 25.0}
    extra = options.pop("extra", None)
    return Forwarder().send(upstream, "POST", path, list(headers), body, extra=extra, **{**times, **options})


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


async def read_all(answer):
    pieces = []
    while piece := await answer.read():
        pieces.append(piece)
    return pieces


def streaming(*pieces, end=b"0\r\n\r\n"):
    """Answer with a stream of these pieces, each followed by a wait for the semaphore."""

    async def answer(asked):
        asked.writer.write(CHUNKED)
        for piece in pieces:
            asked.writer.write(chunk(piece))
            await asked.writer.drain()
            await go.acquire()
        asked.writer.write(end)
        await asked.writer.drain()

    go = asyncio.Semaphore(0)
    return answer, go
