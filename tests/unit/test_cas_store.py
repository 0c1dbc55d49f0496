"""The content store and garbage collection, on a real folder, without a server."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path

import pytest

from xetway import Hash
from xetway.cas import fsck, gc
from xetway.cas.store import ContentStore, StoredFile
from xetway.errors import FormatError, IntegrityError, StoreCorruptionError

HOUR = 3600


class Clock:
    """A clock that a test moves."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> ContentStore:
    return ContentStore(tmp_path / "data", clock)


@pytest.fixture
def repo(store: ContentStore) -> int:
    with store.db.write() as tx:
        tx.execute(
            "INSERT INTO repos (type, namespace, name, private, created_by, created_at, updated_at) "
            "VALUES ('model', 'a', 'b', 0, 'ada', 0, 0)"
        )
        row = tx.execute("SELECT id FROM repos").fetchone()
    return int(row[0])


def data(seed: str, size: int) -> bytes:
    return hashlib.shake_128(seed.encode()).digest(size)


def add(store: ContentStore, repo: int, content: bytes) -> StoredFile:
    writer = store.writer()
    writer.write(content)
    return writer.finish(repo)


def read(store: ContentStore, file: StoredFile, start: int = 0, end: int | None = None) -> bytes:
    reader = store.open(file, start, file.size if end is None else end)
    return b"".join(iter(reader.read, b""))


def nothing(_tx: sqlite3.Connection) -> set[tuple[int, bytes]]:
    return set()


def no_objects(_tx: sqlite3.Connection) -> list[str]:
    return []


def no_users(_tx: sqlite3.Connection, _xorb: bytes) -> list[str]:
    return []


def xorb_files(store: ContentStore) -> list[Hash]:
    return store.xorbs.list()


def xorb_inode(store: ContentStore) -> list[int]:
    folder = Path(str(store.db._path)).parent / "xorbs"
    return [path.stat().st_ino for path in folder.rglob("*.xorb")]


def only_xorb(store: ContentStore, tmp_path: Path) -> Path:
    (path,) = (tmp_path / "data" / "xorbs").rglob("*.xorb")
    return path


def test_content_comes_back(store: ContentStore, repo: int) -> None:
    content = data("x", 1_000_000)
    file = add(store, repo, content)
    assert (file.size, file.sha256) == (1_000_000, hashlib.sha256(content).digest())
    assert read(store, file) == content
    assert read(store, file, 123_456, 654_321) == content[123_456:654_321]
    assert store.file(file.hash) == file
    assert store.file_by_sha256(repo, hashlib.sha256(content).digest()) == file


def test_empty_content(store: ContentStore, repo: int) -> None:
    file = add(store, repo, b"")
    assert (file.hash, file.size, read(store, file)) == (Hash.ZERO, 0, b"")


def test_wrong_sha256_stores_nothing(store: ContentStore, repo: int, tmp_path: Path) -> None:
    writer = store.writer()
    writer.write(data("x", 100_000))
    with pytest.raises(IntegrityError) as caught:
        writer.finish(repo, sha256=bytes(32))
    assert caught.value.code == "sha256_mismatch"
    assert xorb_files(store) == []
    assert [path for path in (tmp_path / "data" / "tmp").iterdir() if path.suffix == ".part"] == []


def test_another_repository_cannot_name_a_file_by_its_sha256(store: ContentStore, repo: int) -> None:
    file = add(store, repo, data("x", 50_000))
    assert file.sha256 is not None
    assert store.file_by_sha256(repo + 1, file.sha256) is None
    assert store.repo_file(repo + 1, file.hash) is None


def test_same_content_is_stored_once(store: ContentStore, repo: int) -> None:
    first = add(store, repo, data("x", 300_000))
    assert add(store, repo, data("x", 300_000)) == first
    assert len(xorb_files(store)) == 1


def test_damage_is_found_by_reading_and_by_fsck_and_repaired_by_uploading_again(
    store: ContentStore, repo: int, tmp_path: Path
) -> None:
    content = data("x", 300_000)
    file = add(store, repo, content)
    path = only_xorb(store, tmp_path)
    bytes_now = bytearray(path.read_bytes())
    bytes_now[150_000] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes_now)
    with pytest.raises(StoreCorruptionError) as caught:
        read(store, file)
    assert caught.value.xorb == str(xorb_files(store)[0])
    assert caught.value.chunk is not None
    report = fsck.run(store, no_objects, no_users)
    assert not report.ok
    assert any(str(xorb_files(store)[0]) in line for line in report.errors)
    add(store, repo, content)
    assert read(store, file) == content
    assert fsck.run(store, no_objects, no_users).ok


def test_missing_xorb_is_found_by_fsck(store: ContentStore, repo: int, tmp_path: Path) -> None:
    add(store, repo, data("x", 300_000))
    only_xorb(store, tmp_path).unlink()
    report = fsck.run(store, no_objects, no_users)
    assert len(report.errors) == 2  # the xorb, and the file made of it


