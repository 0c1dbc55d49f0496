"""Uploads over a Hub in memory: what is asked, skipped, sent, committed."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.transfer_driver import COMMIT, ENDPOINT, FakeWire, git_oid
from xetway.errors import ConfigError, NotFoundError, StateError, XetwayError
from xetway.transfer import uploads
from xetway.transfer.local_files import LocalFile, find_files, gitignore
from xetway.transfer.names import parse_repo
from xetway.transfer.uploads import Upload, Uploaded, upload_files
from xetway.transfer.wire import Answer

REPO = parse_repo("org/model")


class UploadWire(FakeWire):
    """Takes uploads: names the mode of each file by its name, and remembers commits."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        super().__init__(files or {})
        self.commits: list[list[dict[str, Any]]] = []
        self.oids: dict[str, str] = {}

    def _answer(self, method: str, url: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if "/preupload/" in path:
            asked = json.loads(body)
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".bin") else "regular",
                    "shouldIgnore": file["path"].endswith(".log"),
                    "oid": self.oids.get(file["path"]),
                }
                for file in asked["files"]
            ]
            return self.json({"files": files}, url)
        if "/commit/" in path:
            assert headers["content-type"] == "application/x-ndjson"
            self.commits.append([json.loads(line) for line in body.splitlines()])
            answer = {"commitUrl": f"{ENDPOINT}/org/model/commit/{COMMIT}", "commitOid": COMMIT, "success": True}
            if "create_pr=1" in path:
                answer["pullRequestUrl"] = f"{ENDPOINT}/org/model/discussions/7"
            return self.json(answer, url)
        return super()._answer(method, url, path, headers, body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "model"
    (root / "sub").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("not this")
    (root / ".cache" / "huggingface").mkdir(parents=True)
    (root / ".cache" / "huggingface" / "note").write_text("nor this")
    (root / "config.json").write_bytes(b"{}")
    (root / "model.bin").write_bytes(bytes(5_000))
    (root / "sub" / "noise.log").write_bytes(b"ignored")
    (root / "empty.bin").touch()
    return root


def send(wire: UploadWire, folder: Path, **options: Any) -> Uploaded:
    files = options.pop("files", None) or find_files(folder, options.pop("to", None))
    return asyncio.run(upload_files(wire.hub(), Upload(repo=REPO, files=files, **options)))


def test_folder_is_committed_once(folder: Path) -> None:
    wire = UploadWire()
    result = send(wire, folder, message="Better weights\n\nMuch better.")
    (lines,) = wire.commits
    assert lines[0] == {"key": "header", "value": {"summary": "Better weights", "description": "Much better."}}
    by_path = {line["value"]["path"]: line for line in lines[1:]}
    assert set(by_path) == {"config.json", "model.bin", "empty.bin"}
    sha256 = hashlib.sha256(bytes(5_000)).hexdigest()
    assert by_path["model.bin"] == {
        "key": "lfsFile", "value": {"path": "model.bin", "algo": "sha256", "oid": sha256, "size": 5_000},
    }  # fmt: skip
    assert base64.b64decode(by_path["config.json"]["value"]["content"]) == b"{}"
    assert by_path["empty.bin"]["key"] == "file", "an empty file cannot go as LFS"
    assert (result.uploaded_files, result.ignored_files, result.committed) == (3, 1, True)
    assert result.commit_url == f"{ENDPOINT}/org/model/commit/{COMMIT}"


def test_unchanged_files_are_skipped(folder: Path) -> None:
    wire = UploadWire()
    wire.oids = {
        "config.json": git_oid(b"{}"),
        "model.bin": hashlib.sha256(bytes(5_000)).hexdigest(),
        "empty.bin": git_oid(b""),
    }
    result = send(wire, folder)
    assert not wire.commits
    assert not wire.uploaded
    assert (result.unchanged_files, result.committed, result.commit) == (3, False, COMMIT)
    wire.oids["config.json"] = git_oid(b"[]")
    assert send(wire, folder).uploaded_files == 1


def test_deletion_spares_what_is_uploaded(folder: Path) -> None:
    names = ["old/model.bin", "old/config.json", "model.bin", "x.bin", ".gitattributes"]
    wire = UploadWire(dict.fromkeys(names, b"x"))
    send(wire, folder, delete=("*",))
    gone = {line["value"]["path"] for line in wire.commits[0] if line["key"] == "deletedFile"}
    assert gone == {"old/model.bin", "old/config.json", "x.bin"}
    send(wire, folder, to="old", prefix="old", delete=("*.bin",))
    gone = {line["value"]["path"] for line in wire.commits[1] if line["key"] == "deletedFile"}
    assert gone == set(), "old/model.bin is uploaded again, and x.bin is not below old/"


def test_many_files_take_several_requests_and_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "COMMIT_OPERATIONS", 200)
    for number in range(550):
        (tmp_path / f"{number:03}.{'bin' if number % 2 else 'txt'}").write_bytes(b"%d" % number)
    wire = UploadWire()
    send(wire, tmp_path, create_pr=True)
    assert sum("/preupload/" in path for _, path in wire.asked) == 3
    assert [len(lines) - 1 for lines in wire.commits] == [200, 200, 150]
    sent = [line["value"]["path"] for lines in wire.commits for line in lines[1:]]
    assert sorted(sent) == sorted(path.name for path in tmp_path.iterdir())
    targets = [path for _, path in wire.asked if "/commit/" in path]
    assert targets[0].endswith("/commit/main?create_pr=1")
    assert targets[1:] == ["/api/models/org/model/commit/refs%2Fpr%2F7"] * 2
    assert "part 3 of 3" in wire.commits[2][0]["value"]["summary"]


