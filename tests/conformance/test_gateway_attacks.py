"""Hostile callers, without a key and with one that may use one model only."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess, run_xetway

from tests.conformance.model_server import Asked, ModelServer, Write, answer
from tests.conformance.raw import Answer, build, exchange

KEY, OTHER = "a-key-for-one-model-0123456789", "another-key-for-it-0123456789"
UPSTREAM_KEY = "the-key-of-the-upstream-0123456789"
SECRET_HEADER = "a-header-that-is-nobodys-business"
CONFIG = """
[auth]
enabled = {enabled}
[[auth.keys]]
name = "one"
key = "{key}"
models = ["m"]
[[auth.keys]]
name = "other"
key = "{other}"
models = ["m"]
[limits]
enabled = true
[limits.anonymous]
requests_per_minute = 1
burst = 2
[cache]
enabled = true
[breaker]
enabled = false
[[models]]
name = "m"
id = 7
context_length = 100
remove = ["user"]
set = {{ top_k = 1 }}
set_headers = {{ "x-team" = "{header}" }}
upstreams = [{{ url = "{url}", key_file = "{key_file}" }}]
[[models]]
name = "forbidden"
upstreams = [{{ url = "{url}" }}]
"""
CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def configure(root: Path, upstream: ModelServer, *, keys: bool) -> Path:
    key_file, config = root / "upstream.key", root / "gateway.toml"
    key_file.write_text(UPSTREAM_KEY)
    values = {"key": KEY, "other": OTHER, "header": SECRET_HEADER, "url": upstream.url, "key_file": key_file}
    config.write_text(CONFIG.format(enabled="true" if keys else "false", **values))
    (root / "data").mkdir(exist_ok=True)
    return config


@pytest.fixture(scope="module")
def gateway(upstream: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root = tmp_path_factory.mktemp("attacks")
    config = configure(root, upstream, keys=True)
    with ServerProcess(root / "data", "--config", str(config), home=root) as server:
        yield server
    for word in (KEY, OTHER, UPSTREAM_KEY, SECRET_HEADER, "Traceback", "internal_error"):
        assert word not in server.log


def ask(server: ServerProcess, body: bytes, *headers: str, path: str = CHAT, key: str | None = KEY) -> Answer:
    bearer = [] if key is None else [f"Authorization: Bearer {key}"]
    return exchange(server.url, build("POST", path, f"Content-Length: {len(body)}", *bearer, *headers, body=body))


def code_of(found: Answer) -> str:
    error = found.json["error"]
    code: str = error["code"] if isinstance(error, dict) else found.json["code"]
    return code


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"[" * 10_000_000, 400, "bad_json"),
        (b'{"model":"m","x":' + b"[" * 5_000_000 + b"]" * 5_000_000 + b"}", 400, "bad_json"),
        (b'{"model":"m","temperature":0,"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "bad_json"),
        (b'{"model":"m","model":"forbidden"}', 400, "duplicate_field"),
        (b'{"model":"forbidden","model":"m"}', 400, "duplicate_field"),
        (b'{"mod\\u0065l":"forbidden","model":"m"}', 400, "duplicate_field"),
        (b'{"model":"m","MODEL":"forbidden"}', 400, "duplicate_field"),
        (b'{"model":"m","mod\xffel":"forbidden"}', 400, "bad_json"),
        (b'{"model":"m","x":"\xff"}', 400, "bad_json"),
        (b'{"model":"m","x":"\xed\xa0\x80"}', 400, "bad_json"),
        (b'\xef\xbb\xbf{"model":"m"}', 400, "bad_json"),
        ('{"model":"m"}'.encode("utf-16"), 400, "bad_json"),
        (b'{"model":"m"}{"model":"forbidden"}', 400, "bad_json"),
        (b'{"model":"m",}', 400, "bad_json"),
        (b'{"model":"m"} // x', 400, "bad_json"),
        (b'{"model":"m","x":NaN}', 400, "bad_json"),
        (b'{"model":7}', 400, "bad_json"),
        (b'{"model":["m"]}', 400, "bad_json"),
        (b'{"model":null}', 400, "bad_json"),
        (b'{"model":"\\ud800"}', 400, "bad_json"),
        (b'{"model":"m\\u0000"}', 404, "model_not_found"),
        (b'{"model":"m\\r\\nX-Evil: 1"}', 404, "model_not_found"),
        (b'{"model":"' + b"m" * 300 + b'"}', 400, "missing_model"),
        (b'{"model":"forbidden"}', 403, "model_not_allowed"),
        (b'{"model":"2"}', 403, "model_not_allowed"),
        (b'{"model":"m","num_ctx":101}', 400, "context_length_exceeded"),
        (b'{"model":"m","num_ctx":9999999999999999999999999}', 400, "context_length_exceeded"),
        (b'{"model":"m","num_ctx":9000,"num_ctx":1}', 400, "duplicate_field"),
        (b'{"model":"m","NUM_CTX":9000}', 400, "duplicate_field"),
        (b'{"model":"m","num_ctx":1,"Num_Ctx":9000}', 400, "duplicate_field"),
        (b'{"model":"m","num_ctx":1e400}', 400, "bad_json"),
        (b'{"model":"m","num_ctx":"9000"}', 400, "bad_json"),
        (b'{"model":"m","max_tokens":' + b"9" * 5000 + b"}", 400, "bad_json"),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else str(value),
)
def test_bodies(gateway: ServerProcess, upstream: ModelServer, body: bytes, status: int, code: str) -> None:
    asked = len(upstream.asked)
    found = ask(gateway, body)
    assert (found.status, code_of(found)) == (status, code)
    assert "x-evil" not in found.headers
    assert len(upstream.asked) == asked


def test_what_is_left_out_and_set_holds_in_any_letters(gateway: ServerProcess, upstream: ModelServer) -> None:
    sent = b'{"model":"7","User":"u","USER":"v","user":"w","TOP_K":5,"top_k":6,"x":{"user":"stays"}}'
    assert ask(gateway, sent).status == 200
    assert json.loads(upstream.asked[-1].body) == {"model": "m", "x": {"user": "stays"}, "top_k": 1}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/..%2fadmin",
        "/v1/a/../../admin",
        "/v1/..\\admin",
        "/v1/..%5cadmin",
        "/v1/..;/admin",
        "/v1/..%3b/admin",
        "/v1/%252e%252e/admin",
        "/v1//admin",
        "/v1/a%00",
    ],
)
def test_paths_beside_the_upstreams(gateway: ServerProcess, upstream: ModelServer, path: str) -> None:
    asked = len(upstream.asked)
    found = ask(gateway, b'{"model":"m"}', path=path)
    assert (found.status, code_of(found)) == (400, "bad_path")
    assert len(upstream.asked) == asked


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/keys/list"),
        ("GET", "/admin/queue/stats"),
        ("POST", "/admin/keys/generate"),
        ("POST", "/admin/keys/0123/revoke"),
        ("POST", "/admin/breakers/reset"),
    ],
)
def test_what_is_for_administrators(gateway: ServerProcess, method: str, path: str) -> None:
    for key, expected in ((KEY, (403, "insufficient_scope")), (None, (401, "missing_api_key"))):
        bearer = [] if key is None else [f"Authorization: Bearer {key}"]
        found = exchange(gateway.url, build(method, path, "Content-Length: 0", *bearer))
        assert (found.status, code_of(found)) == expected


@pytest.mark.parametrize("path", ["/status", "/v1/models"])
def test_what_is_for_those_with_a_key(gateway: ServerProcess, path: str) -> None:
    found = exchange(gateway.url, build("GET", f"{path}?api_key={KEY}&key={KEY}"))
    assert (found.status, code_of(found)) == (401, "missing_api_key")


def test_wrong_keys_are_all_alike(gateway: ServerProcess) -> None:
    """Whatever is wrong with one: nothing tells how near it was."""
    wrong = [KEY[:-1], KEY + "x", KEY.upper(), "x", "x" * 400, "x" * 5000, "xw-" + "0" * 43]
    told = {(found.status, found.body) for found in (ask(gateway, b'{"model":"m"}', key=key) for key in wrong)}
    assert len(told) == 1
    assert code_of(ask(gateway, b'{"model":"m"}', key=wrong[0])) == "invalid_api_key"


def test_answers_are_not_shared_between_keys(gateway: ServerProcess, upstream: ModelServer) -> None:
    numbers = itertools.count()

    def count(asked: Asked, write: Write) -> None:
        answer(b'{"choices":[],"number":%d}' % next(numbers))(asked, write)

    upstream.manner = count
    body = b'{"model":"m","temperature":0,"messages":[{"role":"user","content":"x"}]}'
    seen = [ask(gateway, body, key=key) for key in (KEY, OTHER, KEY, OTHER)]
    assert [(found.json["number"], found.headers["x-cache"]) for found in seen] == [
        (0, "MISS"),
        (1, "MISS"),
        (0, "HIT"),
        (1, "HIT"),
    ]
    # The same key in the other header is the same caller, and each of these makes another question of it.
    named = exchange(gateway.url, build("POST", CHAT, f"X-Api-Key: {KEY}", f"Content-Length: {len(body)}", body=body))
    assert named.json["number"] == 0
    for header in ("Accept: text/event-stream", "OpenAI-Organization: x", "OpenAI-Beta: x"):
        assert ask(gateway, body, header).headers["x-cache"] == "MISS"
    for other in (body[:-1] + b',"stream":true}', body[:-1] + b',"n":2}', body.replace(b'"x"', b'"y"')):
        assert ask(gateway, other).headers["x-cache"] == "MISS"
    assert ask(gateway, body, path=CHAT + "?x=1").headers["x-cache"] == "MISS"


def test_what_an_upstream_is_told_is_told_to_nobody_else(gateway: ServerProcess, upstream: ModelServer) -> None:
    upstream.manner = answer(b"{}")
    assert ask(gateway, b'{"model":"m"}').status == 200
    assert upstream.asked[-1].header("authorization") == f"Bearer {UPSTREAM_KEY}"
    assert upstream.asked[-1].header("x-team") == SECRET_HEADER
    told = [
        exchange(gateway.url, build("GET", path, f"Authorization: Bearer {KEY}")).raw
        for path in ("/status", "/metrics", "/v1/models", "/v1/models/m", "/health", "/ready")
    ]
    for manner in (b"", b"nonsense"):
        upstream.manner = lambda _, write, data=manner: (write(data), upstream_gone())
        told.append(ask(gateway, b'{"model":"m"}').raw)
    shown = run_xetway(gateway.data, "config", "show", "--config", str(gateway.data.parent / "gateway.toml"))
    told.append((shown.stdout + shown.stderr).encode())
    for page in told:
        for secret in (UPSTREAM_KEY, SECRET_HEADER, KEY, OTHER):
            assert secret.encode() not in page


def upstream_gone() -> None:
    raise OSError


def test_an_address_that_is_only_claimed_is_not_counted(upstream: ModelServer, tmp_path: Path) -> None:
    upstream.manner = answer(b"{}")
    config = configure(tmp_path, upstream, keys=False)
    with ServerProcess(tmp_path / "data", "--config", str(config), home=tmp_path) as server:
        seen = [
            ask(server, b'{"model":"m"}', f"X-Forwarded-For: 10.0.0.{n}", f"Forwarded: for=10.0.0.{n}", key=key).status
            for n, key in enumerate([None, "no-key", None, "another-no-key"])
        ]
    assert seen == [200, 200, 429, 429]
