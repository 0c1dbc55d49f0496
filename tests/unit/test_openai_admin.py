"""Administering keys: over HTTP, and on the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.command import xetway
from tests.unit.http_driver import Client, call
from xetway.db import Database
from xetway.openai.admin import routes
from xetway.openai.catalog import Catalog
from xetway.policy.cache import AnswerCache
from xetway.policy.clearing import Clearing, ClearStore
from xetway.policy.key_store import KeyStore
from xetway.policy.keys import Keys
from xetway.policy.storage import MemoryStorage
from xetway.settings import gateway as settings
from xetway.settings.gateway import Auth

MODEL = settings.Model(name="m", aliases=("n",), upstreams=(settings.Upstream(url="http://127.0.0.1:9/v1"),))
NOW = 1_770_868_800.0  # 2026-02-12T04:00:00Z
JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")


class Administrator:
    """Calls the routes with an administrator's key."""

    def __init__(self, folder: Path) -> None:
        self.store = KeyStore(Database(folder / "xetway.db"), lambda: NOW)
        self.keys = Keys(Auth(enabled=True), self.store, {}, lambda: NOW)
        cache = AnswerCache(settings.Cache(enabled=True), MemoryStorage(1000))
        self.store_of_clears = ClearStore(Database(folder / "xetway.db"), lambda: NOW)
        clearing = Clearing(self.store_of_clears)
        clearing.configure(cache, 60)
        self.routes = list(routes(self.keys, Catalog([MODEL]), clearing, lambda: NOW))
        self.key, self.info = self.keys.create(name="operator", scopes=("admin",), who="test", client="-")

    def call(
        self, method: str, path: str, body: bytes = b"", *headers: tuple[str, str], key: str | None = None
    ) -> Client:
        named = [("authorization", f"Bearer {key or self.key}"), ("content-length", str(len(body))), *headers]
        return call(self.routes, method, path, named, Client([body]))

    def generate(self, body: Any, *headers: tuple[str, str]) -> Client:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return self.call("POST", "/admin/keys/generate", data, *headers)


@pytest.fixture
def admin(tmp_path: Path) -> Administrator:
    return Administrator(tmp_path)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"name": "my-app", "rate_limit": 100}, [JSON]),
        ({"name": "my-app", "rate_limit": 100}, []),
        ('{"name": "my-app", "rate_limit": 100}', [FORM]),
        ("name=my-app&rate_limit=100", [FORM]),
        ("name=my%2Dapp&rate_limit=100", []),
    ],
)
def test_generate(admin: Administrator, body: Any, headers: list[tuple[str, str]]) -> None:
    answer = admin.generate(body, *headers)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json
    assert (made["name"], made["rate_limit"], made["created_at"]) == ("my-app", 100, "2026-02-12T04:00:00Z")
    caller = admin.keys.check(b"Bearer " + made["api_key"].encode(), None, "", NOW)
    assert (caller.id, caller.scopes, caller.limit.requests_per_minute) == (made["key_id"], {"infer"}, 100)


@pytest.mark.parametrize(
    "body",
    [
        {
            "name": "b", "scopes": ["infer", "load"], "models": ["a*", "b"], "priority": "critical", "expires_in": 60,
            "burst": 2, "tokens_per_minute": 3, "concurrency": 4,
        },
        (
            "name=b&scopes=infer,load&models=a*&models=b&priority=critical&expires_in=60&burst=2&"
            "tokens_per_minute=3&concurrency=4"
        ),
    ],
)  # fmt: skip
def test_generate_with_everything(admin: Administrator, body: Any) -> None:
    made = admin.generate(body).json
    assert {name: value for name, value in made.items() if name not in {"api_key", "key_id"}} == {
        "name": "b", "rate_limit": None, "created_at": "2026-02-12T04:00:00Z", "last_used_at": None,
        "is_active": True, "expires_at": "2026-02-12T04:01:00Z", "revoked_at": None, "scopes": ["infer", "load"],
        "models": ["a*", "b"], "priority": "critical", "tokens_per_minute": 3, "burst": 2, "concurrency": 4,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("", []),
        ("{", []),
        ("[]", [JSON]),
        ({}, []),
        ({"name": ""}, []),
        ({"name": "a\n"}, []),
        ({"name": "a", "rate_limit": 0}, []),
        ({"name": "a", "scopes": ["root"]}, []),
        ({"name": "a", "scopes": []}, []),
        ({"name": "a", "nonsense": 1}, []),
        ({"name": "a", "expires_in": 10**18}, []),
        ("rate_limit=100", []),
        ("name=a&rate_limit=x", []),
        ("name=%ff", []),
        ("&".join(f"n{number}=1" for number in range(200)), []),
        ("[" * 100_000, [JSON]),
    ],
)
def test_generate_refuses(admin: Administrator, body: Any, headers: list[tuple[str, str]]) -> None:
    answer = admin.generate(body, *headers)
    assert (answer.status, answer.json["code"]) in {(400, "bad_key"), (413, "body_too_large")}
    assert len(admin.store.list()) == 1


