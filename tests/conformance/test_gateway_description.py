"""What a real server answers is what its /openapi.json says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_schema_validator import OAS31Validator

from tests.conformance.model_server import ModelServer

ADMIN = "the-key-of-the-administrator"
CONFIG = """
[[models]]
name = "m"
upstreams = [{{ url = "{url}" }}]
[[auth.keys]]
name = "root"
key = "{admin}"
scopes = ["infer", "admin"]
"""


PUBLIC = ("/health", "/health/live", "/health/ready", "/ready", "/metrics", "/openapi.json")


@pytest.fixture
def make_client(tmp_path: Path, make_server) -> Iterator[Callable[..., httpx.Client]]:
    """`make_client("--set", "auth.public=")` is a client of a gateway with a key."""
    with ModelServer() as upstream, ExitStack() as opened:

        def make(*options: str) -> httpx.Client:
            config = tmp_path / "gateway.toml"
            config.write_text(CONFIG.format(url=upstream.url, admin=ADMIN))
            server = make_server("--config", str(config), *options)
            return opened.enter_context(httpx.Client(base_url=server.url, trust_env=False, timeout=30))

        yield make


@pytest.fixture
def client(make_client: Callable[..., httpx.Client]) -> httpx.Client:
    return make_client()


def test_answers_are_as_described(client: httpx.Client) -> None:
    document: dict[str, Any] = client.get("/openapi.json").json()
    keyed = {"x-api-key": ADMIN}

    def check(method: str, path: str, at: str = "", **asked: Any) -> Any:
        got = client.request(method, at or path, **asked)
        described = document["paths"][path][method]["responses"][str(got.status_code)]
        if "$ref" in described:
            described = document["components"]["responses"][described["$ref"].rpartition("/")[2]]
        schema = described["content"][got.headers["content-type"].partition(";")[0]]["schema"]
        answer = got.json() if "json" in got.headers["content-type"] else got.text
        OAS31Validator({**schema, "components": document["components"]}).validate(answer)
        assert {name for name in described["headers"] if name in got.headers} >= {"x-request-id"}
        return answer

    for path in PUBLIC:
        check("get", path)
    for path in ("/v1/models", "/status", "/admin/keys/list", "/admin/queue/stats"):
        check("get", path, headers=keyed)
        check("get", path)
    check("get", "/v1/models/{model}", "/v1/models/m", headers=keyed)
    check("get", "/v1/models/{model}", "/v1/models/none", headers=keyed)
    made = check("post", "/admin/keys/generate", headers=keyed, json={"name": "a"})
    check("post", "/admin/keys/generate", headers=keyed, content=b"name=")
    check("post", "/admin/keys/{key_id}/revoke", f"/admin/keys/{made['key_id']}/revoke", headers=keyed)
    check("post", "/admin/keys/{key_id}/revoke", "/admin/keys/none/revoke", headers=keyed)
    check("get", "/admin/keys/list", headers=keyed)
    check("post", "/admin/breakers/reset", headers=keyed)
    check("post", "/v1/chat/completions", headers=keyed, json={"model": "m"})
    check("post", "/v1/chat/completions", headers=keyed, json={"model": "none"})
    check("post", "/v1/chat/completions", json={"model": "m"})
    check("post", "/v1/responses", headers=keyed, content=b"{")


def test_it_is_fetched_once(client: httpx.Client) -> None:
    first = client.get("/openapi.json")
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = client.get("/openapi.json", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.head("/openapi.json").headers["content-length"] == str(len(first.content))


def test_nothing_is_told_without_a_key(make_client: Callable[..., httpx.Client]) -> None:
    client = make_client("--set", "auth.public=")
    document: dict[str, Any] = client.get("/openapi.json", headers={"x-api-key": ADMIN}).json()
    assert set(PUBLIC) < set(document["paths"])
    for path, item in document["paths"].items():
        for method, described in item.items():
            assert described["security"] == [{"bearer": []}, {"key": []}]
            for headers in ({}, {"authorization": "Bearer of-nobody-at-all"}, {"x-api-key": "of-nobody-at-all"}):
                got = client.request(method, path.replace("{", "").replace("}", ""), headers=headers, content=b"{}")
                code = "invalid_api_key" if headers else "missing_api_key"
                assert (got.status_code, got.json()["error"]["code"]) == (401, code), path
