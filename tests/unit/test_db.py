"""The metadata database: migrations, transactions, durability settings, and two processes at once."""

from __future__ import annotations

import gc
import sqlite3
import threading
from pathlib import Path

import pytest

from xetway.db import Database
from xetway.errors import ConfigError


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "xetway.db")


def secret(db: Database, name: str) -> bytes | None:
    with db.read() as tx:
        row = tx.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def test_settings_of_every_connection(db: Database) -> None:
    with db.read() as tx:
        values = [
            tx.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert values == ["wal", 2, 1]


def test_write_is_seen_by_another_database_object(db: Database, tmp_path: Path) -> None:
    with db.write() as tx:
        tx.execute("INSERT INTO secrets VALUES ('a', x'01')")
    assert secret(Database(tmp_path / "xetway.db"), "a") == b"\x01"


def test_failed_write_changes_nothing(db: Database) -> None:
    def fail() -> None:
        with db.write() as tx:
            tx.execute("INSERT INTO secrets VALUES ('a', x'01')")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert secret(db, "a") is None


def test_a_full_disk_is_told_as_such_and_got_over(db: Database) -> None:
    def fill() -> None:
        with db.write() as tx:
            tx.execute("PRAGMA max_page_count = 1")
            tx.execute("INSERT INTO secrets VALUES ('a', zeroblob(1000000))")

    with pytest.raises(sqlite3.OperationalError) as caught:
        fill()
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_FULL
    with db.write() as tx:
        tx.execute("PRAGMA max_page_count = 1000000")
        tx.execute("INSERT INTO secrets VALUES ('a', x'01')")
    assert secret(db, "a") == b"\x01"


def test_a_failed_commit_lets_go_of_the_lock(db: Database, tmp_path: Path) -> None:
    def commit_what_cannot_be() -> None:
        with db.write() as tx:
            tx.execute("PRAGMA defer_foreign_keys = ON")
            tx.execute("INSERT INTO file_xorbs VALUES (x'01', x'02')")

    other = Database(tmp_path / "xetway.db")
    with pytest.raises(sqlite3.IntegrityError):
        commit_what_cannot_be()
    with other.write(wait=False) as tx:
        tx.execute("INSERT INTO secrets VALUES ('a', x'01')")


def test_read_is_a_snapshot(db: Database, tmp_path: Path) -> None:
    other = Database(tmp_path / "xetway.db")
    with db.read() as tx:
        assert tx.execute("SELECT count(*) FROM secrets").fetchone()[0] == 0
        with other.write() as theirs:
            theirs.execute("INSERT INTO secrets VALUES ('a', x'01')")
        assert tx.execute("SELECT count(*) FROM secrets").fetchone()[0] == 0
    assert secret(db, "a") == b"\x01"


def test_writers_of_many_threads_wait_for_each_other(db: Database) -> None:
    with db.write() as tx:
        tx.execute("INSERT INTO secrets VALUES ('n', x'00')")

    def count() -> None:
        for _ in range(20):
            with db.write() as tx:
                value = tx.execute("SELECT value FROM secrets WHERE name = 'n'").fetchone()[0]
                tx.execute("UPDATE secrets SET value = ? WHERE name = 'n'", (bytes([value[0] + 1]),))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert secret(db, "n") == bytes([80])


def test_opening_again_runs_no_migration_twice(db: Database, tmp_path: Path) -> None:
    with db.write() as tx:
        tx.execute("INSERT INTO secrets VALUES ('a', x'01')")
    assert secret(Database(tmp_path / "xetway.db"), "a") == b"\x01"


def test_data_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "xetway.db"
    Database(path)
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA user_version = 999")
    raw.close()
    with pytest.raises(ConfigError, match="newer"):
        Database(path)


def test_no_connection_is_left_open(tmp_path: Path) -> None:
    """Neither one whose thread has ended nor those of a database in a cycle: from Python 3.13 on, they would warn."""
    db = Database(tmp_path / "xetway.db")
    thread = threading.Thread(target=secret, args=(db, "a"))
    thread.start()
    thread.join()
    cycle: list[object] = [db]
    cycle.append(cycle)
    del db, thread, cycle
    gc.collect()
    assert not list(tmp_path.glob("*-wal")), "the last connection that is closed removes it"
