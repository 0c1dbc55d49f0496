"""The page at /metrics of a gateway, read as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer, answer, chat, events
from xetway.openai.metrics import METRICS

KEY = "key-of-a-caller-0123456789"
CHAT = "/v1/chat/completions"
CONFIG = """
[cache]
enabled = true
[batching]
enabled = true
[breaker]
failures = 1
[[auth.keys]]
name = "caller"
key = "{key}"
[[models]]
name = "m"
limit = {{ requests_per_minute = 5 }}
upstreams = [{{ url = "{url}" }}, {{ url = "{url}", weight = 0 }}]
[[models]]
name = "gone"
upstreams = [{{ url = "http://127.0.0.1:1/v1" }}]
"""


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer(answer(chat("hi"))) as server:
        yield server


@pytest.fixture
def serve(
    upstream: ModelServer, tmp_path: Path, make_server: Callable[..., ServerProcess]
) -> Iterator[Callable[..., httpx.Client]]:
    """`serve(*options)` is a client with a key."""
    clients: list[httpx.Client] = []

    def make(*options: str) -> httpx.Client:
        config = tmp_path / "gateway.toml"
        config.write_text(CONFIG.format(key=KEY, url=upstream.url))
        server = make_server("--config", str(config), *options)
        client = httpx.Client(base_url=server.url, trust_env=False, timeout=30, headers={"x-api-key": KEY})
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


def read(text: str) -> dict[tuple[str, ...], float]:
    """Values by name and sorted labels. It is Prometheus' text, and everything in it is there once."""
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation or family.name.startswith("xetway_mirror"), family
        for sample in family.samples:
            key = (sample.name, *(f"{name}={value}" for name, value in sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
            if family.type == "counter":
                assert sample.name.endswith("_total")
        if family.type == "histogram":
            _check_buckets([sample for sample in family.samples if sample.name.endswith("_bucket")], found)
    return found


def _check_buckets(buckets, found) -> None:
    last: dict[tuple[tuple[str, str], ...], float] = {}
    for bucket in buckets:
        labels = tuple(sorted((name, value) for name, value in bucket.labels.items() if name != "le"))
        assert bucket.value >= last.get(labels, 0)
        last[labels] = bucket.value
    for labels, value in last.items():
        assert value == found[buckets[0].name[:-7] + "_count", *(f"{name}={text}" for name, text in labels)]


def test_numbers_of_everything(serve: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    client = serve()
    for _ in range(2):
        assert client.post(CHAT, json={"model": "m", "temperature": 0}).status_code == 200
    upstream.manner = events(b"1", b'{"usage":{"prompt_tokens":5,"completion_tokens":2}}', b"[DONE]")
    assert client.post(CHAT, json={"model": "m", "stream": True}).status_code == 200
    upstream.manner = answer(b'{"data":[{"embedding":[1],"index":0}]}')
    assert client.post("/v1/embeddings", json={"model": "m", "input": "x"}).status_code == 200
    upstream.manner = answer(b"{}", "503 Service Unavailable")
    for model, status in (("m", 503), ("m", 429), ("gone", 502), ("gone", 503), ("unknown", 404)):
        assert client.post(CHAT, json={"model": model}).status_code == status
    assert client.post(CHAT, json={"model": "m"}, headers={"x-api-key": "wrong-key"}).status_code == 401
    text = client.get("/metrics").text
    assert KEY not in text
    assert "unknown" not in text
    found = read(text)
    first, second = f"upstream=127.0.0.1:{upstream.port}", f"upstream=127.0.0.1:{upstream.port}#2"
    gone = ("model=gone", "upstream=127.0.0.1:1")
    for key, value in {
        ("requests_total", "model=m", "status=200"): 4,
        ("requests_total", "model=gone", "status=502"): 1,
        ("requests_in_flight", "model=m"): 0,
        ("request_duration_seconds_count", "model=m"): 5,
        ("time_to_first_byte_seconds_count", "model=m"): 4,
        ("tokens_total", "kind=prompt", "model=m"): 8,
        ("errors_total", "code=model_not_found"): 1,
        ("errors_total", "code=invalid_api_key"): 1,
        ("errors_total", "code=no_upstream"): 1,
        ("limited_total", "kind=requests"): 1,
        ("limited_total", "kind=concurrency"): 0,
        ("upstream_requests_total", "model=m", "outcome=2xx", first): 3,
        ("upstream_requests_total", "model=m", "outcome=5xx", second): 1,
        ("upstream_requests_total", "model=gone", "outcome=connect_failed", gone[1]): 1,
        ("upstream_healthy", "model=m", first): 1,
        ("breaker_state", gone[0], "state=open", gone[1]): 1,
        ("breaker_state", gone[0], "state=closed", gone[1]): 0,
        ("breaker_openings_total", *gone): 1,
        ("queue_running", "model=m"): 0,
        ("queue_granted_total", "model=m"): 4,
        ("queue_left_total", "model=m", "reason=expired"): 0,
        ("queue_wait_seconds_count",): 6,
        ("cache_requests_total", "result=hit"): 1,
        ("cache_requests_total", "result=miss"): 2,
        ("cache_stored_total",): 2,
        ("cache_entries",): 2,
        ("cache_evictions_total",): 0,
        ("batching_requests_total", "sent=alone"): 1,
        ("batch_inputs_count",): 0,
    }.items():
        assert found["xetway_" + key[0], *key[1:]] == value, key
    assert found["xetway_time_between_events_seconds_count", "model=m"] <= 2
    told = {name.removesuffix("_count") for name, *_ in found}
    assert {metric.name for metric in METRICS} <= told


def test_the_page_may_need_a_key(serve: Callable[..., httpx.Client]) -> None:
    closed = serve("--set", "auth.public=/health")
    assert closed.get("/metrics").status_code == 200
    refused = closed.get("/metrics", headers={"x-api-key": ""})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "missing_api_key")
    assert serve().get("/metrics", headers={"x-api-key": ""}).status_code == 200


def test_the_page_may_be_left_out(serve: Callable[..., httpx.Client]) -> None:
    assert serve("--set", "telemetry.metrics=false").get("/metrics").status_code == 404
