"""Repositories as a whole: created, moved, copied, deleted, collected, checked."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.unit.http_driver import Client, call
from tests.unit.hub_driver import HubDriver, ndjson, put, put_lfs, remove
from xetway.cas import fsck, gc
from xetway.errors import RequestError
from xetway.hub.names import check_repo_name
from xetway.hub.reachable import check, prune, users
from xetway.hub.repos import Repo, create_repo, delete_repo, find_repo, move_repo, set_private
from xetway.hub.routes import routes


def collect(hub: HubDriver) -> gc.GcReport:
    hub.now += 1
    return gc.run(hub.store, prune, grace_s=0, window_s=0)


def errors(hub: HubDriver) -> list[str]:
    return fsck.run(hub.store, check, users).errors


def test_repositories_are_made_whatever_the_listener_does(hub: HubDriver, caplog: pytest.LogCaptureFixture) -> None:
    def fails(kind: str, name: str) -> None:
        raise sqlite3.OperationalError(f"no room for {kind} {name}")

    hub.hub.on_name = fails
    hub.create("org/own")
    hub.send("POST", "/api/models/org/own/duplicate", {"repository": "org/copy"})
    hub.send("POST", "/api/repos/move", {"fromRepo": "org/copy", "toRepo": "org/moved"})
    told = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert told == [f"no room for model org/{name}" for name in ("own", "copy", "moved")]


def test_create(hub: HubDriver) -> None:
    body: dict[str, Any] = {"name": "m", "organization": "ORG"}
    taken = hub.send("POST", "/api/repos/create", body, status=409).json
    assert (taken["code"], taken["url"]) == ("repo_exists", "http://hub.test/ORG/m")
    for kind, prefix in (("dataset", "datasets/"), ("space", "spaces/"), ("kernel", "kernels/"), ("model", "")):
        more = {"sdk": "static"} if kind == "space" else {}
        answer = hub.send("POST", "/api/repos/create", {"name": "new", "organization": "org", "type": kind, **more})
        assert answer.json["url"] == f"http://hub.test/{prefix}org/new"
        info = hub.get(f"/api/{kind}s/org/new")
        assert [item["rfilename"] for item in info["siblings"]] == [".gitattributes"]
        assert info.get("sdk") == more.get("sdk")
    assert hub.send("POST", "/api/repos/create", {"name": "mine"}).json["name"] == "alice/mine"
    assert (
        hub.send("POST", "/api/repos/create", {"name": "x", "visibility": "odd"}, status=400).json["code"]
        == "bad_visibility"
    )
    assert hub.get("/api/models/Org/NEW")["id"] == "org/new"


@pytest.mark.parametrize(
    "name",
    ["a", "a/", "/b", "a/b/c", "a/..", "../b", "a/.b", "-a/b", "a/b-", "a/b--c", "a/b..c", "a/b.git", "a/b c", "a/é",
     "api/b", "datasets/b", "v1/b", "org/resolve", "a/" + "x" * 97, "a/b\n"],
)  # fmt: skip
def test_bad_names(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_repo_name(*(name + "/").split("/", 1))
    assert caught.value.code == "bad_repo_name"


def test_move(hub: HubDriver) -> None:
    head = hub.commit(put("x", b"1"))["commitOid"]
    hub.create("org/taken")
    move = {"fromRepo": "org/m", "toRepo": "new/n", "type": "model"}
    assert hub.send("POST", "/api/repos/move", move | {"toRepo": "org/taken"}, status=409).json["code"] == "repo_exists"
    assert hub.send("POST", "/api/repos/move", move | {"toRepo": "bad"}, status=400).json["code"] == "bad_repo_name"
    assert hub.send("POST", "/api/repos/move", move | {"fromRepo": "no/no"}, status=404).headers["x-error-code"]
    hub.send("POST", "/api/repos/move", move)
    for name in ("new/n", "org/m"):
        info = hub.get(f"/api/models/{name}")
        assert (info["id"], info["sha"]) == ("new/n", head)
    # The old name works until someone takes it.
    hub.create("org/m")
    assert hub.get("/api/models/org/m")["id"] == "org/m"
    hub.send("POST", "/api/repos/move", {"fromRepo": "new/n", "toRepo": "New/N"})
    assert hub.get("/api/models/new/n")["id"] == "New/N"


def test_copies(hub: HubDriver) -> None:
    data = os.urandom(50_000)
    sha256 = hub.upload(data)
    hub.commit(put_lfs("w.bin", sha256), put("x", b"1"))
    hub.commit(put("x", b"2"), query="?create_pr=1")
    body = {"repository": "org/copy"}
    assert hub.send("POST", "/api/models/org/m/duplicate", body).json["url"] == "http://hub.test/org/copy"
    assert hub.send("POST", "/api/models/org/m/duplicate", body, status=409).json["url"]
    assert hub.send("GET", "/org/copy/resolve/main/w.bin").body == data
    assert hub.get("/api/models/org/copy/commits/main") == hub.get("/api/models/org/m/commits/main")
    hub.create("org/d", type="dataset")
    body = {"target": {"type": "dataset", "name": "org/d"}, "files": [{"sha256": sha256}, {"sha256": "0" * 64}]}
    failed = hub.send("POST", "/api/models/org/m/lfs-files/duplicate", body).json["failed"]
    assert [item["sha256"] for item in failed] == ["0" * 64]
    hub.commit(put_lfs("w.bin", sha256), repo="datasets/org/d")
    used = {
        (item["type"], item["id"]): item["storage"] for item in hub.get("/api/organizations/org/settings/repositories")
    }
    assert used == {("model", "org/m"): 50_000, ("model", "org/copy"): 50_000, ("dataset", "org/d"): 50_000}
    hub.send("DELETE", "/api/repos/delete", {"name": "m", "organization": "org"})
    collect(hub)
    assert hub.send("GET", "/org/copy/resolve/main/w.bin").body == data
    assert errors(hub) == []


def test_delete(hub: HubDriver) -> None:
    hub.upload(b"weights")
    hub.commit(put("x", b"1"))
    hub.send("DELETE", "/api/repos/delete", {"name": "m", "organization": "org"})
    assert hub.send("GET", "/api/models/org/m", status=404).headers["x-error-code"] == "RepoNotFound"
    hub.create()
    assert [item["title"] for item in hub.get("/api/models/org/m/commits/main")] == ["initial commit"]
    # A token for the old content is not one for the new repository of the same name.
    with hub.store.db.read() as tx:
        assert tx.execute("SELECT id FROM repos").fetchone()[0] == 2


def repo_of(hub: HubDriver, name: str = "m") -> Repo:
    with hub.store.db.read() as tx:
        found = find_repo(tx, "model", "org", name)
    assert found is not None
    return found


def lose_race(hub: HubDriver, change: str, method: str, target: str, body: object) -> Client:
    """Send a request; the repository changes when it has been admitted, before it takes the write lock."""
    repo, write = repo_of(hub), hub.store.db.write

    @contextmanager
    def later(*, wait: bool = True) -> Iterator[sqlite3.Connection]:
        hub.store.db.write = write  # type: ignore[method-assign]
        with write() as tx:
            if change == "delete":
                delete_repo(tx, repo)
            elif change == "hide":
                set_private(tx, repo, private=True)
            else:
                move_repo(tx, repo, "org", "elsewhere")
        with write(wait=wait) as tx:
            yield tx

    hub.store.db.write = later  # type: ignore[method-assign]
    return hub.send(method, target, body, status=None)


WRITES: list[tuple[str, str, object]] = [
    ("DELETE", "/api/repos/delete", {"name": "m", "organization": "org"}),
    ("POST", "/api/repos/move", {"fromRepo": "org/m", "toRepo": "org/n"}),
    ("PUT", "/api/models/org/m/settings", {"private": False}),
    ("POST", "/api/models/org/m/duplicate", {"repository": "org/n"}),
    ("POST", "/api/models/org/m/discussions", {"title": "t"}),
    ("POST", "/api/models/org/m/discussions", {"title": "t", "pullRequest": True}),
    ("POST", "/api/models/org/m/branch/dev", {}),
    ("DELETE", "/api/models/org/m/branch/b", None),
    ("POST", "/api/models/org/m/tag/main", {"tag": "u"}),
    ("DELETE", "/api/models/org/m/tag/t", None),
    ("POST", "/api/models/org/m/super-squash/main", {}),
    ("POST", "/api/models/org/m/commit/main", ndjson(("header", {"summary": "s"}), put("x", b"1"))),
    ("POST", "/api/models/org/m/commit/main?create_pr=1", ndjson(("header", {"summary": "s"}), put("x", b"1"))),
]


@pytest.mark.parametrize(("change", "status", "code"), [
    ("delete", 404, "repo_not_found"), ("hide", 409, "repo_changed"), ("move", 409, "repo_changed"),
])  # fmt: skip
@pytest.mark.parametrize(("method", "target", "body"), WRITES)
def test_lost_races(
    hub: HubDriver, change: str, status: int, code: str, method: str, target: str, body: object
) -> None:
    hub.send("POST", "/api/models/org/m/branch/b", {})
    hub.send("POST", "/api/models/org/m/tag/main", {"tag": "t"})
    # Read access needs no write transaction after this.
    hub.get("/api/whoami-v2")
    answer = lose_race(hub, change, method, target, body)
    assert (answer.status, answer.json["code"]) == (status, code)
    listed = {"delete": set(), "hide": {"org/m"}, "move": {"org/elsewhere"}}[change]
    assert {item["id"] for item in hub.get("/api/models")} == listed


def test_a_commit_needs_its_right_to_the_end(hub: HubDriver) -> None:
    class Slow(Client):
        """Sends its body when the repository has been replaced by one of the same name."""

        async def receive(self) -> dict[str, Any]:
            with hub.store.db.write() as tx:
                delete_repo(tx, repo)
                create_repo(tx, "model", "org", "m", user="bob", private=False, sdk=None, now_s=hub.now)
            return await super().receive()

    repo, headers = repo_of(hub), {"authorization": f"Bearer {hub.token}"}
    body = Slow((ndjson(("header", {"summary": "s"}), put("x", b"1")),))
    answer = call(routes(hub.hub), "POST", "/api/models/org/m/commit/main", headers.items(), body)
    assert (answer.status, answer.json["code"]) == (404, "repo_not_found")
    assert len(hub.get("/api/models/org/m/commits/main")) == 1


def test_a_repository_without_main_is_listed(hub: HubDriver) -> None:
    hub.create("org/fine")
    with hub.store.db.write() as tx:
        tx.execute("DELETE FROM refs WHERE repo_id = ?", (repo_of(hub).id,))
    assert [(item["id"], item["sha"] is None) for item in hub.get("/api/models")] == [
        ("org/fine", False),
        ("org/m", True),
    ]


def test_collection_keeps_history(hub: HubDriver) -> None:
    old, new, dropped = os.urandom(200_000), os.urandom(200_000), os.urandom(200_000)
    first = hub.commit(put_lfs("w.bin", hub.upload(old)), put("t", b"1"))["commitOid"]
    hub.commit(put_lfs("w.bin", hub.upload(new)), remove("t"))
    hub.send("POST", "/api/models/org/m/branch/dev", {})
    hub.commit(put_lfs("w.bin", hub.upload(dropped)), revision="dev")
    hub.upload(os.urandom(200_000))
    assert collect(hub).files_removed == 1
    assert errors(hub) == []
    hub.send("DELETE", "/api/models/org/m/branch/dev")
    assert collect(hub).files_removed == 1
    assert hub.send("GET", f"/org/m/resolve/{first}/w.bin").body == old
    assert hub.send("GET", f"/org/m/resolve/{first}/t").body == b"1"
    assert hub.send("GET", "/org/m/resolve/main/w.bin").body == new
    hub.send("POST", "/api/models/org/m/super-squash/main", {})
    assert collect(hub).files_removed == 1
    hub.send("GET", f"/api/models/org/m/revision/{first}", status=404)
    assert hub.send("GET", "/org/m/resolve/main/w.bin").body == new
    assert errors(hub) == []
    hub.send("DELETE", "/api/repos/delete", {"name": "m", "organization": "org"})
    assert collect(hub).files_removed == 1
    with hub.store.db.read() as tx:
        for table in ("git_objects", "blobs", "files", "xorbs", "commits", "refs", "repo_files"):
            assert tx.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0, table


def test_a_dry_run_changes_nothing(hub: HubDriver) -> None:
    hub.upload(os.urandom(1000))
    hub.now += 1
    assert gc.run(hub.store, prune, grace_s=0, window_s=0, dry_run=True).files_removed == 1
    assert collect(hub).files_removed == 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("UPDATE blobs SET data = x'00' WHERE size = 1", "blob"),
        ("UPDATE blobs SET size = size + 1 WHERE is_lfs = 1", "pointer"),
        ("UPDATE git_objects SET data = CAST(data || x'00' AS BLOB) WHERE kind = 'commit'", "commit"),
        ("UPDATE git_objects SET data = substr(data, 1, 10) WHERE kind = 'tree'", "tree"),
        ("DELETE FROM blobs WHERE size = 1", "is missing"),
        ("DELETE FROM refs", "no revision"),
        ("UPDATE commits SET parent = NULL", "another tree or parent"),
    ],
)
def test_damage_is_found(hub: HubDriver, damage: str, words: str) -> None:
    hub.commit(put("x", b"1"), put_lfs("w", hub.upload(b"weights")))
    assert errors(hub) == []
    with hub.store.db.write() as tx:
        tx.execute(damage)
    found = errors(hub)
    assert found
    assert any(words in line for line in found), found
