"""Files read from asyncio piece by piece, against a small content store."""

import gc

import pytest

from tests.native.content_store import CONTENT, LONG, client, with_store
from xetway import StateError, errors
from xetway._native import ByteStream, open_download


def test_a_stream():
    async def test(store, _, credentials):
        stream = await open_download(client(), store.file, credentials)
        assert type(stream) is ByteStream
        assert (stream.remaining, stream.proven) == (len(CONTENT), False)
        read = b""
        while piece := await stream.read():
            assert type(piece) is bytes
            read += piece
            assert stream.remaining == len(CONTENT) - len(read)
        assert read == CONTENT
        assert await stream.read() == b""
        stream.close()
        stream.close()

    with_store(test)


def test_a_stream_of_a_part():
    async def test(store, _, credentials):
        stream = await open_download(client(), store.file, credentials, size=len(CONTENT), start=3, end=60_000)
        assert stream.remaining == 59_997
        assert b"".join([piece async for piece in pieces(stream)]) == CONTENT[3:60_000]

    with_store(test)


async def pieces(stream):
    while piece := await stream.read():
        yield piece


def test_the_end_of_a_wrong_file_is_not_given_out():
    async def test(store, _, credentials):
        stream = await open_download(client(), store.file, credentials)
        read = b""
        with pytest.raises(errors.UpstreamIntegrityError) as caught:
            async for piece in pieces(stream):
                read += piece
        assert len(read) < len(CONTENT)
        with pytest.raises(StateError):
            await stream.read()
        return caught.value

    assert with_store(test, lie=CONTENT[:-1] + b"?").code == "upstream_integrity"


def test_one_read_at_a_time():
    async def test(store, _, credentials):
        stream = await open_download(client(stall_window_s=1000.0), store.file, credentials)
        first = stream.read()
        with pytest.raises(StateError, match="being read"):
            stream.read()
        store.go_on.set()
        read = await first
        async for piece in pieces(stream):
            read += piece
        assert read == CONTENT

    with_store(test, pause_after=0)


@pytest.mark.parametrize("way", ["close", "cancel", "forget"])
def test_a_stream_that_is_left_ends_its_connections(way):
    async def test(store, _, credentials):
        stream = await open_download(client(stall_window_s=1000.0), store.file, credentials)
        if way == "forget":
            del stream
            gc.collect()
            assert store.xorb_requests == 0
            return
        reading = stream.read()
        await store.asked.wait()
        if way == "cancel":
            reading.cancel()
        else:
            stream.close()
            with pytest.raises(StateError, match="closed"):
                await reading
        await store.left.wait()
        # The lock of a read that was cancelled is let go by another thread.
        with pytest.raises(StateError):
            await stream.read()

    with_store(test, pause_after=0)


def test_a_stream_that_is_forgotten_after_a_piece():
    async def test(store, _, credentials):
        stream = await open_download(client(stall_window_s=1000.0), store.file, credentials)
        assert await stream.read()
        del stream
        gc.collect()
        await store.left.wait()

    with_store(test, LONG, pause_after=4_000_000)
