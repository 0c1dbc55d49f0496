"""Tokens, and who may do what."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.hub_driver import NOW, HubDriver, put
from xetway.db import Database
from xetway.errors import ConfigError
from xetway.hub.tokens import TokenStore, matches


def test_tokens_are_stored_hashed(tmp_path: Path) -> None:
    db = Database(tmp_path / "x.db")
    tokens = TokenStore(db, now=lambda: NOW)
    token = tokens.create(name="laptop", scope="write", patterns=("org/*",), user="alice")
    assert token.startswith("xetway_")
    assert len(token) == 50
    with db.read() as tx:
        row = tuple(tx.execute("SELECT * FROM tokens").fetchone())
    assert token not in repr(row)
    assert token[7:] not in repr(row)
    info = tokens.authenticate(token)
    assert info is not None
    assert (info.user, info.scope, info.patterns, info.name) == ("alice", "write", ("org/*",), "laptop")
    for other in ("", token[:-1], token + "a", token.swapcase(), "hf_" + token, "xetway_"):
        assert tokens.authenticate(other) is None


def test_tokens_end(tmp_path: Path) -> None:
    now = NOW
    tokens = TokenStore(Database(tmp_path / "x.db"), now=lambda: now)
    short = tokens.create(name="short", scope="read", expires_at=NOW + 10)
    long = tokens.create(name="long", scope="read")
    assert tokens.authenticate(short) is not None
    now = NOW + 10
    assert tokens.authenticate(short) is None
    assert tokens.authenticate(long) is not None
    first, second = tokens.list()
    assert (first.last_used_at, second.last_used_at) == (NOW, NOW + 10)
    assert tokens.revoke(second.id)
    assert tokens.authenticate(long) is None
    assert not tokens.revoke(second.id)
    assert not tokens.revoke(77)


@pytest.mark.parametrize(
    ("pattern", "model", "dataset"),
    [("*", True, True), ("org/m", True, True), ("ORG/M", True, True), ("org/*", True, True), ("*/m", True, True),
     ("o?g/[lm]", True, True), ("other/*", False, False), ("org/mm", False, False), ("models/*", True, False),
     ("datasets/*", False, True), ("datasets/org/*", False, True), ("datasets/org/x", False, False),
     ("d*/org/m", False, False), ("o*", False, False)],
)  # fmt: skip
def test_patterns(pattern: str, model: bool, dataset: bool) -> None:
    assert matches(pattern, "model", "org", "m") is model
    assert matches(pattern, "dataset", "org", "m") is dataset


@pytest.mark.parametrize("pattern", ["", "org", "org/", "/m", "a/b/c", "datasets", "datasets/a/b/c"])
def test_bad_patterns(hub: HubDriver, pattern: str) -> None:
    with pytest.raises(ConfigError):
        hub.new_token("x", "read", pattern)


@pytest.mark.parametrize("user", ["", "a/b", "a b", "-a", "a--b", "x\n", "x" * 97])
def test_bad_users(hub: HubDriver, user: str) -> None:
    with pytest.raises(ConfigError):
        hub.hub.tokens.create(name="n", scope="read", user=user)


WRITES = [
    ("POST", "/api/models/org/m/branch/b", {}),
    ("DELETE", "/api/models/org/m/branch/b", None),
    ("POST", "/api/models/org/m/tag/main", {"tag": "t"}),
    ("DELETE", "/api/models/org/m/tag/t", None),
    ("POST", "/api/models/org/m/preupload/main", {"files": []}),
    ("GET", "/api/models/org/m/xet-write-token/main", None),
    ("POST", "/api/models/org/m/commit/main", b'{"key":"header","value":{"summary":"x"}}\n'),
    ("POST", "/api/models/org/m/super-squash/main", {}),
    ("POST", "/api/models/org/m/discussions", {"title": "t"}),
    ("PUT", "/api/models/org/m/settings", {"private": False}),
    ("POST", "/org/m.git/info/lfs/objects/batch", {"operation": "upload", "objects": []}),
    ("GET", "/api/models/org/m/auth-check/write", None),
    ("POST", "/api/repos/move", {"fromRepo": "org/m", "toRepo": "org/n"}),
    ("DELETE", "/api/repos/delete", {"name": "m", "organization": "org"}),
]
READS = [
    ("GET", "/api/models/org/m", None),
    ("GET", "/api/models/org/m/revision/main", None),
    ("GET", "/api/models/org/m/tree/main", None),
    ("POST", "/api/models/org/m/paths-info/main", {"paths": ["x"]}),
    ("GET", "/api/models/org/m/refs", None),
    ("GET", "/api/models/org/m/commits/main", None),
    ("GET", "/api/models/org/m/xet-read-token/main", None),
    ("GET", "/api/models/org/m/auth-check", None),
    ("GET", "/api/models/org/m/discussions", None),
    ("GET", "/org/m/resolve/main/.gitattributes", None),
    ("HEAD", "/org/m/resolve/main/.gitattributes", None),
    ("GET", "/org/m/raw/main/.gitattributes", None),
    ("POST", "/org/m.git/info/lfs/objects/batch", {"operation": "download", "objects": []}),
]
JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(("method", "target", "body"), WRITES)
def test_writing_needs_a_write_token(hub: HubDriver, method: str, target: str, body: object) -> None:
    read, elsewhere = hub.new_token("bob", "read"), hub.new_token("bob", "write", "other/*")
    for token, status, code in (
        (None, 401, "token_required"),
        ("hf_unknown", 401, "invalid_token"),
        (read, 403, "read_only_token"),
        (elsewhere, 403, "wrong_repository"),
    ):
        answer = hub.send(method, target, body, token=token, headers=JSON, status=status)
        assert answer.json["code"] == code
        assert "x-error-code" not in answer.headers
    assert hub.get("/api/models/org/m")["sha"]


@pytest.mark.parametrize(("method", "target", "body"), READS)
def test_reading(hub: HubDriver, method: str, target: str, body: object) -> None:
    for token in (None, "hf_unknown", hub.new_token("bob", "read", "other/*")):
        hub.send(method, target, body, token=token, headers=JSON)
    hub.send("PUT", "/api/models/org/m/settings", {"visibility": "private"})
    for token in (None, "hf_unknown", hub.new_token("bob", "write", "other/*")):
        answer = hub.send(method, target, body, token=token, headers=JSON, status=404)
        assert answer.headers["x-error-code"] == "RepoNotFound"
    missing = hub.send(method, target.replace("org/m", "org/none"), body, token=None, headers=JSON, status=404)
    assert missing.body == answer.body
    hub.send(method, target, body, token=hub.new_token("bob", "read", "org/*"), headers=JSON)


@pytest.mark.parametrize(("method", "target", "body"), WRITES)
def test_a_private_repository_is_hidden_from_writers_of_others(
    hub: HubDriver, method: str, target: str, body: object
) -> None:
    hub.send("PUT", "/api/models/org/m/settings", {"private": True})
    for token in (None, hub.new_token("bob", "write", "other/*")):
        assert hub.send(method, target, body, token=token, status=404).headers["x-error-code"] == "RepoNotFound"


def test_open_servers(tmp_path: Path) -> None:
    hub = HubDriver(tmp_path, open_writes=True)
    owner, hub.token = hub.token, None
    hub.create()
    hub.commit(put("x", b"1"))
    hub.commit(put("x", b"2"), token="hf_unknown")
    authors = [item["authors"][0]["user"] for item in hub.get("/api/models/org/m/commits/main")]
    assert authors == ["anonymous"] * 3
    assert hub.send("POST", "/api/repos/create", {"name": "own"}).json["name"] == "anonymous/own"
    body = {"name": "p", "organization": "org", "private": True}
    assert hub.send("POST", "/api/repos/create", body, status=401).json["code"] == "token_required"
    hub.send("POST", "/api/repos/create", body, token=owner)
    hub.send("GET", "/api/models/org/p", status=404)
    hub.commit(put("x", b"1"), repo="models/org/p", status=404)
    # Hiding a repository from oneself is refused, not done.
    hub.send("PUT", "/api/models/org/m/settings", {"private": True}, status=401)


def test_whoami(hub: HubDriver) -> None:
    answer = hub.get("/api/whoami-v2")
    assert (answer["name"], answer["type"], answer["orgs"]) == ("alice", "user", [])
    assert answer["auth"]["accessToken"]["role"] == "write"
    for token, code in ((None, "token_required"), ("hf_x", "invalid_token")):
        assert hub.send("GET", "/api/whoami-v2", token=token, status=401).json["code"] == code


def test_lists_show_what_the_caller_may_see(hub: HubDriver) -> None:
    hub.create("org/hidden", private=True)
    hub.create("two/m", visibility="public")
    hub.create("org/data", type="dataset")

    def names(target: str, token: str | None) -> list[str]:
        return [item["id"] for item in hub.get(target, token=token)]

    assert names("/api/models", None) == ["two/m", "org/m"]
    assert names("/api/models", hub.token) == ["two/m", "org/hidden", "org/m"]
    assert names("/api/models?author=ORG", None) == ["org/m"]
    assert names("/api/models?search=WO/", None) == ["two/m"]
    assert names("/api/datasets", None) == ["org/data"]
    page = hub.send("GET", "/api/models?limit=1", token=None)
    seen = [item["id"] for item in page.json]
    while "link" in page.headers:
        page = hub.send("GET", page.headers["link"].partition("hub.test")[2].partition(">")[0], token=None)
        seen += [item["id"] for item in page.json]
    assert seen == ["two/m", "org/m"]


def test_basic_authentication(hub: HubDriver) -> None:
    import base64

    for text, status in ((f"user:{hub.token}", 200), ("user:wrong", 401), ("x", 401)):
        value = base64.b64encode(text.encode()).decode()
        hub.send("GET", "/api/whoami-v2", token=None, headers={"authorization": f"Basic {value}"}, status=status)
    for value in ("Basic %%%", "Basic", "Bearer", "Digest x"):
        hub.send("GET", "/api/whoami-v2", token=None, headers={"authorization": value}, status=401)


def test_a_token_that_means_nothing_is_named_as_the_reason(hub: HubDriver) -> None:
    hub.create("org/hidden", private=True)
    for repo in ("org/hidden", "org/none"):
        told = hub.send("GET", f"/api/models/{repo}", token="xetway_wrong", status=404).json
        assert told["code"] == "repo_not_found"
        assert "revoked" in told["error"]
        assert "revoked" not in hub.send("GET", f"/api/models/{repo}", token=None, status=404).json["error"]
