"""The mirror's database: what it forgets, and what happens when it is damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.hub_driver import put
from tests.unit.mirror_driver import MirrorDriver, UpstreamHub
from xetway import db
from xetway._native import Cache, Hash
from xetway.mirror import pruning
from xetway.mirror.file_table import FileInfo, FileTable
from xetway.mirror.holdings import Holdings
from xetway.mirror.names import RepoKey
from xetway.mirror.storage import Kept, Storage

DAY = 24 * 3600
USED, UNUSED = RepoKey("model", "org/used"), RepoKey("model", "org/unused")
OLD, NEW = "a" * 40, "b" * 40
FILE = Hash("01" * 32)


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def storage(tmp_path: Path, clock: Clock) -> Storage:
    return Storage(tmp_path, clock)


def show(storage: Storage, repo: RepoKey, commit: str, *paths: str) -> None:
    """Tell the storage what a listing tells."""
    files = FileTable(storage)
    files.keep_ref("public", repo, commit[:1], commit)
    files.keep(
        "public",
        repo,
        "resolve",
        [FileInfo(commit, path, 1, OLD, False, None, storage.now_s()) for path in paths],
        commit,
    )
    files.grant("public", repo, FILE)
    storage.keep_repo(repo, is_public=True)


def test_what_was_not_asked_about_for_long_is_forgotten(storage: Storage, clock: Clock) -> None:
    files = FileTable(storage)
    show(storage, USED, OLD, "x")
    show(storage, UNUSED, OLD, "x")
    clock.now += 89 * DAY
    storage.keep_repo(USED, is_public=True)
    assert files.find("public", UNUSED, OLD, "resolve", "x") is not None
    clock.now += 2 * DAY
    show(storage, USED, NEW, "y")
    assert files.find("public", UNUSED, OLD, "resolve", "x") is None
    assert files.ref("public", UNUSED, "a") is None
    assert not files.is_granted("public", UNUSED, FILE)
    assert storage.repo(UNUSED) is None
    # What content of a repository in use needs stays, however old it is.
    assert files.find("public", USED, OLD, "resolve", "x") is not None
    assert files.ref("public", USED, "a") is not None
    assert files.is_granted("public", USED, FILE)


def test_nothing_is_forgotten_while_the_mirror_is_offline(tmp_path: Path) -> None:
    upstream = UpstreamHub(tmp_path / "upstream")
    upstream.driver.create("org/used")
    upstream.driver.commit(put("x", b"1"), repo="models/org/used")
    questions = [f"/{USED.api[1:]}{rest}" for rest in ("", "/tree/main")] + ["/org/used/resolve/main/x", "/org/used"]
    online = MirrorDriver(tmp_path / "mirror", upstream)
    answers = [online.get(question).body for question in questions]
    before = rows(online.mirror.storage)
    assert all(before[table] for table in ("answers", "files", "refs", "repos"))
    offline = MirrorDriver(tmp_path / "mirror", upstream, offline=True)
    offline.content.held = online.content.held
    offline.now += 91 * DAY
    assert [offline.get(question).body for question in questions] == answers
    assert rows(offline.mirror.storage) == before


def rows(storage: Storage) -> dict[str, int]:
    tables = ("answers", "files", "grants", "listed", "refs", "repos")
    return {
        table: storage.read(lambda tx, table=table: tx.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # type: ignore[misc]
        for table in tables
    }


def test_a_table_holds_so_many_rows_and_a_commit_is_whole_or_not_listed(
    storage: Storage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MAX_ROWS", 3)
    files = FileTable(storage)
    show(storage, USED, OLD, "1", "2")
    clock.now += 1
    files.keep("public", USED, "resolve", [FileInfo(OLD, "3", 1, OLD, False, None, storage.now_s())])
    clock.now += 3600
    show(storage, USED, NEW, "4", "5")
    clock.now += 3600
    storage.keep_repo(USED, is_public=True)
    assert files.find("public", USED, OLD, "resolve", "1") is None  # and not known to be missing
    assert files.find("public", USED, OLD, "resolve", "3") is not None
    missing = files.find("public", USED, NEW, "resolve", "none")
    assert missing is not None
    assert missing.size is None


def scribble(folder: Path, start: int) -> None:
    with (folder / "answers.db").open("r+b") as file:
        file.seek(start)
        file.write(b"\xa5" * 200_000)


def fill(storage: Storage) -> None:
    for number in range(50):
        storage.keep(number.to_bytes(32), "public", USED, Kept({}, b"x" * 4096, None, storage.now_s()))
    storage.keep_repo(USED, is_public=True)
    storage.read(lambda tx: tx.execute("SELECT 1").fetchone())
    with sqlite3.connect(storage._path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()


@pytest.mark.parametrize("start", [0, 4096])
@pytest.mark.parametrize(
    "touch",
    [
        lambda storage: storage.answer(bytes(32)),
        lambda storage: FileTable(storage).find("public", USED, OLD, "resolve", "x"),
        lambda storage: storage.keep_repo(USED, is_public=True),
    ],
    ids=["answer", "file", "write"],
)
def test_a_file_that_is_damaged_while_it_is_used_is_set_aside(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture, touch: Callable[[Storage], object], start: int
) -> None:
    fill(storage)
    scribble(tmp_path, start)
    with caplog.at_level(logging.WARNING):
        touch(storage)
        storage.keep_repo(USED, is_public=True)
        storage.keep_repo(UNUSED, is_public=False)
    assert [record.getMessage().split(" (")[0] for record in caplog.records] == ["answers.db is damaged"]
    assert storage.repo(USED) is not None
    assert storage.repo(UNUSED) is not None
    assert storage.answer(bytes(32)) is None
    assert (tmp_path / "answers.db.damaged").stat().st_size > 200_000
    assert Storage(tmp_path).repo(UNUSED) is not None


@pytest.mark.parametrize("name", ["answers.db-wal", "answers.db"])
@pytest.mark.parametrize("is_gone", [False, True], ids=["emptied", "gone"])
def test_what_a_new_thread_finds_cut_short_is_set_aside(
    tmp_path: Path, clock: Clock, name: str, is_gone: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db, "_BUSY_TIMEOUT_MS", 100)
    storage = Storage(tmp_path, clock)
    for number in range(50):
        storage.keep(number.to_bytes(32), "public", USED, Kept({}, b"x" * 4096, None, storage.now_s()))
    if is_gone:
        (tmp_path / name).unlink()
    else:
        os.truncate(tmp_path / name, 0)
    with ThreadPoolExecutor(1) as other:
        other.submit(storage.answer, bytes(32)).result()
        other.submit(storage.keep_repo, UNUSED, is_public=True).result()
        assert other.submit(storage.repo, UNUSED).result() is not None
    storage.answer(bytes(32))  # the thread that had it open goes on as well


def test_a_file_that_is_no_database_is_set_aside_at_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "answers.db").write_bytes(b"no database" * 1000)
    with caplog.at_level(logging.WARNING):
        storage = Storage(tmp_path)
    storage.keep_repo(USED, is_public=True)
    assert storage.repo(USED) is not None
    assert len(caplog.records) == 1
    assert (tmp_path / "answers.db.damaged").read_bytes().startswith(b"no database")


@pytest.fixture
def fresh(tmp_path: Path) -> bytes:
    """The bytes of a database that nothing was put into."""
    folder = tmp_path / "fresh"
    Storage(folder)
    change(folder, "PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "answers.db").read_bytes()


def flip(folder: Path, data: bytes, offset: int) -> None:
    """Write a database with one bit of it damaged."""
    damaged = bytearray(data)
    damaged[offset] ^= 0x80
    folder.mkdir()
    (folder / "answers.db").write_bytes(damaged)


def test_no_damaged_byte_of_the_first_page_keeps_it_from_starting(
    tmp_path: Path, fresh: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    # The numbers at 56 to 63 are the encoding and the version of the schema; of 1570, SQLite's own words quote it.
    # That at 18 says which versions may write.
    for offset in {18, *range(0, 4096, 31), *range(56, 64), 1570}:
        folder = tmp_path / str(offset)
        flip(folder, fresh, offset)
        storage = Storage(folder)
        assert storage.repo(UNUSED) is None
        assert storage.answer(bytes(32)) is None
        for _ in range(2):  # the first may be what finds the damage
            storage.keep_repo(USED, is_public=True)
            storage.keep(bytes(32), "public", USED, Kept({}, b"x", None, 0))
        assert storage.repo(USED) is not None, offset
        assert storage.answer(bytes(32)) is not None, offset


def change(folder: Path, statement: str) -> None:
    with sqlite3.connect(folder / "answers.db") as other:
        other.execute(statement)
    other.close()


def test_what_says_that_it_may_only_be_read_is_damaged(storage: Storage, tmp_path: Path) -> None:
    fill(storage)
    data = bytearray((tmp_path / "answers.db").read_bytes())
    data[18] ^= 1
    (tmp_path / "answers.db").write_bytes(data)
    storage.keep_repo(UNUSED, is_public=True)
    assert (tmp_path / "answers.db.damaged").read_bytes() == data
    storage.keep_repo(UNUSED, is_public=True)
    assert storage.repo(UNUSED) is not None


def test_what_may_only_be_read_for_another_reason_is_not(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(storage)
    storage.read(lambda tx: tx.execute("PRAGMA query_only = ON").fetchall())
    storage.keep_repo(UNUSED, is_public=True)
    assert "could not keep an answer: attempt to write a readonly database" in caplog.text
    assert not (tmp_path / "answers.db.damaged").exists()
    assert storage.repo(USED) is not None


def test_text_in_a_row_that_is_none_is_damage(
    storage: Storage, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(storage)
    change(tmp_path, "UPDATE answers SET etag = CAST(x'e7ff' AS TEXT)")
    assert storage.answer(bytes(32)) is None
    assert "answers.db is damaged" in caplog.text
    fill(storage)
    assert storage.answer(bytes(32)) is not None


@pytest.mark.parametrize("headers", ["'{'", "'[1]'", "'{\"etag\":1}'"])
def test_an_answer_whose_headers_are_damaged_is_not_kept(storage: Storage, tmp_path: Path, headers: str) -> None:
    fill(storage)
    change(tmp_path, f"UPDATE answers SET headers = {headers} WHERE key = x'{bytes(32).hex()}'")
    assert storage.answer(bytes(32)) is None
    assert storage.answer((1).to_bytes(32)) is not None
    fill(storage)
    assert storage.answer(bytes(32)) is not None


@pytest.mark.parametrize(
    "change_name", ["UPDATE files SET path = CAST(x'e7ff' AS TEXT)", "UPDATE files SET xet = x'01'"]
)
def test_names_that_are_damaged_are_not_known(storage: Storage, tmp_path: Path, change_name: str) -> None:
    show(storage, USED, OLD, "x")
    cache = Cache(str(tmp_path))
    assert Holdings(cache, tmp_path).has_names
    change(tmp_path, change_name)
    assert not Holdings(cache, tmp_path).has_names


def test_names_in_a_file_that_cannot_be_read_are_not_known(tmp_path: Path, fresh: bytes) -> None:
    flip(tmp_path / "mirror", fresh, 1570)
    assert not Holdings(Cache(str(tmp_path / "mirror")), tmp_path / "mirror").has_names
