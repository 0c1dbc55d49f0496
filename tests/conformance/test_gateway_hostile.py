"""The gateway between callers and upstreams of whom neither is to be trusted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess

from tests.conformance.raw import Answer, build, connect, exchange
from tests.conformance.scripted import EVENTS, Scripted, chunk, whole

KEY = "a-key-that-may-use-one-model-only-0123456789"
UPSTREAM_KEY = "the-key-of-the-upstream-0123456789"
CONFIG = """
[auth]
enabled = true
[[auth.keys]]
name = "one"
key = "{key}"
models = ["m"]
[cache]
enabled = true
[queue]
model_concurrency = 1
timeout = 5
[[models]]
name = "m"
aliases = ["other-name"]
id = 7
context_length = 100
limit = {{ concurrency = 1, tokens_per_minute = 1000000 }}
upstreams = [{{ url = "{url}", key_file = "{key_file}" }}]
[[models]]
name = "forbidden"
upstreams = [{{ url = "{url}" }}]
[breaker]
enabled = false
"""


@pytest.fixture
def upstream() -> Iterator[Scripted]:
    with Scripted() as scripted:
        yield scripted


@pytest.fixture
def gateway(upstream: Scripted, tmp_path: Path, make_server) -> Iterator[ServerProcess]:
    key_file, config = tmp_path / "upstream.key", tmp_path / "gateway.toml"
    key_file.write_text(UPSTREAM_KEY)
    config.write_text(CONFIG.format(key=KEY, url=upstream.url, key_file=key_file.as_posix()))
    server = make_server("--config", str(config))
    yield server
    assert KEY not in server.log
    assert UPSTREAM_KEY not in server.log
    assert "internal_error" not in server.log


def request(body: Any, *headers: str, content_type: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = (f"Authorization: Bearer {KEY}", f"Content-Type: {content_type}", f"Content-Length: {len(data)}", *headers)
    return build("POST", "/v1/chat/completions", "Connection: close", *named, body=data)


def ask(server: ServerProcess, body: Any, *headers: str, content_type: str = "application/json") -> Answer:
    return exchange(server.url, request(body, *headers, content_type=content_type))


def code_of(answer: Answer) -> str:
    code: str = answer.json["error"]["code"]
    return code


def test_the_upstream_reads_what_was_read_here_and_no_secret_of_the_client(
    gateway: ServerProcess, upstream: Scripted
) -> None:
    sent = {"model": "m"}
    more = ("Cookie: a=secret", "X-Request-Id: not one!", "Accept-Encoding: gzip", f"X-Api-Key: {KEY}")
    answer = ask(gateway, sent, *more, content_type="application/x-www-form-urlencoded")
    assert (answer.status, answer.body) == (200, b"{}")
    head, body = upstream.requests.pop()
    lines = head.lower().split(b"\r\n")
    assert json.loads(body) == sent
    assert [line for line in lines if line.startswith(b"content-type:")] == [b"content-type: application/json"]
    expected = b"x-request-id: " + answer.headers["x-request-id"].encode()
    assert [line for line in lines if line.startswith(b"x-request-id:")] == [expected]
    assert b"authorization: bearer " + UPSTREAM_KEY.encode() in lines
    assert b"accept-encoding: identity" in lines
    assert KEY.encode() not in head
    assert b"cookie" not in head


@pytest.mark.parametrize("name", ["other-name", "7"])
def test_other_names_of_a_model_stay_here(gateway: ServerProcess, upstream: Scripted, name: str) -> None:
    assert ask(gateway, {"model": name}).status == 200
    assert json.loads(upstream.requests.pop()[1]) == {"model": "m"}


def test_what_a_caller_may_not_ask(gateway: ServerProcess, upstream: Scripted) -> None:
    form = b'--x\r\ncontent-disposition: form-data; filename="; name=a"; name="model"\r\n\r\nforbidden\r\n--x--'
    refused = [
        (ask(gateway, {"model": "forbidden"}), 403, "model_not_allowed"),
        (ask(gateway, {"model": "2"}), 403, "model_not_allowed"),
        (ask(gateway, b'{"model":"m","Model":"forbidden"}'), 400, "duplicate_field"),
        (ask(gateway, {"model": "m"}, "Content-Encoding: gzip"), 415, "unsupported_encoding"),
        (ask(gateway, {"model": "m", "num_ctx": 101}), 400, "context_length_exceeded"),
        (ask(gateway, form, content_type="multipart/form-data; boundary=x"), 400, "bad_form"),
        (ask(gateway, b"--x", content_type="multipart/form-data; boundary=x"), 400, "bad_form"),
    ]
    for answer, status, code in refused:
        assert (answer.status, code_of(answer)) == (status, code)
    assert not upstream.requests
    status = exchange(gateway.url, build("GET", "/status", f"Authorization: Bearer {KEY}"))
    assert list(status.json["models"]) == ["m"]


@pytest.mark.parametrize("tokens", [-1, -(2**62), 2**70])
def test_no_number_of_tokens_costs_a_place(gateway: ServerProcess, upstream: Scripted, tokens: int) -> None:
    upstream.answer = whole(b'{"usage":{"total_tokens":%d}}' % tokens)
    for _ in range(3):
        assert ask(gateway, {"model": "m", "max_tokens": tokens}).status in {200, 429}
        assert ask(gateway, {"model": "m"}).status == 200


@pytest.mark.parametrize("begun", [b"", EVENTS, EVENTS + chunk(b"data: 1\n\n")])
def test_a_client_that_leaves_takes_its_request_along(gateway: ServerProcess, upstream: Scripted, begun: bytes) -> None:
    upstream.holds, upstream.answer = True, begun
    for _ in range(2):
        with connect(gateway.url) as link:
            link.sendall(request({"model": "m", "stream": True}))
            assert upstream.asked.acquire(timeout=10)
            if begun.endswith(b"\n\r\n") and begun != EVENTS:
                assert link.recv(65_536)
        assert upstream.left.acquire(timeout=10)
    upstream.holds, upstream.answer = False, whole(b"{}")
    assert ask(gateway, {"model": "m"}).status == 200


def test_the_log_says_that_a_client_left(gateway: ServerProcess, upstream: Scripted) -> None:
    upstream.holds, upstream.answer = True, b""
    with connect(gateway.url) as link:
        link.sendall(request({"model": "m"}))
        assert upstream.asked.acquire(timeout=10)
    code = "client_closed"
    assert " 499 " in gateway.wait_for_log(code)


@pytest.mark.parametrize(
    ("last", "tells"), [(b"data: 1\n\n", True), (b"data: 1\r\n\r\n", True), (b'data: 1\n\ndata: {"cho', False)]
)
def test_a_stream_that_breaks_never_ends_well(
    gateway: ServerProcess, upstream: Scripted, last: bytes, tells: bool
) -> None:
    upstream.answer = EVENTS + chunk(last)
    answer = ask(gateway, {"model": "m", "stream": True})
    assert answer.status == 200
    assert not answer.complete
    assert last in answer.body
    assert (b'data: {"error":' in answer.body) is tells
    assert b"[DONE]" not in answer.body
