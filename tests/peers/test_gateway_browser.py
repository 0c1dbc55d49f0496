"""A page of another origin in a real browser, which lets it do and read what CORS allows and nothing else."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from server_process import ServerProcess

from tests.conformance.model_server import Asked, ModelServer, Write, answer, chat, events
from tests.conftest import finish
from tests.peers.browser import PageServer, browsing, results_of

KEY, NARROW = "a-key-of-the-page-0001", "a-key-of-the-page-0002"
EVENTS = (b"1", b"2", b"[DONE]")
CONFIG = """
limits.enabled = true
[http]
max_body_bytes = 65536
[[models]]
name = "m"
upstreams = [{{ url = "{url}" }}]
[[auth.keys]]
name = "page"
key = "{key}"
scopes = ["infer", "admin"]
[[auth.keys]]
name = "narrow"
key = "{narrow}"
limit = {{ requests_per_minute = 1, burst = 1 }}
"""


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, upstream: ModelServer) -> dict[str, Any]:
    """What the page found, at a server that lets it in and at one that does not."""
    home = tmp_path_factory.mktemp("browser")
    told: queue.Queue[bytes] = queue.Queue()
    read = threading.Semaphore(1)

    def manner(asked: Asked, write: Write) -> None:
        # llama.cpp says this to whoever asks.
        own = f"access-control-allow-origin: {asked.header('origin') or '*'}\r\nopenai-processing-ms: 5\r\n"
        streams = b'"stream"' in asked.body
        (events(*EVENTS, step=read) if streams else answer(chat("hi"), headers=own))(asked, write)

    def on_post(path: str, body: bytes) -> None:
        if path == "/results":
            told.put(body)
        else:  # an event was read, so the next may come
            read.release()

    def serve(name: str, more: str) -> ServerProcess:
        file, data = home / f"{name}.toml", home / name
        file.write_text(CONFIG.format(url=upstream.url, key=KEY, narrow=NARROW) + more)
        data.mkdir()
        return ServerProcess(data, "--open", "--config", str(file), home=home)

    upstream.manner = manner
    closed = serve("closed", "")
    with PageServer(on_post) as page:
        opened = serve("opened", f'[cors]\norigins = ["https://other.test", "{page.url}"]')
        page.fill(key=KEY, narrow=NARROW, open=opened.url, closed=closed.url)
        with browsing(page.url, home) as log:
            found = json.loads(results_of(told, log))
    for server in (opened, closed):
        finish(server, [KEY, NARROW])
    assert "failure" not in found, found
    return found


def error_of(result: dict[str, Any]) -> tuple[int, str]:
    return result["status"], json.loads(result["text"])["error"]["code"]


def test_a_page_uses_the_gateway(results: dict[str, Any]) -> None:
    assert [model["id"] for model in json.loads(results["models"]["text"])["data"]] == ["m"]
    got = results["chat"]
    assert (got["status"], got["text"].encode()) == (200, chat("hi"))
    assert (got["headers"]["x-request-id"], got["headers"]["openai-processing-ms"]) == ("of-the-page", "5")
    assert {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"} <= set(got["headers"])
    assert results["health"]["status"] == 200


def test_events_reach_a_page_one_by_one(results: dict[str, Any]) -> None:
    got = results["stream"]
    assert (got["status"], got["type"]) == (200, "text/event-stream")
    # Each was written after the page had told that it had read the one before.
    assert got["pieces"] == [f"data: {event.decode()}\n\n" for event in EVENTS]


def test_a_page_reads_why_it_is_refused(results: dict[str, Any]) -> None:
    assert error_of(results["no key"]) == (401, "invalid_api_key")
    assert error_of(results["no model"]) == (404, "model_not_found")
    assert error_of(results["too large"]) == (413, "body_too_large")
    assert error_of(results["no route"]) == (404, "path_not_forwarded")
    assert results["limit"]["status"] == 200
    assert error_of(results["over the limit"]) == (429, "rate_limit_exceeded")
    assert int(results["over the limit"]["headers"]["retry-after"]) > 0


@pytest.mark.parametrize("name", ["with cookies", "administration", "hub", "hub, simple"])
def test_what_stays_closed_to_pages(results: dict[str, Any], name: str) -> None:
    assert results[name] == {"blocked": "TypeError"}


@pytest.mark.parametrize("name", ["closed chat", "closed chat, simple", "closed models", "closed health"])
def test_without_cors_a_page_reads_nothing(results: dict[str, Any], name: str) -> None:
    assert results[name] == {"blocked": "TypeError"}


def test_no_more_reached_the_upstream(results: dict[str, Any], upstream: ModelServer) -> None:
    # "with cookies" ends at the browser's own question.
    assert len(upstream.asked) == len(["chat", "stream", "limit"])
    told = {name for asked in upstream.asked for name, _ in asked.headers}
    assert not {"origin", "sec-fetch-site", "sec-fetch-mode", "cookie"} & told
