"""The log of a gateway as lines of JSON: what it tells, and what it never does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer, answer, chat, events
from tests.conformance.raw import build, exchange

KEY = "key-of-a-caller-0123456789"
UPSTREAM_KEY = "key-of-the-upstream-0123456789"
SECRETS = (KEY, UPSTREAM_KEY, "words-of-a-question", "words-of-an-answer", "in-a-query", "in-a-cookie", "wrong-key-0")
CHAT = "/v1/chat/completions"
TRACE = "0af7651916cd43dd8448eb211c80319c"
CONFIG = """
[telemetry]
log_format = "json"
[cache]
enabled = true
[[auth.keys]]
name = "caller"
key = "{key}"
[[models]]
name = "m\\nn"
aliases = ["m"]
upstreams = [{{ url = "{url}", key_file = "{key_file}" }}]
"""


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer(answer(chat("words-of-an-answer"))) as server:
        yield server


@pytest.fixture
def gateway(upstream: ModelServer, tmp_path: Path, make_server: Callable[..., ServerProcess]) -> ServerProcess:
    key_file, config = tmp_path / "upstream.key", tmp_path / "gateway.toml"
    key_file.write_text(UPSTREAM_KEY)
    config.write_text(CONFIG.format(key=KEY, url=upstream.url, key_file=key_file.as_posix()))
    return make_server("--config", str(config))


def ask(gateway: ServerProcess, name: str, body: Any, path: str = CHAT, **headers: str) -> dict[str, Any]:
    """Ask, and return the request's line."""
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as client:
        client.post(
            f"{path}?token=in-a-query",
            content=body if isinstance(body, bytes) else json.dumps(body),
            headers={"authorization": f"Bearer {KEY}", "cookie": "in-a-cookie", **headers, "x-request-id": name},
        ).read()
    line: dict[str, Any] = json.loads(gateway.wait_for_log(f'"request_id":"{name}"'))
    return line


def test_every_line_is_json_and_none_tells_a_secret(gateway: ServerProcess, upstream: ModelServer) -> None:
    words = {"messages": [{"role": "user", "content": "words-of-a-question"}]}
    line = ask(gateway, "whole", {"model": "m", **words}, traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    assert line.pop("duration_ms") >= line.pop("first_byte_ms") > 0
    assert line.pop("timestamp").endswith("Z")
    key = line.pop("key")
    assert line == {
        "level": "info",
        "logger": "xetway.access",
        "message": f"POST {CHAT} 200",
        "request_id": "whole",
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "bytes": len(chat("words-of-an-answer")),
        "client": "127.0.0.1",
        "trace_id": TRACE,
        "model": "m\nn",
        "upstream": f"127.0.0.1:{upstream.port}",
        "cache": "bypass",
        "prompt_tokens": 3,
        "answer_tokens": 1,
    }
    for cached in ("miss", "hit"):
        line = ask(gateway, cached, {"model": "m", "temperature": 0, **words})
        assert (line["cache"], "upstream" in line, line["key"]) == (cached, cached == "miss", key)
    upstream.manner = events(b'{"x":"words-of-an-answer"}', b'{"usage":{"prompt_tokens":5}}', b"[DONE]")
    line = ask(gateway, "stream", {"model": "m", "stream": True, **words})
    assert (line["prompt_tokens"], "first_byte_ms" in line) == (5, True)
    assert ask(gateway, "broken", b'{"model":"m", words-of-a-question')["error"] == "bad_json"
    assert ask(gateway, "typed", {"model": "m", "stream": "words-of-a-question"})["error"] == "bad_json"
    assert ask(gateway, "unknown", {"model": "words-of-a-question"})["error"] == "model_not_found"
    assert ask(gateway, "refused", {"model": "m"}, authorization="Bearer wrong-key-0")["error"] == "invalid_api_key"
    upstream.manner = answer(b"words-of-an-answer", "500 Internal Server Error")
    assert ask(gateway, "failed", {"model": "m", **words})["status"] == 500
    upstream.manner = events(b'{"x":"words-of-an-answer"}', end=b"5\r\nxx")
    upstream.closes = True
    with pytest.raises(httpx.RemoteProtocolError):
        ask(gateway, "cut", {"model": "m", "stream": True, **words})
    line = json.loads(gateway.wait_for_log('"request_id":"cut"'))
    assert (line["level"], line["error"]) == ("error", "connection_cut")
    assert_sound(gateway)


def test_nothing_hostile_breaks_a_line(gateway: ServerProcess, upstream: ModelServer) -> None:
    for at, (target, agent) in enumerate(
        (
            ("/v1/x%0a%22%7d", 'a"}\\'),
            ("/v1/x\x7f\xff", "\xe2\x80\xa8"),
            ('/v1/"},{"level":"critical"', "{}"),
            ("/v1/models/" + "x" * 9000, "x" * 9000),
        )
    ):
        name = f"hostile-{at}"
        headers = (f"user-agent: {agent}", f"x-request-id: {name}", f"authorization: Bearer {KEY}")
        exchange(gateway.url, build("GET", target, *headers, "connection: close"))
    ask(gateway, "hostile-model", {"model": '\n{"level":"critical"}'})
    ask(gateway, "hostile-trace", {"model": "m"}, traceparent='"}\\u000a')
    assert len([line for line in assert_sound(gateway) if "hostile" in line.get("request_id", "")]) >= 4


def assert_sound(gateway: ServerProcess) -> list[dict[str, Any]]:
    gateway.stop()
    lines = [json.loads(line) for line in gateway.lines if not line.startswith("xetway listening")]
    assert lines
    for line in lines:
        assert {"timestamp", "level", "logger", "message"} <= set(line)
        assert line["level"] != "critical"
    for secret in SECRETS:
        assert secret not in gateway.log
    return lines
