"""The content store: xorb files (native) and what SQLite knows of them, under one folder.

It owns the rule that a xorb's file and row appear and vanish under the database's write lock, which
is what makes uploads, several server processes and garbage collection safe beside each other.
It does not know repositories, except that a file is linked to those that may use it (`repo_files`).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from xetway._native import ByteReader, Hash, XorbStore, XorbWriter
from xetway.cas.epochs import advance
from xetway.db import Database
from xetway.errors import FormatError, IntegrityError, StoreCorruptionError

_TOUCH_INTERVAL_S = 60
EMPTY_SHA256 = bytes.fromhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
TERM_BYTES = 48
_WHOLE = (
    "NOT EXISTS (SELECT 1 FROM file_xorbs JOIN xorbs x ON x.hash = xorb WHERE file = {} AND damaged_at IS NOT NULL)"
)
_TOUCH_XORB = "UPDATE xorbs SET touched_at = ?, unreferenced_at = NULL WHERE hash = ?"


class StoredFile(msgspec.Struct, frozen=True):
    """A file the store can rebuild. `terms` are 48-byte shard records; `sha256` was computed here."""

    hash: Hash
    size: int
    sha256: bytes | None
    terms: bytes


def term_xorbs(terms: bytes) -> list[bytes]:
    """The raw hashes of the xorbs that `terms` name, each once, in order of first use."""
    return list(dict.fromkeys(terms[at : at + 32] for at in range(0, len(terms), TERM_BYTES)))


def first_chunk(terms: bytes) -> tuple[bytes, int]:
    """The xorb (raw hash) and chunk index that a non-empty file starts with."""
    return terms[:32], int.from_bytes(terms[40:44], "little")


def _eligible(hashes: bytes) -> Iterator[bytes]:
    """The chunk hashes that clients ask for wherever they stand in a file: last word divisible by 1,024."""
    for at in range(0, len(hashes), 32):
        if hashes[at + 24] == 0 and hashes[at + 25] & 3 == 0:
            yield hashes[at : at + 32]


def sha256_mismatch(expected: bytes, actual: bytes) -> IntegrityError:
    """The error for content whose SHA-256 is not the one claimed."""
    return IntegrityError(
        f"the content's SHA-256 is {actual.hex()}, not the {expected.hex()} claimed for it",
        code="sha256_mismatch",
        expected=expected.hex(),
        actual=actual.hex(),
    )


class ContentStore:
    """Xorbs, files and their links. Blocking: call it from worker threads."""

    def __init__(self, data: Path, now: Callable[[], float] = time.time) -> None:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.db = Database(data / "xetway.db")
        self.xorbs = XorbStore(os.fspath(data))
        self._now = now

    def now_s(self) -> int:
        """The time that rows are stamped with, in unix seconds."""
        return int(self._now())

    def clean_leftovers(self) -> int:
        """Remove what a crash left: temporary files of dead writers, and xorb files without a row."""
        removed = self.xorbs.clean_temporary()
        with self.db.write() as tx:
            for xorb in self.xorbs.list():
                if not tx.execute("SELECT 1 FROM xorbs WHERE hash = ?", (bytes(xorb),)).fetchone():
                    removed += self.xorbs.remove(xorb)
        return removed

    def publish(self, xorb: Hash, writer: XorbWriter, chunks: int, raw_bytes: int, stored_bytes: int) -> bool:
        """Make a finished xorb part of the store; False if it was there already.

        When this returns, the file and its row survive a crash. A xorb that is there but damaged is
        replaced, so uploading content again repairs it.
        """
        damaged = self._is_damaged(xorb)
        with self.db.write() as tx:
            known = tx.execute("SELECT 1 FROM xorbs WHERE hash = ?", (bytes(xorb),)).fetchone()
            # One that appeared since the look was proven a moment ago by the client that brought it.
            if known and not damaged and self.xorbs.exists(xorb):
                writer.abort()
                tx.execute(_TOUCH_XORB, (self.now_s(), bytes(xorb)))
                tx.execute("UPDATE xorbs SET damaged_at = NULL WHERE hash = ?", (bytes(xorb),))
                return False
            writer.publish(replace=True)
            tx.execute(
                "INSERT INTO xorbs (hash, chunks, raw_bytes, stored_bytes, touched_at) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (hash) DO UPDATE SET stored_bytes = excluded.stored_bytes, "
                "touched_at = excluded.touched_at, unreferenced_at = NULL, damaged_at = NULL",
                (bytes(xorb), chunks, raw_bytes, stored_bytes, self.now_s()),
            )
            hashes, _, _ = self.xorbs.chunks(xorb)
            tx.executemany(
                "INSERT OR IGNORE INTO dedup_chunks (chunk, xorb) VALUES (?, ?)",
                [(chunk, bytes(xorb)) for chunk in _eligible(hashes)],
            )
        return known is None

    def _is_damaged(self, xorb: Hash) -> bool:
        if not self.xorbs.exists(xorb):
            return False
        try:
            self.xorbs.verify(xorb)
        except StoreCorruptionError:
            return True
        return self.stored_bytes(xorb) != self.xorb_bytes(xorb)

    def mark_damaged(self, xorb: Hash) -> None:
        """Note that reading a xorb failed: it is no longer offered or relied on until it is uploaded again."""
        with self.db.write() as tx:
            new = "UPDATE xorbs SET damaged_at = ? WHERE hash = ? AND damaged_at IS NULL"
            if tx.execute(new, (self.now_s(), bytes(xorb))).rowcount:
                advance(tx)

    def mark_sound(self, xorb: Hash) -> None:
        """Take the mark of damage back: every byte of the xorb was read and is right."""
        with self.db.write() as tx:
            tx.execute("UPDATE xorbs SET damaged_at = NULL WHERE hash = ?", (bytes(xorb),))

    def damaged(self, xorbs: Iterable[bytes]) -> Hash | None:
        """The first of these xorbs (raw hashes) that is marked as damaged."""
        with self.db.read() as tx:
            for xorb in xorbs:
                if tx.execute("SELECT 1 FROM xorbs WHERE hash = ? AND damaged_at IS NOT NULL", (xorb,)).fetchone():
                    return Hash.from_bytes(xorb)
        return None

    def stored_bytes(self, xorb: Hash) -> int | None:
        """The length of a xorb's chunk data as the database has it; None for one that is not stored."""
        with self.db.read() as tx:
            row = tx.execute("SELECT stored_bytes FROM xorbs WHERE hash = ?", (bytes(xorb),)).fetchone()
        return row[0] if row else None

    def xorb_bytes(self, xorb: Hash) -> int:
        """The length of a stored xorb's chunk data as its file has it."""
        _, _, ends = self.xorbs.chunks(xorb)
        return int.from_bytes(ends[-4:], "little")

    def file(self, file: Hash) -> StoredFile | None:
        """Look a file up by its xet hash, whoever uploaded it."""
        with self.db.read() as tx:
            return self._file(tx, bytes(file))

    def repo_file(self, repo_id: int, file: Hash) -> StoredFile | None:
        """Look a file up by its xet hash among those that the repository may use."""
        with self.db.read() as tx:
            linked = tx.execute("SELECT 1 FROM repo_files WHERE repo_id = ? AND file = ?", (repo_id, bytes(file)))
            return self._file(tx, bytes(file)) if linked.fetchone() else None

    def file_by_sha256(self, repo_id: int, sha256: bytes) -> StoredFile | None:
        """Look a file up by SHA-256 among those that the repository may use and that are not damaged.

        Only those: otherwise knowing a digest would be enough to read another repository's file.
        """
        with self.db.read() as tx:
            row = tx.execute(
                f"SELECT file FROM repo_files l WHERE repo_id = ? AND sha256 = ? AND {_WHOLE.format('l.file')} LIMIT 1",
                (repo_id, sha256),
            ).fetchone()
            return self._file(tx, row[0]) if row else None

    @staticmethod
    def _file(tx: sqlite3.Connection, file: bytes) -> StoredFile | None:
        row = tx.execute("SELECT size, sha256, terms FROM files WHERE hash = ?", (file,)).fetchone()
        return StoredFile(Hash.from_bytes(file), row[0], row[1], row[2]) if row else None

    def open(self, file: StoredFile, start: int, end: int) -> ByteReader:
        """Read content bytes [start, end); every chunk is verified before its bytes come out."""
        return self.xorbs.open_file(file.terms, start, end)

    def writer(self) -> ContentWriter:
        """Start storing content that is chunked and packed here, not by the client."""
        return ContentWriter(self)

    def add_files(self, repo_id: int, files: Iterable[StoredFile]) -> int:
        """Record files whose terms were checked and link them to the repository, all or none.

        Returns how many the repository did not have before.

        Raises:
            FormatError: `unknown_xorb` if a xorb was collected since it was checked.
        """
        stamp, added = self.now_s(), 0
        try:
            with self.db.write() as tx:
                for file in files:
                    added += self._add_file(tx, repo_id, file, stamp)
        except sqlite3.IntegrityError:
            raise FormatError(
                "a xorb or the repository named by the upload no longer exists", code="unknown_xorb", format="shard"
            ) from None
        return added

    def _add_file(self, tx: sqlite3.Connection, repo_id: int, file: StoredFile, stamp: int) -> bool:
        raw = bytes(file.hash)
        # The same content in other xorbs: the way out when the ones it had are damaged.
        tx.execute(
            f"UPDATE files SET terms = ? WHERE hash = ? AND NOT {_WHOLE.format('files.hash')}", (file.terms, raw)
        )
        tx.execute(
            "INSERT INTO files (hash, size, sha256, terms, touched_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (hash) DO "
            "UPDATE SET sha256 = coalesce(files.sha256, excluded.sha256), touched_at = excluded.touched_at",
            (raw, file.size, file.sha256, file.terms, stamp),
        )
        xorbs = term_xorbs(tx.execute("SELECT terms FROM files WHERE hash = ?", (raw,)).fetchone()[0])
        tx.execute("DELETE FROM file_xorbs WHERE file = ?", (raw,))
        tx.executemany("INSERT INTO file_xorbs (file, xorb) VALUES (?, ?)", [(raw, xorb) for xorb in xorbs])
        tx.executemany(_TOUCH_XORB, [(stamp, xorb) for xorb in xorbs])
        if file.terms:
            xorb, index = first_chunk(file.terms)
            hashes, _, _ = self.xorbs.chunks(Hash.from_bytes(xorb))
            tx.execute(
                "INSERT OR IGNORE INTO dedup_chunks (chunk, xorb) VALUES (?, ?)",
                (hashes[32 * index : 32 * index + 32], xorb),
            )
        new = tx.execute("SELECT 1 FROM repo_files WHERE repo_id = ? AND file = ?", (repo_id, raw)).fetchone() is None
        tx.execute(
            "INSERT INTO repo_files (repo_id, file, sha256, added_at) VALUES (?, ?, ?, ?) ON CONFLICT (repo_id, file) "
            "DO UPDATE SET sha256 = coalesce(repo_files.sha256, excluded.sha256), added_at = excluded.added_at",
            (repo_id, raw, file.sha256, stamp),
        )
        return new

    def touch(self, xorbs: list[Hash]) -> None:
        """Note that an upload may be about to use these xorbs, so that gc leaves them for now.

        Raises:
            sqlite3.OperationalError: the write lock is taken; this does not wait for it.
        """
        stamp = self.now_s()
        rows = [(stamp, bytes(xorb), stamp - _TOUCH_INTERVAL_S) for xorb in xorbs]
        with self.db.write(wait=False) as tx:
            tx.executemany("UPDATE xorbs SET touched_at = ? WHERE hash = ? AND touched_at < ?", rows)


class ContentWriter:
    """Content on its way into the store, chunked and packed by the server. Blocking."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._ingest = store.xorbs.ingest()

    def write(self, data: bytes) -> None:
        """Take the next bytes, in order, in pieces of any size."""
        self._ingest.write(data)

    def finish(self, repo_id: int, sha256: bytes | None = None) -> StoredFile:
        """Store everything written and link it to the repository.

        Raises:
            IntegrityError: `sha256_mismatch` when `sha256` is given and differs; nothing is stored.
        """
        file, size, digest, terms, xorbs = self._ingest.finish()
        if sha256 is not None and sha256 != digest:
            for _, writer, *_ in xorbs:
                writer.abort()
            raise sha256_mismatch(sha256, digest)
        for xorb, writer, chunks, raw_bytes, stored_bytes in xorbs:
            self._store.publish(xorb, writer, chunks, raw_bytes, stored_bytes)
        stored = StoredFile(file, size, digest, terms)
        self._store.add_files(repo_id, [stored])
        return stored

    def abort(self) -> None:
        """Drop what was written."""
        self._ingest.abort()
