"""Sending a body piece by piece: to clients that take nothing, that leave, and when somebody else ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.unit import virtual_time
from tests.unit.http_driver import Client, request
from xetway.http.delayed import Delayed
from xetway.http.response import Piece
from xetway.http.sending import Sending


async def never(_message: dict[str, Any]) -> None:
    await asyncio.Event().wait()


async def nothing() -> AsyncIterator[Piece]:
    await asyncio.Event().wait()
    yield []


def test_a_client_that_takes_nothing_is_given_up() -> None:
    async def main(clock: Callable[[], float]) -> None:
        sending = Sending(request(client=Client(())), never, None, Delayed(300.0))
        with pytest.raises(TimeoutError):
            await sending.run([b"piece"], nothing(), is_slow=True)
        assert clock() == 1300.0
        assert sending.sent_bytes == 0
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    virtual_time.run(main)


def test_the_time_of_a_source_is_not_the_clients() -> None:
    async def main(clock: Callable[[], float]) -> None:
        async def late() -> AsyncIterator[Piece]:
            await asyncio.sleep(1000.0)
            yield [b"late"]

        client = Client(())
        sending = Sending(request(client=client), client.send, None, Delayed(300.0))
        await sending.run([b"first "], late(), is_slow=True)
        assert (clock(), sending.sent_bytes, sending.left) == (2000.0, 10, False)
        assert b"".join(message["body"] for message in client.messages) == b"first late"

    virtual_time.run(main)


def test_a_client_that_leaves_ends_the_wait_for_a_slow_source() -> None:
    async def main(clock: Callable[[], float]) -> None:
        closed = asyncio.Event()
        client = Client(())

        async def slow() -> AsyncIterator[Piece]:
            asyncio.get_running_loop().call_later(5.0, client._left.set)
            try:
                await asyncio.Event().wait()
                yield []
            finally:
                closed.set()

        sending = Sending(request(client=client), client.send, None, Delayed(300.0))
        await sending.run([b"piece"], slow(), is_slow=True)
        assert (clock(), sending.sent_bytes, sending.left) == (1005.0, 5, True)
        assert closed.is_set()
        assert client.messages[-1]["more_body"]

    virtual_time.run(main)


def test_whoever_else_ends_it_is_heard() -> None:
    async def main(_clock: Callable[[], float]) -> None:
        sending = Sending(request(client=Client(())), never, None, Delayed(300.0))
        task = asyncio.create_task(sending.run([b"piece"], nothing(), is_slow=True))
        await virtual_time.settle()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    virtual_time.run(main)
