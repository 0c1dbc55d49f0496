"""Revisions: what words for them mean, branches, tags, history."""

from __future__ import annotations

import pytest

from tests.unit.hub_driver import HubDriver, put
from xetway.errors import RequestError
from xetway.hub.names import check_ref_name

API = "/api/models/org/m"


def sha(hub: HubDriver, revision: str) -> str:
    found: str = hub.get(f"{API}/revision/{revision}")["sha"]
    return found


def test_every_word_for_a_commit(hub: HubDriver) -> None:
    first = sha(hub, "main")
    hub.send("POST", f"{API}/branch/dev%2Fx", {})
    dev = hub.commit(put("dev.txt", b"dev"), revision="dev%2Fx")["commitOid"]
    hub.send("POST", f"{API}/tag/dev%2Fx", {"tag": "rel/1.0", "message": "first"})
    for word in ("dev%2Fx", "refs%2Fheads%2Fdev%2Fx", "rel%2F1.0", "refs%2Ftags%2Frel%2F1.0", dev, dev[:7], dev[:39]):
        assert sha(hub, word) == dev
    assert sha(hub, "main") == first
    for word in ("dev", "x", "refs%2Fheads", "refs%2Fheads%2Fnone", dev[:6], "0" * 40, "HEAD", dev.upper()):
        answer = hub.send("GET", f"{API}/revision/{word}", status=404)
        assert answer.headers["x-error-code"] == "RevisionNotFound"
        assert answer.json["code"] == "revision_not_found"


def test_commits_of_other_repositories_are_not_found(hub: HubDriver) -> None:
    secret = hub.commit(put("x", b"1"))["commitOid"]
    hub.create("org/other")
    assert hub.send("GET", f"/api/models/org/other/revision/{secret}", status=404).json["code"] == "revision_not_found"


def test_branches_and_tags(hub: HubDriver) -> None:
    first = sha(hub, "main")
    second = hub.commit(put("x", b"1"))["commitOid"]
    hub.send("POST", f"{API}/branch/old", {"startingPoint": first})
    hub.send("POST", f"{API}/branch/new")
    hub.send("POST", f"{API}/tag/{first}", {"tag": "v1"})
    refs = hub.get(f"{API}/refs")
    assert {item["name"]: item["targetCommit"] for item in refs["branches"]} == {
        "main": second, "new": second, "old": first,
    }  # fmt: skip
    assert refs["tags"] == [{"name": "v1", "ref": "refs/tags/v1", "targetCommit": first}]
    assert refs["converts"] == []
    assert "pullRequests" not in refs
    for target, body, code in (("branch/old", {}, "branch_exists"), ("tag/main", {"tag": "v1"}, "tag_exists")):
        assert hub.send("POST", f"{API}/{target}", body, status=409).json["code"] == code
    assert hub.send("DELETE", f"{API}/branch/main", status=403).json["code"] == "protected_branch"
    hub.send("DELETE", f"{API}/branch/old")
    hub.send("DELETE", f"{API}/tag/v1")
    hub.send("DELETE", f"{API}/branch/old", status=404)
    hub.send("DELETE", f"{API}/tag/new", status=404)
    assert [item["name"] for item in hub.get(f"{API}/refs")["branches"]] == ["main", "new"]


@pytest.mark.parametrize(
    "name",
    ["", "a..b", "a b", "/a", "a/", "a//b", ".a", "a/.b", "a.lock", "a.lock/b", "-a", "a~1", "a^", "a:b", "a?", "a*",
     "a[", "a\\b", "a@{1", "@", "HEAD", "a\x7f", "a.", "refs/heads/a", "0" * 40, "x" * 300],
)  # fmt: skip
def test_names_that_git_refuses(name: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_ref_name(name)
    assert caught.value.code == "bad_ref_name"


@pytest.mark.parametrize("name", ["dev", "feature/x", "v1.0", "a-b_c", "ünï", "a@b", "0" * 39])
def test_names_that_git_allows(name: str) -> None:
    assert check_ref_name(name) == name


def test_old_revisions_stay_readable(hub: HubDriver) -> None:
    oids = [hub.commit(put("x.txt", f"version {number}".encode()))["commitOid"] for number in range(5)]
    for number, oid in enumerate(oids):
        answer = hub.send("GET", f"/org/m/resolve/{oid}/x.txt")
        assert answer.body == f"version {number}".encode()
        assert answer.headers["x-repo-commit"] == oid


def test_history_page_by_page(hub: HubDriver) -> None:
    made = [hub.commit(put("x", str(number).encode()), title=f"c{number}")["commitOid"] for number in range(60)]
    page = hub.send("GET", f"{API}/commits/main")
    ids = [item["id"] for item in page.json]
    assert len(ids) == 50
    following = page.headers["link"]
    assert following.endswith('>; rel="next"')
    assert following.startswith("<http://hub.test/api/models/org/m/commits/main?cursor=")
    rest = hub.send("GET", following[len("<http://hub.test") : following.index(">")])
    ids += [item["id"] for item in rest.json]
    assert "link" not in rest.headers
    assert ids[:60] == made[::-1]
    assert rest.json[-1]["title"] == "initial commit"
    assert rest.json[-1]["authors"] == [{"user": "alice"}]


def test_squash_keeps_the_content(hub: HubDriver) -> None:
    before = hub.commit(put("x", b"1"))["commitOid"]
    after = hub.send("POST", f"{API}/super-squash/main", {"message": "one"}).json["commitOid"]
    assert [item["id"] for item in hub.get(f"{API}/commits/main")] == [after]
    assert hub.send("GET", "/org/m/resolve/main/x").body == b"1"
    assert sha(hub, before) == before
