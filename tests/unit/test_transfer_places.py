"""The two layouts that Hub clients know: their cache, and a folder with notes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.transfer_driver import COMMIT, git_oid
from xetway.errors import FormatError, StateError
from xetway.transfer.hub import RemoteFile
from xetway.transfer.hub_cache import HubCache
from xetway.transfer.locks import lock
from xetway.transfer.names import parse_repo
from xetway.transfer.plain_folder import OneFile, PlainFolder
from xetway.transfer.present import need_room

REPO = parse_repo("org/model")
CONTENT = b"some content"
SMALL = RemoteFile(path="sub/config.json", size=len(CONTENT), oid=git_oid(CONTENT))
LARGE = RemoteFile(
    path="model.bin", size=len(CONTENT), oid="0" * 40, sha256=hashlib.sha256(CONTENT).hexdigest(), xet_hash="a" * 64
)


def landed(target: HubCache | PlainFolder | OneFile, file: RemoteFile) -> Path:
    target.landing(file).write_bytes(CONTENT)
    return target.put(file)


def test_cache_is_laid_out_as_hub_clients_do(tmp_path: Path) -> None:
    cache = HubCache(tmp_path, REPO, "refs/pr/1", COMMIT)
    assert cache.present(SMALL, verify=False) is None
    path = landed(cache, SMALL)
    folder = tmp_path / "models--org--model"
    assert path == folder / "snapshots" / COMMIT / "sub" / "config.json"
    assert os.readlink(path) == f"../../../blobs/{SMALL.oid}"
    assert path.read_bytes() == CONTENT
    assert not (folder / "refs").exists(), "the name must not lead to a commit that is not whole"
    cache.finish([SMALL, LARGE])
    assert (folder / "refs" / "refs" / "pr" / "1").read_bytes() == COMMIT.encode(), "a newline breaks other clients"
    listing = json.loads((folder / "trees" / f"{COMMIT}.json").read_text())
    assert listing["format_version"] == 1
    assert listing["files"]["model.bin"] == {
        "size": LARGE.size,
        "blob_id": LARGE.oid,
        "lfs_sha256": LARGE.sha256,
        "lfs_size": LARGE.size,
        "xet_hash": LARGE.xet_hash,
    }
    assert cache.lock_path(LARGE) == tmp_path / ".locks" / "models--org--model" / f"{LARGE.sha256}.lock"
    assert "Signature: 8a477f597d28d172789f06886806bc55" in (tmp_path / "CACHEDIR.TAG").read_text()


def test_cache_uses_content_that_is_there(tmp_path: Path) -> None:
    cache = HubCache(tmp_path, REPO, "main", COMMIT)
    landed(cache, SMALL)
    later = HubCache(tmp_path, REPO, "main", "d" * 40)
    path = later.present(SMALL, verify=False)
    assert path is not None
    assert path.read_bytes() == CONTENT
    blob = tmp_path / "models--org--model" / "blobs" / SMALL.oid
    blob.write_bytes(b"some CONTENT")
    assert later.present(SMALL, verify=False) == path, "only the size is looked at, as documented"
    assert later.present(SMALL, verify=True) is None
    blob.write_bytes(b"short")
    assert later.present(SMALL, verify=False) is None


def test_cache_without_links_holds_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_named: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    cache = HubCache(tmp_path, REPO, "main", COMMIT)
    path = landed(cache, SMALL)
    assert not path.is_symlink()
    assert path.read_bytes() == CONTENT
    assert cache.present(SMALL, verify=True) == path


def test_a_link_to_a_shared_blob_is_replaced_not_written_through(tmp_path: Path) -> None:
    shared = tmp_path / "blobs" / "aa" / ("a" * 64)
    shared.parent.mkdir(parents=True)
    shared.write_bytes(b"damaged here")
    cache = HubCache(tmp_path, REPO, "main", COMMIT)
    cache.landing(LARGE)
    (tmp_path / "models--org--model" / "blobs" / LARGE.etag).symlink_to(shared)
    assert cache.present(LARGE, verify=True) is None
    assert landed(cache, LARGE).read_bytes() == CONTENT
    assert shared.read_bytes() == b"damaged here"


def test_folder_keeps_notes(tmp_path: Path) -> None:
    folder = PlainFolder(tmp_path, COMMIT)
    path = landed(folder, SMALL)
    assert path == tmp_path / "sub" / "config.json"
    notes = tmp_path / ".cache" / "huggingface"
    commit, etag, written = (notes / "download" / "sub" / "config.json.metadata").read_text().split("\n")[:3]
    assert (commit, etag) == (COMMIT, SMALL.oid)
    assert abs(float(written) - time.time()) < 60
    assert folder.present(SMALL, verify=False) == path
    assert folder.lock_path(SMALL) == notes / "download" / "sub" / "config.json.lock"
    assert (notes / ".gitignore").read_text() == "*"


def test_folder_reads_a_file_that_was_changed_or_has_no_note(tmp_path: Path) -> None:
    folder = PlainFolder(tmp_path, COMMIT)
    path = tmp_path / "sub" / "config.json"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert folder.present(SMALL, verify=False) == path, "the same content, put there by someone else"
    assert (tmp_path / ".cache/huggingface/download/sub/config.json.metadata").exists()
    path.write_bytes(b"some CONTENT")
    os.utime(path, (time.time() + 60, time.time() + 60))
    assert folder.present(SMALL, verify=False) is None


def test_folder_refuses_files_among_its_notes(tmp_path: Path) -> None:
    folder = PlainFolder(tmp_path, COMMIT)
    evil = RemoteFile(path=".cache/huggingface/download/x.metadata", size=1, oid="0" * 40)
    with pytest.raises(FormatError) as refused:
        folder.present(evil, verify=False)
    assert refused.value.code == "unsafe_path"


def test_one_file_is_read_before_it_is_taken_for_the_same(tmp_path: Path) -> None:
    target = OneFile(tmp_path / "deep" / "out.bin")
    assert target.present(SMALL, verify=False) is None
    path = landed(target, SMALL)
    assert target.present(SMALL, verify=False) == path
    path.write_bytes(b"some CONTENT")
    assert target.present(SMALL, verify=False) is None


def test_no_room_is_told_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(StateError) as refused:
        need_room(tmp_path / "not" / "there", 1 << 60, "free some")
    assert refused.value.code == "disk_full"
    assert str(1 << 60) in str(refused.value)
    need_room(tmp_path, 0, "free some")


HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1], mode=0o664):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_lock_is_the_one_that_hub_clients_take(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "a.lock"
    path.parent.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdin is not None
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    waited: list[bool] = []

    def let_go() -> None:
        waited.append(True)
        assert other.stdin is not None
        other.stdin.close()

    async def take() -> None:
        async with lock(path, let_go):
            other.wait()

    asyncio.run(take())
    other.stdout.close()
    assert waited == [True]
    assert path.exists()
