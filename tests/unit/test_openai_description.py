"""/openapi.json: valid, complete, and true of the routes."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from xetway.db import Database
from xetway.http import metrics
from xetway.http.router import Router
from xetway.openai.build import GatewayParts
from xetway.openai.description import Description
from xetway.settings.gateway import Auth, Gateway, Model, Upstream
from xetway.siblings import Siblings
from xetway.web import pages

PARAMETER = re.compile(r"\{([a-z_]+)(?:\.\.\.)?\}")


def document(auth: Auth = Auth()) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Description(auth).body)
    return found


@pytest.fixture
def routes(tmp_path: Path) -> Iterator[list[tuple[str, str, Any]]]:
    """All routes of the gateway, and those of any server that it tells of."""
    models = (Model(name="m", upstreams=(Upstream(url="http://127.0.0.1:1/v1"),)),)
    parts = GatewayParts(Gateway(models=models), Database(tmp_path / "xetway.db"), Siblings(1, 64), {})
    yield [*parts.routes(), *metrics.routes(), pages.HEALTH]
    asyncio.run(parts.close())


def test_it_is_valid() -> None:
    for auth in (Auth(), Auth(enabled=True, public=())):
        OpenAPIV31SpecValidator(document(auth)).validate()


def test_every_route_is_described(routes: list[tuple[str, str, Any]]) -> None:
    described = {(method.upper(), path) for path, item in document()["paths"].items() for method in item}
    routed = {
        (method, PARAMETER.sub(r"{\1}", pattern))
        for methods, pattern, _ in routes
        for method in methods.split("|")
        if method != "HEAD"
    }
    # What it is found by that it is not forwarded.
    assert routed - described == {(method, "/v1/{path}") for method in ("GET", "POST", "PUT", "PATCH", "DELETE")}


def test_everything_described_is_routed(routes: list[tuple[str, str, Any]]) -> None:
    router = Router(routes)
    for path, item in document()["paths"].items():
        for method in item:
            router.match(method.upper(), PARAMETER.sub("x", path).encode())


def test_paths_of_the_configuration_are_described() -> None:
    found = json.loads(Description(Auth(), ("/v1/extra", "/v1/more/*")).body)
    OpenAPIV31SpecValidator(found).validate()
    assert {"/v1/extra", "/v1/more/{rest}", "/v1/rerank"} <= set(found["paths"])


def test_who_needs_a_key() -> None:
    def security(auth: Auth, method: str, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = document(auth)["paths"][path][method]["security"]
        return found

    keys: list[dict[str, Any]] = [{"bearer": []}, {"key": []}]
    chat, status, listed = ("post", "/v1/chat/completions"), ("get", "/status"), ("get", "/admin/keys/list")
    needed, unneeded, public = Auth(enabled=True), Auth(), Auth(enabled=True, public=("/status",))
    assert security(needed, *chat) == security(needed, *status) == security(needed, *listed) == keys
    assert security(unneeded, *chat) == [*keys, {}]
    assert security(unneeded, *listed) == keys
    assert security(public, *status) == []


def test_a_request_to_a_model_may_have_more_fields() -> None:
    schema = document()["components"]["schemas"]["ModelRequest"]
    assert schema["required"] == ["model"]
    assert {"model", "stream", "temperature", "max_tokens"} <= set(schema["properties"])
    assert "additionalProperties" not in schema
    assert "\n" not in schema["description"]
