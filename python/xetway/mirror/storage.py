"""The mirror's own database, `answers.db`: whole answers of the upstream, and what repositories are.

Everything in it is a copy. Losing it costs questions to the upstream, so writes are not forced to the disk, a write
that fails is logged and forgotten, and a damaged file is set aside. What it says of files is in `file_table`, what it
forgets in `pruning`.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from xetway.db import Database
from xetway.errors import ConfigError
from xetway.mirror.callers import PUBLIC
from xetway.mirror.names import RepoKey
from xetway.mirror.pruning import prune_answers, prune_rows

T = TypeVar("T")

logger = logging.getLogger("xetway")

_USED_INTERVAL_S = 3600
# Answers between two looks at how much is kept.
_PRUNE_INTERVAL = 256
# The same for what grows slowly, in time.
_PRUNE_ROWS_INTERVAL_S = 3600
# SQL is constant here: what it names and a file has not (SQLITE_ERROR) was there once.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
# A file, or its log, that ends before a page that it should have.
_CUT = frozenset({sqlite3.SQLITE_IOERR_SHORT_READ})
# Where the header says who may write (database file format, section 1.3): later versions than these may only read.
_WRITE_VERSION_AT = 18
_WRITE_VERSIONS = (b"\x01", b"\x02")
# What SQLite says of a damaged file may quote it, and then Python cannot read it.
_FAILURES = (sqlite3.DatabaseError, UnicodeDecodeError)


class Kept(msgspec.Struct, frozen=True):
    """An answer as it was kept. Names of headers in lower case."""

    headers: dict[str, str]
    body: bytes
    etag: str | None
    checked_at: int


class RepoState(msgspec.Struct, frozen=True):
    """Whether anybody may read a repository, and when the upstream last said so."""

    is_public: bool
    checked_at: int


def answer_key(audience: str, method: str, target: str, body: bytes) -> bytes:
    """The key that an answer is kept under: what it is the answer to, and for whom."""
    digest = hashlib.sha256()
    for part in (audience.encode(), method.encode(), target.encode("utf-8", "surrogateescape"), body):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


class Storage:
    """Answers and repositories. Blocking: call it from worker threads."""

    def __init__(self, folder: Path, now: Callable[[], float] = time.time) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = folder / "answers.db"
        self._renewing = threading.Lock()
        # Connections to damaged files stay open: SQLite deletes a log by its name when the last one closes.
        self._set_aside: list[Database] = []
        self._now = now
        self._until_prune = 1
        self._prune_rows_at = 0
        try:
            self._db = self._open()
        except (*_FAILURES, ConfigError) as error:
            # A schema of a later version is no reason to stop: this is a copy, or the number is damaged.
            if not (isinstance(error, ConfigError) or self._is_damage(error)):
                raise
            self._move_away(str(error))
            self._db = self._open()

    def now_s(self) -> int:
        """The time, in unix seconds."""
        return int(self._now())

    def _open(self) -> Database:
        return Database(self._path, package="xetway.mirror", durable=False)

    def _move_away(self, why: str) -> None:
        logger.warning("%s is damaged (%s); it is set aside, and the upstream asked anew", self._path.name, why)
        self._path.replace(self._path.with_name(self._path.name + ".damaged"))
        for companion in ("-wal", "-shm"):
            self._path.with_name(self._path.name + companion).unlink(missing_ok=True)

    def _renew(self, damaged: Database, error: Exception) -> None:
        """Begin a new file in place of a damaged one, unless another thread has done so."""
        with self._renewing:
            if self._db is damaged:
                self._move_away(str(error))
                self._set_aside.append(damaged)
                self._db = self._open()

    def read(self, look: Callable[[sqlite3.Connection], T]) -> T:
        """Return what `look` finds in a consistent snapshot; a damaged file is as good as an empty one."""
        db = self._db
        try:
            with db.read() as tx:
                return look(tx)
        except _FAILURES as error:
            if not self._is_damage(error):
                raise
            self._renew(db, error)
        with self._db.read() as tx:
            return look(tx)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection | None]:
        """A transaction that may fail, or not begin (None): what is not kept is asked for again."""
        stack, db = ExitStack(), self._db
        try:
            tx = stack.enter_context(db.write())
        except _FAILURES as error:
            self._not_kept(db, error)
            yield None
            return
        try:
            with stack:
                yield tx
        except _FAILURES as error:
            self._not_kept(db, error)

    def _not_kept(self, db: Database, error: Exception) -> None:
        if self._is_damage(error):
            self._renew(db, error)
        elif isinstance(error, sqlite3.OperationalError):
            logger.warning("the mirror could not keep an answer: %s", error)
        else:
            raise error

    def _is_damage(self, error: Exception) -> bool:
        code = getattr(error, "sqlite_errorcode", None)
        if code is None:
            # Python's own: it could not decode a text, SQLite's or one in a row.
            return isinstance(error, (UnicodeDecodeError, sqlite3.OperationalError))
        if code == sqlite3.SQLITE_READONLY:
            with self._path.open("rb") as file:
                file.seek(_WRITE_VERSION_AT)
                return file.read(1) not in _WRITE_VERSIONS
        if code == sqlite3.SQLITE_BUSY:
            # An emptied file: SQLite wants it for itself, to begin it anew, and those that have it open are in the way.
            return self._path.stat().st_size == 0
        return code in _CUT or code & 0xFF in _DAMAGE

    def answer(self, key: bytes) -> Kept | None:
        """Look an answer up."""
        question = "SELECT headers, body, etag, checked_at, used_at FROM answers WHERE key = ?"
        row = self.read(lambda tx: tx.execute(question, (key,)).fetchone())
        if row is None:
            return None
        now = self.now_s()
        if row[4] < now - _USED_INTERVAL_S:
            with self.write() as tx:
                if tx is not None:
                    tx.execute("UPDATE answers SET used_at = ? WHERE key = ?", (now, key))
        try:
            headers = msgspec.json.decode(row[0], type=dict[str, str])
        except msgspec.DecodeError:
            # Damaged where SQLite cannot see it; the next answer takes its place.
            return None
        return Kept(headers, row[1], row[2], row[3])

    def keep(self, key: bytes, audience: str, repo: RepoKey | None, kept: Kept) -> None:
        """Keep an answer, in place of the one before."""
        with self.write() as tx:
            if tx is None:
                return
            headers = msgspec.json.encode(kept.headers).decode()
            tx.execute(
                "INSERT OR REPLACE INTO answers (key, audience, repo, headers, body, etag, checked_at, used_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    audience,
                    "" if repo is None else repo.text,
                    headers,
                    kept.body,
                    kept.etag,
                    kept.checked_at,
                    self.now_s(),
                ),
            )
            self._until_prune -= 1
            if self._until_prune <= 0:
                self._until_prune = _PRUNE_INTERVAL
                prune_answers(tx)
            self._prune_rows(tx)

    def _prune_rows(self, tx: sqlite3.Connection) -> None:
        """Forget what is old, now and then. For what brings news alone: reading must not forget anything."""
        if self.now_s() >= self._prune_rows_at:
            self._prune_rows_at = self.now_s() + _PRUNE_ROWS_INTERVAL_S
            prune_rows(tx, self.now_s())

    def confirm(self, key: bytes) -> None:
        """Note that the upstream said the answer still holds."""
        with self.write() as tx:
            if tx is not None:
                now = self.now_s()
                tx.execute("UPDATE answers SET checked_at = ?, used_at = ? WHERE key = ?", (now, now, key))

    def repo(self, repo: RepoKey) -> RepoState | None:
        """What is known of a repository."""
        question = "SELECT is_public, checked_at FROM repos WHERE repo = ?"
        row = self.read(lambda tx: tx.execute(question, (repo.text,)).fetchone())
        return None if row is None else RepoState(bool(row[0]), row[1])

    def knows(self, repo: RepoKey) -> bool:
        """Whether the upstream was seen to have a repository."""
        questions = ("SELECT 1 FROM repos WHERE repo = ?", "SELECT 1 FROM answers WHERE repo = ? LIMIT 1")
        return self.read(lambda tx: any(tx.execute(question, (repo.text,)).fetchone() for question in questions))

    def keep_repo(self, repo: RepoKey, *, is_public: bool) -> None:
        """Note whether anybody may read a repository."""
        with self.write() as tx:
            if tx is not None:
                tx.execute(
                    "INSERT OR REPLACE INTO repos (repo, is_public, checked_at) VALUES (?, ?, ?)",
                    (repo.text, is_public, self.now_s()),
                )
                self._prune_rows(tx)

    def hide_repo(self, repo: RepoKey) -> None:
        """Note that a repository is not known to be public any more."""
        with self.write() as tx:
            if tx is not None:
                tx.execute("DELETE FROM repos WHERE repo = ?", (repo.text,))

    def forget(self, audience: str, repo: RepoKey) -> None:
        """Drop all that an audience was told about a repository: it may no longer read it."""
        if audience == PUBLIC:
            self.hide_repo(repo)
            return
        with self.write() as tx:
            if tx is not None:
                for table in ("answers", "refs", "files", "listed", "grants"):
                    tx.execute(f"DELETE FROM {table} WHERE audience = ? AND repo = ?", (audience, repo.text))
