"""What a real server answers is what its /openapi.json says."""

from __future__ import annotations

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


@pytest.fixture
def client(tmp_path: Path, make_server):
    with ModelServer() as upstream:
        config = tmp_path / "gateway.toml"
        config.write_text(CONFIG.format(url=upstream.url, admin=ADMIN))
        server = make_server("--config", str(config))
        with httpx.Client(base_url=server.url, trust_env=False, timeout=30) as http:
            yield http


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

    for path in ("/health", "/health/live", "/health/ready", "/ready", "/metrics", "/openapi.json"):
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
