"""The gateway stops, or is killed, and starts again on its port while its clients go on asking."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import httpx
import pytest
from server_process import ServerProcess, run_xetway

from tests.conformance.model_server import Asked, ModelServer, Write, answer, chat
from tests.conformance.raw import Answer, build, exchange

ADMIN = "the-key-of-the-administrator"
CONFIG = """
[auth]
enabled = false
[[auth.keys]]
name = "root"
key = "{key}"
scopes = ["infer", "admin"]
[[models]]
name = "m"
upstreams = [{{ url = "{url}" }}]
"""
BODY = b'{"model":"m"}'
REQUEST = build("POST", "/v1/chat/completions", "Connection: close", f"Content-Length: {len(BODY)}", body=BODY)
CLIENTS = 8


class Crowd:
    """Clients that ask again and again; `seen` counts what became of it."""

    def __init__(self, url: str) -> None:
        self.seen: Counter[str] = Counter()
        self._url = url
        self._done = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def _ask(self) -> None:
        while not self._done.is_set():
            found: Answer | None = None
            with contextlib.suppress(ConnectionError, TimeoutError):
                found = exchange(self._url, REQUEST)
            if found is None or not found.raw:
                self.seen["no answer"] += 1
                self._done.wait(0.01)
            elif (found.status, found.complete, found.body) == (200, True, chat("right")):
                self.seen["right"] += 1
            else:
                self.seen[f"{found.status} {found.complete}"] += 1

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many more were answered."""
        enough = self.seen["right"] + more
        for _ in range(3000):
            if self.seen["right"] >= enough:
                return
            time.sleep(0.01)
        raise AssertionError(f"no {more} answers in 30 s: {self.seen}")


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    def slowly(asked: Asked, write: Write) -> None:
        time.sleep(0.03)
        answer(chat("right"))(asked, write)

    with ModelServer(slowly) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, upstream: ModelServer) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG.format(url=upstream.url, key=ADMIN))
    (tmp_path / "data").mkdir()
    return path


def start(config: Path, port: int = 0) -> ServerProcess:
    return ServerProcess(config.parent / "data", "--config", str(config), home=config.parent, port=port)


def port_of(server: ServerProcess) -> int:
    return int(server.url.rpartition(":")[2])


def test_what_was_begun_is_answered_before_the_end(config: Path, upstream: ModelServer) -> None:
    server = start(config)
    with Crowd(server.url) as crowd:
        for _ in range(3):
            crowd.wait_for(20)
            assert server.stop() == 0
            assert "Traceback" not in server.log
            server = start(config, port_of(server))
        crowd.wait_for(20)
    server.stop()
    print(crowd.seen)
    assert set(crowd.seen) <= {"right", "no answer"}
    # Nobody worked for an answer that did not arrive.
    assert crowd.seen["right"] == len(upstream.asked)


def test_what_was_acknowledged_outlives_a_kill(config: Path) -> None:
    server = start(config)
    made: list[dict[str, str]] = []

    def generate(url: str) -> None:
        asking = httpx.Client(base_url=url, trust_env=False, headers={"x-api-key": ADMIN}, timeout=30)
        with asking as client, contextlib.suppress(httpx.TransportError):
            while True:
                made.append(client.post("/admin/keys/generate", json={"name": "app"}).raise_for_status().json())

    with Crowd(server.url) as crowd:
        for _ in range(3):
            threads = [threading.Thread(target=generate, args=(server.url,)) for _ in range(3)]
            for thread in threads:
                thread.start()
            known = len(made)
            while len(made) < known + 5:
                crowd.wait_for(5)
            server.kill()
            for thread in threads:
                thread.join()
            began = time.monotonic()
            server = start(config, port_of(server))
            print(f"started again after {time.monotonic() - began:.2f} s")
        crowd.wait_for(20)
    assert set(crowd.seen) <= {"right", "no answer"}
    for key in made:
        got = httpx.get(f"{server.url}/v1/models", headers={"x-api-key": key["api_key"]}, trust_env=False)
        assert got.status_code == 200
    server.stop()
    listed = run_xetway(server.data, "key", "list").stdout
    told = run_xetway(server.data, "key", "log").stdout
    for key in made:
        assert key["key_id"] in listed
        assert key["key_id"] in told
