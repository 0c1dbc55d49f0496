"""Thousands of connections that ask nothing: others are answered, and each costs little."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer, chat
from tests.conformance.raw import build, connect

CONNECTIONS = 2000
SPARE = 200
# What is printed is far below; this is for machines whose allocators do otherwise.
MOST_BYTES = 64 * 1024


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many open files as this needs, for the test and for the server that it starts."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + SPARE:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + SPARE), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.usefixtures("descriptors")
def test_idle_connections(tmp_path: Path, make_server: Callable[..., ServerProcess]) -> None:
    with ModelServer() as upstream, contextlib.ExitStack() as stack:
        config = tmp_path / "gateway.toml"
        config.write_text(f'[[models]]\nname = "m"\nupstreams = [{{ url = "{upstream.url}" }}]\n')
        server = make_server("--config", str(config))
        files = Path(f"/proc/{server.process.pid}/fd")
        asking = httpx.Client(base_url=server.url, trust_env=False, timeout=30)
        stack.enter_context(asking)

        def answered() -> bytes:
            return asking.post("/v1/chat/completions", json={"model": "m"}).content

        for _ in range(50):
            assert answered() == chat("hi")
        before, fresh = server.rss_bytes() or 0, sum(1 for _ in files.iterdir())
        for _ in range(CONNECTIONS):
            link = stack.enter_context(connect(server.url))
            # Each was used once: a connection that has buffers.
            link.sendall(build("GET", "/health/live"))
            assert link.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert sum(1 for _ in files.iterdir()) >= fresh + CONNECTIONS
        each = ((server.rss_bytes() or 0) - before) / CONNECTIONS
        print(f"{each / 1024:.1f} KiB for each of {CONNECTIONS} idle connections")
        assert each < MOST_BYTES
        for _ in range(50):
            assert answered() == chat("hi")
        stack.close()
        fresh += 2  # that of the last question, and perhaps one more to the upstream
        for _ in range(1000):
            if sum(1 for _ in files.iterdir()) <= fresh:
                break
            server.process.poll()
            httpx.get(f"{server.url}/health/live", trust_env=False)
        assert sum(1 for _ in files.iterdir()) <= fresh
