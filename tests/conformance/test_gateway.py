"""The model endpoints of a real server, in front of upstreams that do what they are told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import Asked, ModelServer, Write, answer, chat, events

KEY = "a-key-of-the-configuration"
ADMIN = "the-key-of-the-administrator"
CHAT = "/v1/chat/completions"


@pytest.fixture
def second() -> Iterator[ModelServer]:
    with ModelServer(answer(chat("second"))) as server:
        yield server


@pytest.fixture
def gateway(tmp_path: Path, make_server: Callable[..., ServerProcess]) -> Iterator[Callable[..., httpx.Client]]:
    """`gateway(upstream, more="...", model="...")` is a client of a server with a model `m` and this configuration."""
    clients: list[httpx.Client] = []
    servers: list[ServerProcess] = []

    def make(*upstreams: ModelServer, more: str = "", model: str = "") -> httpx.Client:
        found = ", ".join(f'{{ url = "{each.url}" }}' for each in upstreams)
        config = tmp_path / "gateway.toml"
        config.write_text(f'[[models]]\nname = "m"\naliases = ["other"]\nupstreams = [{found}]\n{model}\n{more}\n')
        server = make_server("--config", str(config))
        servers.append(server)
        client = httpx.Client(base_url=server.url, trust_env=False, timeout=30)
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()
    for server in servers:
        for secret in (KEY, ADMIN, "of-the-client", "session=1", "beta=1", "wrong-key"):
            assert secret not in server.log


def error_of(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


def test_a_request_reaches_the_model_as_it_came(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    upstream.manner = answer(chat("hi"), headers="openai-version: 1\r\nconnection: x-hop\r\nx-hop: 1\r\n")
    sent = b'{ "model" : "m",\n"messages":[{"role":"user","content":[{"type":"text","text":"\\u00e9"}]}],"x":1e0 }'
    headers = {
        "content-type": "application/json",
        "authorization": "Bearer of-the-client",
        "cookie": "session=1",
        "x-request-id": "abc",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "connection": "x-drop",
        "x-drop": "1",
    }
    got = gateway(upstream).post(CHAT + "?beta=1", content=sent, headers=headers)
    assert (got.status_code, got.content) == (200, chat("hi"))
    assert (got.headers["openai-version"], got.headers["x-request-id"]) == ("1", "abc")
    assert "x-hop" not in got.headers
    (asked,) = upstream.asked
    assert asked.line == f"POST {CHAT}?beta=1 HTTP/1.1"
    assert asked.body == sent
    assert asked.header("traceparent") == headers["traceparent"]
    assert asked.header("x-request-id") == "abc"
    assert asked.header("host") == f"127.0.0.1:{upstream.port}"
    assert not {"authorization", "cookie", "x-drop"} & {name for name, _ in asked.headers}


def test_events_come_when_they_come_and_to_the_end(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    step = threading.Semaphore(0)
    upstream.manner = events(b"1", b"2", b"[DONE]", step=step)
    with gateway(upstream).stream("POST", CHAT, json={"model": "m", "stream": True}) as got:
        assert got.headers["content-type"] == "text/event-stream"
        lines = got.iter_lines()
        for event in ("1", "2", "[DONE]"):
            step.release()
            assert (next(lines), next(lines)) == (f"data: {event}", "")
        assert list(lines) == []


def test_a_stream_that_breaks_off_ends_in_an_error(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    upstream.manner = events(b"1", end=b"5\r\nxx")
    upstream.closes = True
    seen = []
    with (
        pytest.raises(httpx.RemoteProtocolError),
        gateway(upstream).stream("POST", CHAT, json={"model": "m", "stream": True}) as got,
    ):
        seen += [line for line in got.iter_lines() if line]
    # What the client read before the connection broke is all that may be asked for; [DONE] never.
    assert "data: [DONE]" not in seen


def test_who_leaves_is_not_waited_for(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    upstream.manner = events(*[b"x" * 1000] * 1_000_000)
    client = gateway(upstream, more="[queue]\nmodel_concurrency = 1")
    with client.stream("POST", CHAT, json={"model": "m", "stream": True}) as got:
        next(got.iter_lines())
    assert upstream.left.wait(30)
    upstream.manner = answer(chat("next"))
    assert client.post(CHAT, json={"model": "m"}).content == chat("next")


def test_another_upstream_is_asked_before_the_first_byte(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, second: ModelServer
) -> None:
    def cut(_asked: Asked, _write: Write) -> None:
        raise OSError

    client = gateway(upstream, second)
    for manner in (cut, answer(b"{}", "503 Service Unavailable"), answer(b"{}", "429 Too Many Requests")):
        upstream.manner = manner
        found = {client.post(CHAT, json={"model": "m"}).content for _ in range(4)}
        assert found == {chat("second")}
    assert len(upstream.asked) >= 3


def test_answers_of_the_last_upstream_are_passed_on(
    gateway: Callable[..., httpx.Client], upstream: ModelServer
) -> None:
    client = gateway(upstream)
    upstream.manner = answer(b'{"error":{"message":"no"}}', "400 Bad Request")
    got = client.post(CHAT, json={"model": "m"})
    assert (got.status_code, got.content) == (400, b'{"error":{"message":"no"}}')
    upstream.manner = answer(b"busy", "429 Too Many Requests", "retry-after: 7\r\n")
    got = client.post(CHAT, json={"model": "m"})
    assert (got.status_code, got.headers["retry-after"], got.content) == (429, "7", b"busy")


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"", 400, "bad_json"),
        (b'{"messages":[]}', 400, "missing_model"),
        (b'{"model":"m","model":"n"}', 400, "duplicate_field"),
        (b'{"model":"unknown"}', 404, "model_not_found"),
        (b'{"model":"m","num_ctx":9000}', 400, "context_length_exceeded"),
        (b'{"model":"m","x":"' + b"x" * 70_000 + b'"}', 413, "body_too_large"),
    ],
)
def test_what_is_refused_is_told_as_these_clients_expect(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, sent: bytes, status: int, code: str
) -> None:
    client = gateway(upstream, more="[http]\nmax_body_bytes = 65536", model="context_length = 4096")
    got = client.post(CHAT, content=sent)
    assert (got.status_code, error_of(got)["code"]) == (status, code)
    assert not upstream.asked


def test_configured_edits(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    model = 'context_length = 4096\nset = { cache_prompt = true }\ndefaults = { temperature = 0.5 }\nremove = ["user"]'
    gateway(upstream, model=model).post(
        CHAT, content=b'{"model":"m","user":"u","num_ctx":4096,"messages":[ {"a":1.0} ]}'
    )
    assert b'[ {"a":1.0} ]' in upstream.asked[0].body
    assert json.loads(upstream.asked[0].body) == {
        "temperature": 0.5,
        "model": "m",
        "messages": [{"a": 1.0}],
        "cache_prompt": True,
    }


def test_a_form_is_forwarded_by_its_model(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    client = gateway(upstream)
    files = {"file": ("a.wav", b"\x00\xff" * 500, "audio/wav")}
    assert client.post("/v1/audio/transcriptions", files=files, data={"model": "other"}).status_code == 200
    (asked,) = upstream.asked
    assert b"\x00\xff" * 500 in asked.body
    assert (asked.header("content-type") or "").startswith("multipart/form-data; boundary=")
    assert error_of(client.post("/v1/audio/transcriptions", files=files))["code"] == "missing_model"


def test_keys_and_what_they_may(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    keys = f"""
[[auth.keys]]
name = "user"
key = "{KEY}"
models = ["x*"]
[[auth.keys]]
name = "root"
key = "{ADMIN}"
scopes = ["infer", "admin"]
"""
    client = gateway(upstream, more=keys)
    admin = {"authorization": f"Bearer {ADMIN}"}
    for path in ("/v1/models", "/status", "/admin/keys/list", "/admin/queue/stats"):
        got = client.get(path)
        assert (got.status_code, error_of(got)["code"]) == (401, "missing_api_key")
        assert got.headers["www-authenticate"] == "Bearer"
    assert error_of(client.post(CHAT, json={"model": "m"}, headers={"x-api-key": "wrong-key"}))["code"] == (
        "invalid_api_key"
    )
    user = {"x-api-key": KEY}
    got = client.post(CHAT, json={"model": "m"}, headers=user)
    assert (got.status_code, error_of(got)["code"]) == (403, "model_not_allowed")
    assert client.get("/v1/models", headers=user).json()["data"] == []
    assert client.get("/v1/models/m", headers=user).status_code == 404
    assert client.get("/admin/queue/stats", headers=user).status_code == 403
    assert not upstream.asked
    made = client.post("/admin/keys/generate", headers=admin, content=b"name=app&rate_limit=2").json()
    fresh = {"authorization": f"Bearer {made['api_key']}"}
    for expected in (200, 200, 429):
        got = client.post(CHAT, json={"model": "m"}, headers=fresh)
        assert got.status_code == expected
    assert error_of(got)["code"] == "rate_limit_exceeded"
    assert int(got.headers["retry-after"]) > 0
    assert client.post(f"/admin/keys/{made['key_id']}/revoke", headers=admin).json()["success"]
    assert client.post(CHAT, json={"model": "m"}, headers=fresh).status_code == 401
    assert client.get("/health/live").status_code == client.get("/health/ready").status_code == 200
    stats = client.get("/admin/queue/stats", headers=admin).json()
    assert stats["total_processed"] == 2


def test_deterministic_answers_are_given_again(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    client = gateway(upstream, more="[cache]\nenabled = true")
    ask = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "x"}]}
    seen = [client.post(CHAT, json=ask).headers["x-cache"] for _ in range(2)]
    seen.append(client.post(CHAT, json=ask, headers={"cache-control": "no-cache"}).headers["x-cache"])
    seen.append(client.post(CHAT, json={**ask, "temperature": 1}).headers["x-cache"])
    assert seen == ["MISS", "HIT", "MISS", "BYPASS"]
    assert len(upstream.asked) == 3


def test_an_upstream_that_is_gone_is_told_and_left_alone(
    gateway: Callable[..., httpx.Client], upstream: ModelServer
) -> None:
    client = gateway(upstream, more="[breaker]\nfailures = 2\nopen_for = 60.0")
    upstream.__exit__()
    codes = [error_of(client.post(CHAT, json={"model": "m"}))["code"] for _ in range(3)]
    assert codes == ["connect_failed", "connect_failed", "no_upstream"]
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200
    (status,) = client.get("/status").json()["models"]["m"]
    assert status["breaker"]["state"] == "open"


def test_numbers(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    client = gateway(upstream)
    client.post(CHAT, json={"model": "m"})
    upstream.manner = events(b'{"usage":null}', b'{"usage":{"prompt_tokens":5,"completion_tokens":2}}', b"[DONE]")
    assert client.post(CHAT, json={"model": "m", "stream": True}).status_code == 200
    client.post(CHAT, json={"model": "unknown"})
    text = client.get("/metrics").text
    for line in (
        'xetway_requests_total{model="m",status="200"} 2',
        'xetway_tokens_total{model="m",kind="prompt"} 8',
        'xetway_tokens_total{model="m",kind="answer"} 3',
        'xetway_request_duration_seconds_bucket{model="m",le="+Inf"} 2',
        "# TYPE xetway_request_duration_seconds histogram",
        f'xetway_upstream_requests_total{{model="m",upstream="127.0.0.1:{upstream.port}",outcome="2xx"}} 2',
    ):
        assert line in text.splitlines()
    assert "unknown" not in text


def test_an_upstream_is_asked_how_it_is(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    def be(asked: Asked, write: Write) -> None:
        answer(b"{}", "200 OK" if "/v1/" in asked.line else "503 Service Unavailable")(asked, write)

    upstream.manner = be
    watched = f'{{ url = "{upstream.url}", health = "/health", health_interval = 0.01 }}'
    client = gateway(upstream, more=f'[[models]]\nname = "n"\nupstreams = [{watched}]')
    assert client.post(CHAT, json={"model": "m"}).status_code == 200
    for _ in range(1000):
        got = client.post(CHAT, json={"model": "n"})
        if got.status_code != 200:
            break
    assert error_of(got)["code"] == "no_upstream"
    assert ("GET /health HTTP/1.1", None) in {(asked.line, asked.header("authorization")) for asked in upstream.asked}
    upstream.manner = answer(b"{}")
    for _ in range(1000):
        got = client.post(CHAT, json={"model": "n"})
        if got.status_code == 200:
            break
    assert got.status_code == 200