def test_inline_content_is_bounded_per_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "COMMIT_INLINE_BYTES", 100)
    for name in "abc":
        (tmp_path / f"{name}.txt").write_bytes(b"x" * 60)
    wire = UploadWire()
    send(wire, tmp_path)
    assert len(wire.commits) == 3


def test_file_that_changes_meanwhile_is_not_committed(tmp_path: Path) -> None:
    for name in ("a.bin", "a.txt"):
        path = tmp_path / name
        path.write_bytes(b"long enough")
        wrong = LocalFile(source=path, path=name, size=5)
        wire = UploadWire()
        with pytest.raises(StateError) as changed:
            send(wire, tmp_path, files=[wrong])
        assert changed.value.code == "file_changed"
        assert not wire.commits


def test_hub_that_forgets_a_file(folder: Path) -> None:
    wire = UploadWire()
    wire.answers["/api/models/org/model/preupload/"] = wire.json({"files": []})
    with pytest.raises(StateError) as refused:
        send(wire, folder)
    assert refused.value.code == "bad_hub_answer"


@pytest.mark.parametrize(
    ("status", "seen", "made"), [(200, 404, True), (409, 404, False), (403, 200, False), (403, 404, None)]
)
def test_creating(status: int, seen: int, made: bool | None) -> None:
    wire = FakeWire({})
    wire.answers["/api/repos/create"] = Answer(status, [], b"{}", ENDPOINT)
    wire.answers["/api/models/org/model"] = Answer(seen, [], b"{}", ENDPOINT)
    if made is None:
        with pytest.raises(XetwayError) as refused:
            asyncio.run(wire.hub().create(REPO, private=None))
        assert refused.value.code == "not_allowed"
    else:
        assert asyncio.run(wire.hub().create(REPO, private=True)) is made
        body = json.loads(wire.sent[0][3])
        assert body == {
            "name": "model",
            "organization": "org",
            "type": "model",
            "private": True,
            "visibility": "private",
        }


def test_finding_files(folder: Path) -> None:
    found = {file.path: file.size for file in find_files(folder, None)}
    assert found == {"config.json": 2, "model.bin": 5_000, "sub/noise.log": 7, "empty.bin": 0}
    assert [file.path for file in find_files(folder, "./weights/", ["*.bin"], ["empty*"])] == ["weights/model.bin"]
    assert [file.path for file in find_files(folder / "model.bin", None)] == ["model.bin"]
    assert [file.path for file in find_files(folder / "model.bin", "a/b.bin")] == ["a/b.bin"]
    assert [file.path for file in find_files(folder / "model.bin", "a/")] == ["a/model.bin"]


def test_finding_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as missing:
        find_files(tmp_path / "nowhere", None)
    assert missing.value.code == "no_such_file"
    for path in ("../x", "a/../b", "a\\b"):
        with pytest.raises(ConfigError) as refused:
            find_files(tmp_path, path)
        assert refused.value.code == "bad_path"


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "alias.json").symlink_to(folder / "config.json")
    paths = {file.path for file in find_files(folder, None)}
    assert "alias.json" in paths
    assert not any(path.startswith("loop") for path in paths)


def test_gitignore_goes_with_the_question(folder: Path) -> None:
    assert gitignore(folder) is None
    (folder / ".gitignore").write_text("*.log\n")
    wire = UploadWire()
    send(wire, folder, ignore=gitignore(folder))
    asked = next(json.loads(body) for _, path, _, body in wire.sent if "/preupload/" in path)
    assert asked["gitIgnore"] == "*.log\n"
    sample = next(file for file in asked["files"] if file["path"] == "model.bin")
    assert base64.b64decode(sample["sample"]) == bytes(512)
