"""What the gateway counts is what clients were given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer, exact

EVENTS = b'data: {"usage":{"prompt_tokens":5,"completion_tokens":2}}\n\ndata: [DONE]\n\n'
CHUNKED = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def gateway(upstream: ModelServer, tmp_path: Path, make_server: Callable[..., ServerProcess]) -> ServerProcess:
    config = tmp_path / "gateway.toml"
    config.write_text(f'[[models]]\nname = "m"\nupstreams = [{{ url = "{upstream.url}" }}]\n')
    return make_server("--config", str(config))


def metrics(server: ServerProcess) -> list[str]:
    return httpx.get(f"{server.url}/metrics", trust_env=False).text.splitlines()


def test_a_short_stream_that_comes_at_once(gateway: ServerProcess, upstream: ModelServer) -> None:
    upstream.manner = exact(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(EVENTS), EVENTS), then="keep")
    got = httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "m", "stream": True}, trust_env=False)
    assert got.content == EVENTS
    found = metrics(gateway)
    assert 'xetway_tokens_total{model="m",kind="prompt"} 5' in found
    assert 'xetway_tokens_total{model="m",kind="answer"} 2' in found
