"""The check of a whole store: every byte of every xorb, every file, every git object.

It changes nothing, but for marks on damaged xorbs, so that a new upload replaces them, and taking those of whole ones
back. A server may run beside it; what is collected meanwhile is not reported.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable

import msgspec

from xetway._native import Hash
from xetway.cas.store import ContentStore
from xetway.errors import XetwayError

Report = Callable[[str], None]
# Checks the repositories' own objects; yields one line for each thing wrong, and counts what it read.
ObjectCheck = Callable[[sqlite3.Connection], Iterable[str]]
# Names the repositories that use a xorb (raw hash).
Users = Callable[[sqlite3.Connection, bytes], list[str]]


class FsckReport(msgspec.Struct, frozen=True):
    """What was read, and one line for each thing that is wrong."""

    xorbs: int
    bytes: int
    files: int
    errors: list[str]
    # The repositories that have to be uploaded again, by name.
    to_upload: list[str]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.errors


def run(store: ContentStore, objects: ObjectCheck, users: Users, report: Report = lambda _line: None) -> FsckReport:
    """Check everything; calls `report` with each error as it is found. Blocking."""
    errors: list[str] = []

    def failed(line: str) -> None:
        errors.append(line)
        report(line)

    xorbs, total, damaged = _check_xorbs(store, failed)
    files = _check_files(store, failed)
    with store.db.read() as tx:
        for row in tx.execute("PRAGMA integrity_check"):
            if row[0] != "ok":
                failed(f"database: {row[0]}")
        for row in tx.execute("PRAGMA foreign_key_check"):
            failed(f"database: table {row[0]} refers to something missing in {row[2]}")
        for line in objects(tx):
            failed(line)
        to_upload = sorted({name for raw in damaged for name in users(tx, raw)})
    return FsckReport(xorbs, total, files, errors, to_upload)


def _rows(store: ContentStore, query: str) -> list[sqlite3.Row]:
    with store.db.read() as tx:
        return tx.execute(query).fetchall()


def _still_there(store: ContentStore, table: str, raw: bytes) -> bool:
    with store.db.read() as tx:
        return tx.execute(f"SELECT 1 FROM {table} WHERE hash = ?", (raw,)).fetchone() is not None


def _check_xorbs(store: ContentStore, failed: Report) -> tuple[int, int, list[bytes]]:
    rows = _rows(store, "SELECT hash, chunks, raw_bytes, stored_bytes, damaged_at FROM xorbs ORDER BY hash")
    total, damaged = 0, []
    for raw, chunks, raw_bytes, stored_bytes, damaged_at in rows:
        xorb = Hash.from_bytes(raw)
        try:
            total += store.xorbs.verify(xorb)
            _, lengths, ends = store.xorbs.chunks(xorb)
            sizes = memoryview(lengths).cast("I")
            if (len(sizes), sum(sizes), memoryview(ends).cast("I")[-1]) != (chunks, raw_bytes, stored_bytes):
                failed(f"xorb {xorb}: the database has other sizes than the file")
            elif damaged_at is not None:
                store.mark_sound(xorb)
        except (XetwayError, OSError) as error:
            if _still_there(store, "xorbs", raw):
                total += store.stored_bytes(xorb) or 0
                damaged.append(raw)
                store.mark_damaged(xorb)
                failed(f"xorb {xorb}: {str(error).replace(f'stored xorb {xorb} ', '')}")
    return len(rows), total, damaged


def _check_files(store: ContentStore, failed: Report) -> int:
    rows = _rows(store, "SELECT hash FROM files ORDER BY hash")
    for (raw,) in rows:
        file = store.file(Hash.from_bytes(raw))
        if file is None:
            continue
        try:
            if store.xorbs.check_file(file.hash, file.terms, None) != file.size:
                failed(f"file {file.hash}: the database has another size than its terms")
        except (XetwayError, OSError) as error:
            if _still_there(store, "files", raw):
                failed(f"file {file.hash}: {error}")
    return len(rows)
