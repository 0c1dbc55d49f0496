"""Clients that stay are never taken for gone, whenever their answer comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from raw_client import Link, request
from server_process import ServerProcess

from tests.conformance.model_server import Asked, ModelServer, Write

EVENT = b"data: " + b"x" * 5_000 + b"\n\n"
EVENTS = 20


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    def late(_: Asked, write: Write) -> None:
        # As long as the gateway waits before it looks whether a client is still there.
        time.sleep(0.022)
        write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(EVENTS):
            write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
        write(b"0\r\n\r\n")

    with ModelServer(late) as server:
        yield server


@pytest.fixture
def gateway(upstream: ModelServer, tmp_path: Path, make_server: Callable[..., ServerProcess]) -> ServerProcess:
    config = tmp_path / "gateway.toml"
    config.write_text(f'[[models]]\nname = "m"\nupstreams = [{{ url = "{upstream.url}" }}]\n')
    return make_server("--config", str(config))


def test_streams_that_begin_late_come_to_their_end(gateway: ServerProcess) -> None:
    async def ask(times: int) -> list[tuple[bool, int]]:
        link = Link(gateway.url)
        message = request("POST", "/v1/chat/completions", {}, b'{"model":"m","stream":true}')
        found = [await link.ask(message) for _ in range(times)]
        link.close()
        return [(answer.complete, len(answer.body)) for answer in found]

    async def all_ask() -> set[tuple[bool, int]]:
        answers = await asyncio.gather(*(ask(100) for _ in range(12)))
        await asyncio.sleep(0)
        return {answer for some in answers for answer in some}

    assert asyncio.run(all_ask()) == {(True, EVENTS * len(EVENT))}
    assert "client left" not in gateway.log
