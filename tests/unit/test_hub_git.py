"""Object ids and histories, against git itself."""

from __future__ import annotations

import os
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hub_driver import NOW, HubDriver, put, put_lfs, remove
from xetway.errors import FormatError
from xetway.hub.git import (
    EMPTY_TREE,
    FILE_MODE,
    FOLDER_MODE,
    TreeEntry,
    encode_commit,
    encode_tree,
    object_id,
    parse_pointer,
    parse_tree,
    pointer,
)


class Git:
    """A bare repository, and the git command in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run("init", "--quiet", "--bare", str(folder))

    def run(self, *arguments: str, stdin: bytes = b"", **environment: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            input=stdin,
            capture_output=True,
            check=False,
            env={
                "PATH": os.environ["PATH"],
                "GIT_DIR": str(self.folder),
                "GIT_CONFIG_NOSYSTEM": "1",
                "HOME": str(self.folder),
                **environment,
            },
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def write(self, kind: str, data: bytes, oid: str) -> None:
        """Put an object where git would, unhashed."""
        path = self.folder / "objects" / oid[:2] / oid[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(zlib.compress(f"{kind} {len(data)}\0".encode() + data))


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path / "bare")


@pytest.mark.parametrize("data", [b"", b"hello\n", bytes(range(256)) * 40])
def test_blob_ids(git: Git, data: bytes) -> None:
    assert object_id("blob", data).hex() == git.run("hash-object", "--stdin", stdin=data)


def test_tree_ids_and_order(git: Git) -> None:
    # A folder sorts as if it ended in a slash: "a" after "a.b" and "a-b", before "a0".
    blob = git.run("hash-object", "-w", "--stdin", stdin=b"x")
    folder = git.run("mktree", stdin=f"100644 blob {blob}\tinner".encode())
    names = {"a": True, "a.b": False, "a-b": True, "a0": False, "Z": False, "é": False, "a b": True}
    listing = "\n".join(
        f"040000 tree {folder}\t{name}" if is_folder else f"100644 blob {blob}\t{name}"
        for name, is_folder in names.items()
    )
    entries = [
        TreeEntry(name, FOLDER_MODE, bytes.fromhex(folder))
        if is_folder
        else TreeEntry(name, FILE_MODE, bytes.fromhex(blob))
        for name, is_folder in names.items()
    ]
    data = encode_tree(entries)
    assert object_id("tree", data).hex() == git.run("mktree", stdin=listing.encode())
    assert sorted(parse_tree(data), key=lambda entry: entry.name) == sorted(entries, key=lambda entry: entry.name)
    assert encode_tree(parse_tree(data)) == data
    assert object_id("tree", b"") == EMPTY_TREE


@pytest.mark.parametrize("message", ["one line", "title\n\nbody\nof two lines", "ünïcode"])
def test_commit_ids(git: Git, message: str) -> None:
    tree = git.run("mktree", stdin=b"")
    who = {
        f"GIT_{role}_{what}": value
        for role in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "alice"), ("EMAIL", "alice@users.noreply"), ("DATE", f"{NOW} +0000"))
    }
    first = git.run("commit-tree", tree, "-m", message, **who)
    assert object_id("commit", encode_commit(EMPTY_TREE, None, "alice", NOW, message)).hex() == first
    second = git.run("commit-tree", tree, "-p", first, "-m", message, **who)
    mine = encode_commit(EMPTY_TREE, bytes.fromhex(first), "alice", NOW, message)
    assert object_id("commit", mine).hex() == second


def test_truncated_trees_are_refused() -> None:
    data = encode_tree([TreeEntry("name", FILE_MODE, bytes(20)), TreeEntry("other", FOLDER_MODE, bytes(20))])
    whole = {0, len(encode_tree([TreeEntry("name", FILE_MODE, bytes(20))])), len(data)}
    for length in range(len(data) + 1):
        if length in whole:
            parse_tree(data[:length])
        else:
            with pytest.raises(FormatError) as caught:
                parse_tree(data[:length])
            assert caught.value.code == "bad_tree"


@given(st.binary(min_size=32, max_size=32), st.integers(0, 10**18))
def test_pointers_round_trip(sha256: bytes, size: int) -> None:
    assert parse_pointer(pointer(sha256, size)) == (sha256, size)


@pytest.mark.parametrize(
    "data",
    [b"", b"version https://git-lfs.github.com/spec/v1\n", pointer(bytes(32), 5)[:-1], pointer(bytes(32), 5) + b"\n",
     pointer(bytes(32), 5).replace(b"size 5", b"size 05"), pointer(b"\xaa" * 32, 5).replace(b"aa", b"AA")],
)  # fmt: skip
def test_what_is_no_pointer(data: bytes) -> None:
    assert parse_pointer(data) is None


def test_a_repository_is_one_that_git_accepts(hub: HubDriver, git: Git, tmp_path: Path) -> None:
    weights = os.urandom(3000)
    sha256 = hub.upload(weights)
    hub.commit(put("README.md", b"# hi\n"), put("a/b/c.txt", b"deep"), put("a.txt", b"beside the folder"))
    hub.now += 5
    hub.commit(put_lfs("w/model.bin", sha256, 3000), put("a/b/d.txt", b"two"), put("a0", b""), title="two\n\nmore")
    middle = hub.get("/api/models/org/m")["sha"]
    hub.now += 5
    head = hub.commit(remove("a/b/"), put("README.md", b"changed"), title="three")["commitOid"]

    with hub.store.db.read() as tx:
        for oid, kind, data in tx.execute("SELECT oid, kind, data FROM git_objects"):
            git.write(kind, data, oid.hex())
        for oid, data, digest, size in tx.execute("SELECT oid, data, sha256, size FROM blobs"):
            git.write("blob", pointer(digest, size) if data is None else data, oid.hex())
    git.run("update-ref", "refs/heads/main", head)
    git.run("fsck", "--strict", "--full")
    assert git.run("log", "--format=%s|%an|%at", head).splitlines() == [
        f"three|alice|{NOW + 10}",
        f"two|alice|{NOW + 5}",
        f"a commit|alice|{NOW}",
        f"initial commit|alice|{NOW}",
    ]
    assert git.run("log", "-1", "--format=%B", middle) == "two\n\nmore"
    for revision in (middle, head):
        listed = {item["path"]: item for item in hub.get(f"/api/models/org/m/tree/{revision}?recursive=true")}
        in_git = {}
        for line in git.run("ls-tree", "-r", "-t", revision).splitlines():
            about, path = line.split("\t")
            in_git[path] = about.split()[2]
        assert {path: item["oid"] for path, item in listed.items()} == in_git

    # The same files added by git itself give the same tree.
    work = tmp_path / "work"
    work.mkdir()
    for item in hub.get(f"/api/models/org/m/tree/{head}?recursive=true"):
        if item["type"] == "file":
            path = work / item["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(hub.send("GET", f"/org/m/raw/{head}/{item['path']}").body)
    settings = {"GIT_WORK_TREE": str(work), "GIT_INDEX_FILE": str(tmp_path / "index")}
    git.run(
        "-c",
        "filter.lfs.clean=cat",
        "-c",
        "filter.lfs.required=false",
        "add",
        "--all",
        "--force",
        str(work),
        **settings,
    )
    assert git.run("write-tree", **settings) == git.run("rev-parse", f"{head}^{{tree}}")