def test_list_and_revoke(admin: Administrator) -> None:
    made = admin.generate({"name": "app", "rate_limit": 7}).json
    listed = admin.call("GET", "/admin/keys/list").json["keys"]
    assert [(key["key_id"], key["name"], key["rate_limit"], key["is_active"]) for key in listed] == [
        (admin.info.id, "operator", None, True), (made["key_id"], "app", 7, True),
    ]  # fmt: skip
    assert all("last_used_at" in key and "api_key" not in key for key in listed)
    path = f"/admin/keys/{made['key_id']}/revoke"
    assert admin.call("POST", path).json == {"success": True, "message": f"key {made['key_id']} is revoked"}
    assert "before" in admin.call("POST", path).json["message"]
    assert [key["is_active"] for key in admin.call("GET", "/admin/keys/list").json["keys"]] == [True, False]
    unknown = admin.call("POST", "/admin/keys/0123456789abcdef/revoke")
    assert (unknown.status, unknown.json["code"]) == (404, "key_not_found")
    assert [(line.who, line.what, line.client) for line in admin.store.log()][:2] == [
        (admin.info.id, "revoke", "127.0.0.1"), (admin.info.id, "generate", "127.0.0.1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/admin/keys/generate"), ("GET", "/admin/keys/list"), ("POST", "/admin/keys/0123456789abcdef/revoke")],
)
def test_only_for_administrators(admin: Administrator, method: str, path: str) -> None:
    plain = admin.generate({"name": "admin"}).json["api_key"]
    refused = admin.call(method, path, b'{"name": "x"}', key=plain)
    assert (refused.status, refused.json["code"]) == (403, "insufficient_scope")
    wrong = admin.call(method, path, b'{"name": "x"}', key="xwk_wrong")
    assert (wrong.status, wrong.headers["www-authenticate"]) == (401, "Bearer")
    assert wrong.json["code"] == "invalid_api_key"
    missing = call(admin.routes, method, path)
    assert (missing.status, missing.json["code"]) == (401, "missing_api_key")
    assert len(admin.store.list()) == 2


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", str(tmp_path))
    limits = ("--requests-per-minute", "60", "--priority", "low", "--model", "llama-*", "--expires", "30d")
    assert xetway("key", "create", *data, "--name", "app", "--scope", "admin", *limits) == 0
    said = capsys.readouterr()
    assert re.fullmatch(r"xwk_[A-Za-z0-9_-]{43}\n", said.out)
    keys = Keys(Auth(enabled=True), KeyStore(Database(tmp_path / "xetway.db")))
    [info] = keys.list()
    caller = keys.check(None, said.out.strip().encode(), "", info.created_at)
    assert (caller.scopes, caller.priority, caller.limit.requests_per_minute) == ({"admin"}, "low", 60)
    assert info.expires_at == pytest.approx(info.created_at + 30 * 86_400, abs=5)
    assert f"key {info.id} may admin with llama-*, until " in said.err
    assert xetway("key", "revoke", *data, info.id) == 0
    assert xetway("key", "list", *data) == 0
    assert xetway("key", "log", *data) == 0
    listed = capsys.readouterr().out
    assert re.search(rf"{info.id}  app   admin   llama-\*  low       60 .* revoked\n", listed)
    assert re.search(rf"command line  revoke  {info.id}  -\n", listed)
    assert xetway("key", "revoke", *data, "0" * 16) == 1
    assert xetway("key", "list", "--data", str(tmp_path / "none")) == 2
    assert xetway("key", "create", *data, "--name", "a", "--burst", "0") == 2
    assert xetway("key", "create", *data, "--name", "a", "--expires", "999999999d") == 2


@pytest.mark.parametrize(
    ("body", "headers", "cleared"),
    [
        (b"", [], None),
        (b"{}", [JSON], None),
        (b'{"model": null}', [JSON], None),
        (b'{"model": "m"}', [JSON], "m"),
        (b"model=n", [FORM], "m"),
        (b"model=1", [], "m"),
    ],
)
def test_clear_answers(admin: Administrator, body: bytes, headers: list[tuple[str, str]], cleared: str | None) -> None:
    answer = admin.call("POST", "/admin/cache/clear", body, *headers)
    of = cleared or "all models"
    assert json.loads(answer.body) == {"success": True, "message": f"the answers of {of} are forgotten"}
    assert admin.store_of_clears.after(0, 60) == [(1, cleared)]


@pytest.mark.parametrize(
    ("body", "code"), [(b"{", "bad_clear"), (b"modle=m", "bad_clear"), (b"model=unknown", "model_not_found")]
)
def test_what_is_not_there_is_not_cleared(admin: Administrator, body: bytes, code: str) -> None:
    answer = admin.call("POST", "/admin/cache/clear", body)
    assert json.loads(answer.body)["code"] == code
    assert admin.store_of_clears.after(0, 60) == []


def test_clearing_needs_an_administrator(admin: Administrator) -> None:
    key, _ = admin.keys.create(name="app", who="test", client="-")
    answer = admin.call("POST", "/admin/cache/clear", key=key)
    assert (answer.status, json.loads(answer.body)["code"]) == (403, "insufficient_scope")


def test_keys_are_those_of_the_configured_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text('[server]\ndata = "store"\n')
    assert xetway("key", "create", "--name", "app", "--config", str(config)) == 0
    assert (tmp_path / "store" / "xetway.db").is_file()
    capsys.readouterr()
    assert xetway("key", "list", "--config", str(config), "--data", str(tmp_path / "none")) == 2
    monkeypatch.setenv("XETWAY_CONFIG", str(config))
    assert xetway("key", "list") == 0
    assert "app" in capsys.readouterr().out
    assert xetway("key", "list", "--config", str(tmp_path / "missing.toml")) == 2
