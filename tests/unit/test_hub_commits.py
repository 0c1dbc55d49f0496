"""Commits: what they change, what they refuse, and that a refused one changes nothing."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.unit.hub_driver import HubDriver, ndjson, put, put_lfs, remove
from xetway.errors import RequestError
from xetway.hub.git import object_id, pointer
from xetway.hub.names import check_path
from xetway.hub.payload import MAX_CHANGES, MAX_REGULAR_BYTES, Payload
from xetway.hub.trees import MAX_EDITED_FOLDERS

HEADER = ("header", {"summary": "x", "description": ""})


def paths(hub: HubDriver, revision: str = "main") -> set[str]:
    listed = hub.get(f"/api/models/org/m/tree/{revision}?recursive=true")
    return {item["path"] for item in listed if item["type"] == "file"} - {".gitattributes"}


def read(hub: HubDriver, path: str, revision: str = "main") -> bytes:
    return hub.send("GET", f"/org/m/resolve/{revision}/{path}").body


def test_changes_apply_in_order(hub: HubDriver) -> None:
    hub.commit(put("a/b/c", b"1"), put("a/d", b"2"), put("e", b"3"))
    assert paths(hub) == {"a/b/c", "a/d", "e"}
    hub.commit(remove("a/b/c"), put("e", b"4"))
    assert paths(hub) == {"a/d", "e"}
    assert read(hub, "e") == b"4"
    # A file becomes a folder and back, and an add beats the delete before it.
    hub.commit(remove("e"), put("e/f", b"5"), remove("a/"), put("a/x", b"6"))
    assert paths(hub) == {"e/f", "a/x"}
    hub.commit(remove("e/"), put("e", b"7"), put("e", b"8"))
    assert paths(hub) == {"e", "a/x"}
    assert read(hub, "e") == b"8"
    hub.commit(put("gone", b""), remove("gone"), remove("a/x"))
    assert paths(hub) == {"e"}


def test_commit_answer(hub: HubDriver) -> None:
    answer = hub.commit(put("x", b"1"))
    assert answer["commitUrl"] == f"http://hub.test/org/m/commit/{answer['commitOid']}"
    assert "pullRequestUrl" not in answer
    hub.create("org/d", type="dataset")
    answer = hub.commit(put("x", b"1"), repo="datasets/org/d")
    assert answer["commitUrl"].startswith("http://hub.test/datasets/org/d/commit/")


def test_a_commit_that_changes_nothing_is_none(hub: HubDriver) -> None:
    first = hub.commit(put("x", b"1"))["commitOid"]
    assert hub.commit(put("x", b"1"))["commitOid"] == first
    assert hub.commit()["commitOid"] == first
    assert hub.commit(put("y", b"1"), remove("y"))["commitOid"] == first
    assert len(hub.get("/api/models/org/m/commits/main")) == 2


def test_parent_commits(hub: HubDriver) -> None:
    first = hub.commit(put("x", b"1"))["commitOid"]
    second = hub.commit(put("x", b"2"), parent=first)["commitOid"]
    assert hub.commit(put("x", b"3"), parent=first, status=412)["code"] == "parent_commit_changed"
    assert hub.commit(put("x", b"3"), parent="0" * 40, status=404)["code"] == "revision_not_found"
    hub.commit(put("x", b"3"), parent=second[:10])
    assert read(hub, "x") == b"3"


def test_commits_go_on_branches(hub: HubDriver) -> None:
    first = hub.commit(put("x", b"1"))["commitOid"]
    hub.send("POST", "/api/models/org/m/tag/main", {"tag": "v1"})
    for revision in ("v1", first, "refs%2Ftags%2Fv1"):
        assert hub.commit(put("y", b"1"), revision=revision, status=400)["code"] == "not_a_branch"
    assert hub.commit(put("y", b"1"), revision="none", status=404)["code"] == "revision_not_found"
    hub.commit(put("y", b"1"), revision="refs%2Fheads%2Fmain")
    assert paths(hub) == {"x", "y"}


def test_pull_requests(hub: HubDriver) -> None:
    base = hub.commit(put("x", b"1"))["commitOid"]
    hub.commit(put("x", b"2"))
    answer = hub.commit(put("y", b"1"), query="?create_pr=1", title="please")
    assert answer["pullRequestUrl"] == "http://hub.test/org/m/discussions/1"
    hub.commit(put("z", b"1"), revision="refs%2Fpr%2F1")
    assert paths(hub, "refs%2Fpr%2F1") == {"x", "y", "z"}
    assert paths(hub) == {"x"}
    answer = hub.commit(put("w", b"1"), query="?create_pr=1", parent=base)
    assert answer["pullRequestUrl"].endswith("/2")
    assert read(hub, "x", "refs%2Fpr%2F2") == b"1"
    refs = hub.get("/api/models/org/m/refs?include_prs=1")["pullRequests"]
    assert [ref["ref"] for ref in refs] == ["refs/pr/1", "refs/pr/2"]
    details = hub.get("/api/models/org/m/discussions/1?diff=1")
    assert (details["title"], details["isPullRequest"], details["num"]) == ("please", True, 1)


def test_discussions(hub: HubDriver) -> None:
    target = "/api/models/org/m/discussions"
    for title, text in (("", ""), (" ", ""), ("t" * 1001, ""), ("t", "x" * 70_000)):
        body = {"title": title, "description": text}
        assert hub.send("POST", target, body, status=400).json["code"] == "bad_discussion"
    assert hub.send("POST", target, {"title": "talk"}).json["num"] == 1
    assert hub.send("POST", target, {"title": "change", "pullRequest": True}).json["num"] == 2
    listed = hub.get(target)
    assert [(item["title"], item["isPullRequest"]) for item in listed["discussions"]] == [
        ("change", True),
        ("talk", False),
    ]
    assert paths(hub, "refs%2Fpr%2F2") == set()
    for number in ("3", "0", "x", "99999999999"):
        assert hub.send("GET", f"{target}/{number}", status=404).json["code"] == "discussion_not_found"


def test_lfs_files_must_have_been_uploaded_to_this_repository(hub: HubDriver) -> None:
    hub.create("org/other")
    data = os.urandom(100_000)
    sha256 = hub.upload(data, repo_id=2)
    refused = hub.commit(put_lfs("w/a.bin", sha256, len(data)), status=400)
    assert refused["code"] == "lfs_object_missing"
    assert "w/a.bin" in refused["error"]
    hub.commit(put_lfs("a.bin", sha256), repo="models/org/other")
    # A pointer text committed as text is no way around it either, even when its blob is known.
    text = pointer(bytes.fromhex(sha256), len(data))
    assert hub.commit(put("a.bin", text), status=400)["code"] == "lfs_object_missing"
    hub.upload(data)
    wrong = hub.commit(put_lfs("a.bin", sha256, len(data) + 1), status=400)
    assert wrong["code"] == "lfs_size_mismatch"
    hub.commit(put_lfs("a.bin", sha256.upper(), len(data)), put("text.bin", text), put_lfs("copy.bin", sha256))
    for path in ("a.bin", "text.bin", "copy.bin"):
        assert read(hub, path) == data
    assert hub.send("GET", "/org/m/raw/main/a.bin").body == text


def test_large_regular_content(hub: HubDriver) -> None:
    data = os.urandom(1024 * 1024 + 1)
    hub.commit(put("notes.txt", data), put("limit.txt", data[:-1]))
    assert read(hub, "notes.txt") == data
    answer = hub.send("GET", "/org/m/resolve/main/notes.txt", headers={"range": "bytes=1000-1999"}, status=206)
    assert answer.body == data[1000:2000]
    assert "x-xet-hash" not in answer.headers
    assert read(hub, "limit.txt") == data[:-1]
    with hub.store.db.read() as tx:
        kept = dict(tx.execute("SELECT size, data IS NULL FROM blobs").fetchall())
    assert kept[len(data)] == 1
    assert kept[len(data) - 1] == 0
    head = hub.get("/api/models/org/m")["sha"]
    assert hub.commit(put("notes.txt", data))["commitOid"] == head


BAD_PATHS = [
    "", "/", "/etc/passwd", "a//b", "a/", "../x", "a/../b", "a/..", ".", "./a", "a/./b", ".git/config", "a/.GIT/x",
    ".git", ".git.", ".git ", "git~1/x", "a\\b", "..\\x", "a\x00b", "a\nb", "a\x7fb", "a\x85b",
    "x" * 256, "é" * 128, "/".join(["x" * 99] * 11),
    "a/" * 64 + "f", "a" + "\u0301\u0323" * 20_000,
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_bad_paths(hub: HubDriver, path: str) -> None:
    head = hub.get("/api/models/org/m")["sha"]
    assert hub.commit(put("fine", b"1"), put(path, b"1"), status=400)["code"] == "bad_path"
    assert hub.commit(put_lfs(path, "0" * 64, 1), status=400)["code"] == "bad_path"
    if not path.endswith("/"):
        assert hub.commit(("deletedFile", {"path": path}), status=400)["code"] == "bad_path"
    assert hub.get("/api/models/org/m")["sha"] == head


@pytest.mark.parametrize(
    "path", ["x" * 255, "é" * 127, "a b/c%20d", "...", "a..b", ".gitignore", "git", "é", "💾/#?&", "a/" * 63 + "f"]
)
def test_odd_paths(hub: HubDriver, path: str) -> None:
    assert check_path(path) == path
    hub.commit(put(path, b"odd"))
    assert paths(hub) == {path}


def test_names_are_kept_in_one_form(hub: HubDriver) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    hub.commit(put(decomposed, b"1"))
    assert paths(hub) == {composed}
    for name in ("caf%C3%A9", "cafe%CC%81"):
        assert read(hub, name) == b"1"
    plan = hub.send("POST", "/api/models/org/m/preupload/main", {"files": [{"path": decomposed, "size": 1}]}).json
    assert plan["files"][0]["path"] == decomposed
    assert plan["files"][0]["oid"]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([put("e/x", b"")], "path_conflict"),
        ([put("d", b"")], "path_conflict"),
        ([put("n/a", b""), put("n/a/b", b"")], "path_conflict"),
        ([put_lfs("x", "0" * 63, 1)], "bad_lfs_oid"),
        ([put_lfs("x", "z" * 64, 1)], "bad_lfs_oid"),
        ([("lfsFile", {"path": "x", "algo": "md5", "oid": "0" * 64})], "bad_lfs_oid"),
        ([("what", {})], "bad_commit"),
        ([HEADER], "bad_commit"),
        ([("file", {"path": "x"})], "bad_commit"),
        ([("file", {"path": 1, "content": ""})], "bad_commit"),
        ([("file", {"path": "x", "content": "%%%", "encoding": "base64"})], "bad_commit"),
        ([("file", {"path": "x", "content": "eA", "encoding": "base64"})], "bad_commit"),
        ([("file", {"path": "x", "content": "x", "encoding": "rot13"})], "bad_commit"),
        ([("file", {"path": "x", "content": 5})], "bad_commit"),
        ([("deletedFile", [])], "bad_commit"),
    ],
)
def test_bad_changes(hub: HubDriver, lines: list[tuple[str, Any]], code: str) -> None:
    head = hub.commit(put("e", b"1"), put("d/f", b"1"))["commitOid"]
    answer = hub.commit(put("new", b"1"), *lines, status=400)
    assert answer["code"] == code
    assert hub.get("/api/models/org/m")["sha"] == head


@pytest.mark.parametrize("path", ["none", "d", "e/", "e/x", "d/none", "none/"])
def test_deleting_what_is_not_there(hub: HubDriver, path: str) -> None:
    hub.commit(put("e", b"1"), put("d/f", b"1"))
    body = ndjson(HEADER, remove(path))
    answer = hub.send("POST", "/api/models/org/m/commit/main", body, status=404)
    assert answer.headers["x-error-code"] == "EntryNotFound"


@pytest.mark.parametrize(
    "body",
    [b"", b"\n\n", b"{", b"[]\n", b'{"key":"header"}\n', ndjson(put("x", b"")), ndjson(("header", {"summary": ""})),
     ndjson(("header", {"summary": "a\0b"})), ndjson(("header", {"description": "x"})), b"\xff\xfe\n", b"[" * 100_000,
     b'{"key":"header","value":{"summary":"\\ud800"}}\n'],
)  # fmt: skip
def test_bad_bodies(hub: HubDriver, body: bytes) -> None:
    answer = hub.send("POST", "/api/models/org/m/commit/main", body, status=400).json
    assert answer["code"] == "bad_commit"
    assert "Traceback" not in answer["error"]


def test_limits(hub: HubDriver) -> None:
    long = hub.commit(put("x", b"1"), title="t" * 1001, status=400)
    assert long["code"] == "message_too_long"
    huge = hub.commit(put("x", bytes(MAX_REGULAR_BYTES + 1)), status=413)
    assert huge["code"] == "regular_file_too_large"
    many = ndjson(HEADER) + ndjson(remove("x")) * (MAX_CHANGES + 1)
    answer = hub.send("POST", "/api/models/org/m/commit/main", many, status=400)
    assert answer.json["code"] == "too_many_changes"
    endless = b'{"key":"header","value":{"summary":"x"}}\n{"key":"' + b"x" * (16 * 1024 * 1024)
    answer = hub.send("POST", "/api/models/org/m/commit/main", endless, status=413)
    assert answer.json["code"] == "regular_file_too_large"


def test_a_commit_changes_a_bounded_number_of_folders(hub: HubDriver) -> None:
    head = hub.get("/api/models/org/m")["sha"]
    lines = (put(f"{number}/" + "a/" * 62 + "f", b"") for number in range(MAX_EDITED_FOLDERS // 63 + 1))
    assert hub.commit(*lines, status=400)["code"] == "too_many_folders"
    assert hub.get("/api/models/org/m")["sha"] == head


@pytest.mark.parametrize("step", [1, 37, 255, 100_000])
def test_bodies_arrive_in_any_pieces(hub: HubDriver, step: int) -> None:
    body = ndjson(HEADER, put("a", b"x" * 3000), remove("b"), ("file", {"path": "c", "content": "text"})).rstrip(b"\n")
    with Payload(hub.store, 1) as payload:
        for start in range(0, len(body), step):
            payload.feed(body[start : start + step])
        payload.finish()
        assert [change.path for change in payload.changes] == ["a", "b", "c"]
        assert [payload.content(change) for change in payload.changes[::2]] == [b"x" * 3000, b"text"]  # type: ignore[arg-type]


def feed(payload: Payload, body: bytes) -> None:
    payload.feed(body)
    payload.finish()


def test_a_truncated_body_is_refused(hub: HubDriver) -> None:
    body = ndjson(HEADER, put("a", b"x" * 30))
    for length in range(len(body) - 1):
        with Payload(hub.store, 1) as payload:
            payload_end = body.index(b"\n")
            if length in {payload_end, payload_end + 1}:
                # Cut at the end of a line it looks complete; Content-Length guards that.
                feed(payload, body[:length])
                continue
            with pytest.raises(RequestError) as caught:
                feed(payload, body[:length])
            assert caught.value.code == "bad_commit"


def test_content_with_a_known_id_must_be_the_same(hub: HubDriver) -> None:
    # As two contents with one SHA-1 would look: the id is known with another SHA-256.
    with hub.store.db.write() as tx:
        tx.execute(
            "INSERT INTO blobs (oid, size, sha256, is_lfs, data, xet) VALUES (?, 1, ?, 0, ?, ?)",
            (object_id("blob", b"1"), bytes(32), b"x", bytes(32)),
        )
    assert hub.commit(put("x", b"1"), status=409)["code"] == "object_id_collision"
