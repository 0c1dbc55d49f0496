"""Streams that are forwarded: their order and their end, who goes away, and who does not read."""

import asyncio
import gc

import pytest

from tests.native.forwarding import CHUNKED, chunk, read_all, send, streaming
from tests.native.loopback import serving
from xetway import errors
from xetway._native import Upstream


def test_what_is_read_is_the_stream_in_order():
    events = [f"data: {number}\n\n".encode() for number in range(2000)]

    async def answer(asked):
        asked.writer.write(CHUNKED + b"".join(chunk(event) for event in events[:1000]))
        await go.wait()
        for event in events[1000:]:
            asked.writer.write(chunk(event))
            await asked.writer.drain()
        asked.writer.write(b"0\r\n\r\n")

    go = asyncio.Event()

    async def main():
        async with serving(answer) as server:
            made = await send(Upstream(server.url))
            assert made.body is None
            first = await made.read()
            assert made.events > 0
            go.set()
            pieces = [first, *await read_all(made)]
            assert await made.read() == b""
            return made, pieces

    made, pieces = asyncio.run(main())
    assert {type(piece) for piece in pieces} == {bytes}
    assert b"".join(pieces) == b"".join(events)
    assert max(map(len, pieces)) <= 65_536
    # What had come was taken at once, not event by event.
    assert len(pieces) < 1500
    assert (type(made.events), made.events) == (int, 2000)
    assert (type(made.tail), made.tail) == (bytes, b"".join(events)[-4096:])
    assert 0 < made.first_byte_s < 20
    assert not [name for name, _ in made.headers if name in {b"transfer-encoding", b"content-length"}]


def test_events_that_end_with_carriage_returns():
    async def main():
        answer, go = streaming(b"data: 1\r\n\r\ndata: 2\r\n", b"\r\n: a\n\ndata: 3\n")
        async with serving(answer) as server:
            made = await send(Upstream(server.url))
            assert await made.read() == b"data: 1\r\n\r\ndata: 2\r\n"
            assert made.events == 1
            go.release()
            go.release()
            await read_all(made)
            return made.events

    assert asyncio.run(main()) == 3


@pytest.mark.parametrize("end", [b"", b"0\r\n"], ids=["no end", "half an end"])
def test_a_stream_that_breaks_never_ends_well(end):
    async def main():
        answer, go = streaming(b"data: 1\n\n", end=end)
        async with serving(answer) as server:
            made = await send(Upstream(server.url))
            go.release()
            assert await made.read() == b"data: 1\n\n"
            with pytest.raises(errors.TransportError) as caught:
                await made.read()
            with pytest.raises(errors.TransportError):
                await made.read()
            return caught.value

    error = asyncio.run(main())
    assert (error.code, error.status, error.retryable) == ("connection_cut", 502, False)


@pytest.mark.parametrize(
    ("framing", "told"),
    [
        (b"", True),
        (b"Connection: close\r\n", True),
        (b"Content-Length: 3\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
    ],
)
def test_an_answer_says_whether_only_its_connection_ends_it(framing, told):
    async def main():
        async def answer(asked):
            body = b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in framing else b"abc"
            asked.writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n" + body)
            asked.writer.close()

        async with serving(answer) as server:
            made = await send(Upstream(server.url))
            assert (made.body or b"".join(await read_all(made))) == b"abc"
            return made.until_close

    assert asyncio.run(main()) is told


def gone_after(leave):
    """Let `leave(answer)` go away from a stream after one event; returns once the server has noticed."""
    gone = asyncio.Event()

    async def answer(asked):
        asked.writer.write(CHUNKED + chunk(b"data: 1\n\n"))
        await asked.wait_for_disconnect()
        gone.set()

    async def main():
        async with serving(answer) as server:
            upstream = Upstream(server.url)
            made = await send(upstream)
            assert await made.read() == b"data: 1\n\n"
            await leave(made)
            del made
            gc.collect()
            await gone.wait()
            assert upstream.idle_connections == 0

    asyncio.run(main())


def test_cancelling_before_the_answer():
    started, gone = asyncio.Event(), asyncio.Event()

    async def answer(asked):
        started.set()
        await asked.wait_for_disconnect()
        gone.set()

    async def main():
        async with serving(answer) as server:
            future = send(Upstream(server.url))
            await started.wait()
            assert future.cancel()
            await gone.wait()
            assert future.cancelled()

    asyncio.run(main())


def test_cancelling_a_read():
    async def leave(made):
        reading = made.read()
        reading.cancel()
        await asyncio.sleep(0)
        with pytest.raises(errors.StateError, match="is closed"):
            await made.read()

    gone_after(leave)


def test_closing():
    async def leave(made):
        reading = made.read()
        with pytest.raises(errors.StateError, match="being read already"):
            made.read().result()
        made.close()
        made.close()
        with pytest.raises(errors.StateError, match="is closed"):
            await reading
        with pytest.raises(errors.StateError, match="is closed"):
            await made.read()

    gone_after(leave)


def test_dropping():
    async def leave(_):
        pass

    gone_after(leave)


def test_who_does_not_read_stops_the_upstream():
    sent, piece, pieces = 0, bytes(64 * 1024), 1024

    async def answer(asked):
        nonlocal sent
        asked.writer.write(CHUNKED)
        for _ in range(pieces):
            asked.writer.write(chunk(piece))
            await asked.writer.drain()
            sent += len(piece)
        asked.writer.write(b"0\r\n\r\n")
        await asked.writer.drain()

    async def main():
        async with serving(answer) as server:
            made = await send(Upstream(server.url))
            before = -1
            # Until it moves no more: full are our buffer, and those of the system.
            while before != sent:
                before = sent
                await asyncio.sleep(0.3)
            stopped_at, total = sent, 0
            while data := await made.read():
                total += len(data)
            return stopped_at, total

    stopped_at, total = asyncio.run(main())
    assert stopped_at < len(piece) * pieces // 2
    assert total == len(piece) * pieces