def test_start_removes_xorb_files_that_no_row_names(store: ContentStore, repo: int, tmp_path: Path) -> None:
    file = add(store, repo, data("x", 300_000))
    path = only_xorb(store, tmp_path)
    orphan = path.parent.parent / "ab" / ("ab" * 32 + ".xorb")
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(path.read_bytes())
    assert store.clean_leftovers() == 1
    assert not orphan.exists()
    assert read(store, file) == data("x", 300_000)


def test_gc_leaves_what_an_upload_touched_a_short_while_ago(store: ContentStore, repo: int, clock: Clock) -> None:
    file = add(store, repo, data("x", 300_000))
    clock.now += 12 * HOUR
    report = gc.run(store, nothing, grace_s=0)
    assert (report.files_removed, report.xorbs_removed) == (0, 0)
    clock.now += 2 * HOUR
    assert gc.run(store, nothing, grace_s=0).xorbs_removed == 1
    assert store.file(file.hash) is None
    assert xorb_files(store) == []


def test_gc_keeps_an_unreferenced_xorb_through_its_grace(store: ContentStore, repo: int, clock: Clock) -> None:
    add(store, repo, data("x", 300_000))
    clock.now += 24 * HOUR
    report = gc.run(store, nothing)
    assert (report.files_removed, report.xorbs_removed, report.xorbs_waiting) == (1, 0, 1)
    clock.now += 29 * 24 * HOUR
    assert gc.run(store, nothing).xorbs_removed == 0
    clock.now += 24 * HOUR
    assert gc.run(store, nothing).xorbs_removed == 1


def test_uploading_again_in_the_grace_saves_the_xorb(store: ContentStore, repo: int, clock: Clock) -> None:
    add(store, repo, data("x", 300_000))
    clock.now += 24 * HOUR
    gc.run(store, nothing)
    file = add(store, repo, data("x", 300_000))
    clock.now += 40 * 24 * HOUR
    assert gc.run(store, lambda _: {(repo, bytes(file.hash))}).xorbs_waiting == 0
    assert read(store, file) == data("x", 300_000)


def test_gc_keeps_what_is_referenced_and_shared(store: ContentStore, repo: int, clock: Clock) -> None:
    shared = data("shared", 300_000)
    one = add(store, repo, shared)
    two = StoredFile(one.hash, one.size, one.sha256, one.terms)
    other = add(store, repo, data("other", 300_000))
    clock.now += 60 * 24 * HOUR
    report = gc.run(store, lambda _: {(repo, bytes(two.hash))}, grace_s=0)
    assert (report.files_removed, report.xorbs_removed) == (1, 1)
    assert read(store, one) == shared
    assert store.file(other.hash) is None


def test_dry_run_changes_nothing(store: ContentStore, repo: int, clock: Clock) -> None:
    file = add(store, repo, data("x", 300_000))
    clock.now += 24 * HOUR
    report = gc.run(store, nothing, grace_s=0, dry_run=True)
    assert (report.files_removed, report.xorbs_removed) == (1, 1)
    assert report.bytes_removed > 300_000
    assert read(store, file) == data("x", 300_000)


def test_files_of_a_collected_xorb_cannot_be_recorded(store: ContentStore, repo: int, clock: Clock) -> None:
    file = add(store, repo, data("x", 300_000))
    clock.now += 24 * HOUR
    gc.run(store, nothing, grace_s=0)
    with pytest.raises(FormatError) as caught:
        store.add_files(repo, [file])
    assert caught.value.code == "unknown_xorb"


def test_a_repository_loses_a_file_that_only_another_one_still_has(
    store: ContentStore, repo: int, clock: Clock
) -> None:
    file = add(store, repo, data("x", 300_000))
    with store.db.write() as tx:
        tx.execute(
            "INSERT INTO repos (type, namespace, name, private, created_by, created_at, updated_at) "
            "VALUES ('model', 'a', 'c', 1, 'ada', 0, 0)"
        )
    other = repo + 1
    store.add_files(other, [file])
    clock.now += 24 * HOUR
    report = gc.run(store, lambda _: {(other, bytes(file.hash))}, grace_s=0)
    assert (report.files_removed, report.xorbs_removed) == (0, 0)
    assert store.repo_file(repo, file.hash) is None
    assert store.repo_file(other, file.hash) == file
    assert read(store, file) == data("x", 300_000)


def test_the_second_of_two_simultaneous_posters_leaves_the_file_of_the_first(store: ContentStore, repo: int) -> None:
    content = data("x", 100_000)
    first, second = store.xorbs.ingest(), store.xorbs.ingest()
    first.write(content)
    second.write(content)
    (xorb, writer, *sizes), (_, late, *_) = first.finish()[4][0], second.finish()[4][0]
    assert store.publish(xorb, writer, *sizes)
    inode = xorb_inode(store)
    assert not store.publish(xorb, late, *sizes)
    assert xorb_inode(store) == inode
