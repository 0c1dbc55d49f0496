"""Traces and metrics of a gateway, sent to a receiver of OTLP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from server_process import ServerError, ServerProcess

from tests.conformance.model_server import ModelServer, answer, chat, events
from tests.conformance.otlp_receiver import Receiver, attributes
from tests.conftest import finish

KEY = "key-of-a-caller-0123456789"
CHAT = "/v1/chat/completions"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SECRETS = (KEY, "words-of-a-question", "words-of-an-answer", "in-a-query")
ASK = {"model": "m", "messages": [{"role": "user", "content": "words-of-a-question"}]}
CONFIG = """
[telemetry]
otlp_endpoint = "{otlp}"
otlp_headers_env = "OTLP_HEADERS"
otlp_interval = 0.1
service_name = "of-a-test"
log_format = "json"
[[auth.keys]]
name = "caller"
key = "{key}"
[[models]]
name = "m"
upstreams = [{upstreams}]
"""


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer(answer(chat("words-of-an-answer"))) as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


class Gateway:
    """A server and a client of it."""

    def __init__(self, folder: Path, otlp: str, *upstreams: ModelServer, **environment: str) -> None:
        config = folder / "gateway.toml"
        found = ", ".join(f'{{ url = "{each.url}" }}' for each in upstreams)
        config.write_text(CONFIG.format(otlp=otlp, key=KEY, upstreams=found))
        (folder / "data").mkdir()
        told = {"OTLP_HEADERS": "x-tenant=t%201", "OTEL_BSP_SCHEDULE_DELAY": "50", **environment}
        self.server = ServerProcess(folder / "data", "--config", str(config), home=folder, env=told)
        headers = {"authorization": f"Bearer {KEY}"}
        self.client = httpx.Client(base_url=self.server.url, trust_env=False, timeout=30, headers=headers)

    def ask(self, **headers: str) -> int:
        return self.client.post(CHAT + "?x=in-a-query", json=ASK, headers=headers).status_code


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """`serve(otlp, *upstreams, NAME=value)` starts a gateway that has to stop in the end as it should."""
    started: list[Gateway] = []

    def make(otlp: str, *upstreams: ModelServer, **environment: str) -> Gateway:
        started.append(Gateway(tmp_path, otlp, *upstreams, **environment))
        return started[-1]

    yield make
    for gateway in started:
        gateway.client.close()
        finish(gateway.server, list(SECRETS))


def test_a_request_is_a_span_and_each_try_one_below_it(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    upstream.manner = events(b'"words-of-an-answer"', b'{"usage":{"prompt_tokens":5,"completion_tokens":2}}', b"[DONE]")
    with ModelServer(answer(b"{}", "503 Service Unavailable")) as busy:
        gateway = serve(receiver.url, busy, upstream)
        assert gateway.ask(traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="a=b") == 200
        receiver.wait_for(lambda: len(list(receiver.spans())) >= 3)
    by_kind: dict[int, list[Any]] = {}
    for span in receiver.spans():
        assert (span.trace_id.hex(), span.start_time_unix_nano <= span.end_time_unix_nano) == (TRACE, True)
        by_kind.setdefault(span.kind, []).append(span)
    (request,) = by_kind[Span.SPAN_KIND_SERVER]
    failed, good = sorted(by_kind[Span.SPAN_KIND_CLIENT], key=lambda span: span.start_time_unix_nano)
    assert request.parent_span_id.hex() == PARENT
    assert failed.parent_span_id == good.parent_span_id == request.span_id
    for asked, span in ((busy.asked, failed), (upstream.asked, good)):
        assert asked[0].header("traceparent") == f"00-{TRACE}-{span.span_id.hex()}-01"
        assert asked[0].header("tracestate") == "a=b"
    told = attributes(request.attributes)
    assert request.name == f"POST {CHAT}"
    assert told.pop("xetway.first_byte_ms") > 0
    assert len(told.pop("xetway.request_id")) == len(told.pop("xetway.key")) == 16
    assert told == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.path": CHAT,
        "client.address": "127.0.0.1",
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": 5,
        "gen_ai.usage.output_tokens": 2,
    }
    assert good.name == "chat m"
    assert attributes(good.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "m",
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
        "xetway.upstream": f"127.0.0.1:{upstream.port}",
        "http.response.status_code": 200,
    }
    assert attributes(failed.attributes)["error.type"] == "503"
    assert [span.status.code for span in (request, good, failed)] == [
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_UNSET,
        Status.STATUS_CODE_ERROR,
    ]
    path, headers, message = receiver.got[0]
    assert (headers["x-tenant"], headers["content-type"]) == ("t 1", "application/x-protobuf")
    resource = (message.resource_spans if path == "/v1/traces" else message.resource_metrics)[0].resource
    assert attributes(resource.attributes)["service.name"] == "of-a-test"
    for secret in SECRETS:
        assert secret.encode() not in receiver.raw


def test_what_fails_and_what_has_no_parent(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    gateway = serve(receiver.url, upstream)
    upstream.__exit__()
    assert gateway.ask(**{"x-request-id": "alone"}) == 502
    assert gateway.client.post(CHAT, json=ASK, headers={"authorization": "Bearer no"}).status_code == 401
    assert gateway.client.get("/health").status_code == 200
    receiver.wait_for(lambda: len(list(receiver.spans())) >= 3)
    logged = json.loads(gateway.server.wait_for_log('"request_id":"alone"'))
    spans = {(span.kind, attributes(span.attributes).get("error.type")): span for span in receiver.spans()}
    assert set(spans) == {
        (Span.SPAN_KIND_SERVER, "connect_failed"),
        (Span.SPAN_KIND_CLIENT, "connect_failed"),
        (Span.SPAN_KIND_SERVER, "invalid_api_key"),
    }
    assert spans[Span.SPAN_KIND_SERVER, "connect_failed"].trace_id.hex() == logged["trace_id"]
    assert not spans[Span.SPAN_KIND_SERVER, "connect_failed"].parent_span_id
    assert spans[Span.SPAN_KIND_SERVER, "connect_failed"].status.code == Status.STATUS_CODE_ERROR
    assert spans[Span.SPAN_KIND_SERVER, "invalid_api_key"].status.code == Status.STATUS_CODE_UNSET


def test_a_stream_that_breaks_off_is_an_error_of_both(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    upstream.manner = events(b"words-of-an-answer" * 4000, end=b"5\r\nxx")
    upstream.closes = True
    gateway = serve(receiver.url, upstream)
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.ask()
    receiver.wait_for(lambda: len(list(receiver.spans())) >= 2)
    for span in receiver.spans():
        told = attributes(span.attributes)
        assert (told["error.type"], told["http.response.status_code"]) == ("connection_cut", 200)
        assert span.status.code == Status.STATUS_CODE_ERROR


def test_a_caller_who_does_not_want_to_be_followed_is_not(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    gateway = serve(receiver.url, upstream)
    assert gateway.ask(traceparent=f"00-{TRACE}-{PARENT}-00") == 200
    assert gateway.ask() == 200
    receiver.wait_for(lambda: len(list(receiver.spans())) >= 2)
    assert TRACE not in {span.trace_id.hex() for span in receiver.spans()}
    told = upstream.asked[0].header("traceparent") or ""
    assert told.startswith(f"00-{TRACE}-")
    assert told.endswith("-00")


def test_metrics_are_those_of_the_page(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    gateway = serve(receiver.url, upstream)
    for _ in range(3):
        assert gateway.ask() == 200

    def requests() -> float:
        found = receiver.metrics().get("xetway_requests_total")
        return sum(point.as_double for point in found.sum.data_points) if found is not None else 0

    receiver.wait_for(lambda: requests() == 3)
    found = receiver.metrics()
    total = found["xetway_requests_total"].sum
    assert total.is_monotonic
    assert total.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    (point,) = total.data_points
    assert attributes(point.attributes) == {"model": "m", "status": "200"}
    assert 0 < point.start_time_unix_nano < point.time_unix_nano
    (histogram,) = found["xetway_request_duration_seconds"].histogram.data_points
    assert (histogram.count, sum(histogram.bucket_counts), histogram.sum > 0) == (3, 3, True)
    assert len(histogram.bucket_counts) == len(histogram.explicit_bounds) + 1
    assert not histogram.HasField("min")
    assert found["process_resident_memory_bytes"].gauge.data_points[0].as_double > 1e6


def test_each_worker_is_an_instance_of_its_own(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    gateway = serve(receiver.url, upstream, XETWAY_WORKERS="2")
    for _ in range(10):
        with httpx.Client(trust_env=False, headers=gateway.client.headers) as client:
            assert client.post(gateway.server.url + CHAT, json=ASK).status_code == 200

    def requests() -> dict[str, float]:
        return {
            instance: sum(point.as_double for point in found["xetway_requests_total"].sum.data_points)
            for instance, found in receiver.by_instance().items()
            if "xetway_requests_total" in found
        }

    receiver.wait_for(lambda: sum(requests().values()) == 10 and len(list(receiver.spans())) == 20)
    receiver.wait_for(lambda: len(receiver.by_instance()) == 2)


def test_a_receiver_that_is_away_costs_requests_nothing(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    receiver.status = 400
    gateway = serve(receiver.url, upstream)
    assert gateway.ask() == 200
    gateway.server.wait_for_log("telemetry.otlp_endpoint does not take")
    for _ in range(5):
        receiver.asked.acquire(timeout=30)
        assert gateway.ask() == 200
    receiver.status = 200
    gateway.server.wait_for_log("telemetry.otlp_endpoint takes traces and metrics again")
    told = [line for line in gateway.server.lines if "otlp" in line or "opentelemetry" in line]
    assert len(told) == 2, told


def test_nobody_listens_at_the_endpoint(serve: Callable[..., Gateway], upstream: ModelServer) -> None:
    gateway = serve("http://127.0.0.1:1", upstream, OTEL_EXPORTER_OTLP_TIMEOUT="0.2")
    assert {gateway.ask() for _ in range(20)} == {200}
    gateway.server.wait_for_log("telemetry.otlp_endpoint does not take")
    assert gateway.ask() == 200


def test_nobody_waits_for_a_slow_receiver(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    receiver.open.clear()
    gateway = serve(receiver.url, upstream, OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4")
    assert gateway.ask() == 200
    assert receiver.asked.acquire(timeout=30)
    assert {gateway.ask() for _ in range(50)} == {200}
    assert gateway.server.stop() == 0
    receiver.open.set()


def test_what_is_left_is_sent_at_the_end(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    gateway = serve(receiver.url, upstream, OTEL_BSP_SCHEDULE_DELAY="3600000")
    assert gateway.ask() == 200
    assert not list(receiver.spans())
    gateway.server.stop()
    receiver.wait_for(lambda: len(list(receiver.spans())) == 2)


def test_headers_that_are_not_there_stop_the_start(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver
) -> None:
    with pytest.raises(ServerError, match=r"telemetry\.otlp_headers_env names OTLP_HEADERS, which is not set"):
        serve(receiver.url, upstream, OTLP_HEADERS="")


def test_without_the_extra_the_start_says_what_to_install(
    serve: Callable[..., Gateway], upstream: ModelServer, receiver: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry.py").write_text("raise ImportError")
    with pytest.raises(ServerError, match=r"telemetry.otlp_endpoint needs .* pip install 'xetway\[otel\]'"):
        serve(receiver.url, upstream, PYTHONPATH=str(tmp_path))
