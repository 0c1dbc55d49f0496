"""The mirror's own database, `answers.db`: whole answers of the upstream, and what repositories are.

Everything in it is a copy. Losing it costs questions to the upstream, so writes are not forced to the disk, and a write
that fails is logged and forgotten. What it says of files is in `file_table`.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from xetway.db import Database
from xetway.mirror.callers import PUBLIC
from xetway.mirror.names import RepoKey

logger = logging.getLogger("xetway")

MAX_KEPT_BYTES = 1024 * 1024 * 1024
_USED_INTERVAL_S = 3600
# Answers between two looks at how much is kept.
_PRUNE_INTERVAL = 256
_PRUNE_BATCH = 200
# What an answer takes besides its body, generously: small ones are bounded in number.
_ROW_BYTES = 2048


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
        self.db = Database(folder / "answers.db", package="xetway.mirror", durable=False)
        self._now = now
        self._until_prune = 1

    def now_s(self) -> int:
        """The time, in unix seconds."""
        return int(self._now())

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection | None]:
        """A transaction that may fail, or not begin (None): what is not kept is asked for again."""
        stack = ExitStack()
        try:
            tx = stack.enter_context(self.db.write())
        except sqlite3.OperationalError as error:
            logger.warning("the mirror could not keep an answer: %s", error)
            yield None
            return
        try:
            with stack:
                yield tx
        except sqlite3.OperationalError as error:
            logger.warning("the mirror could not keep an answer: %s", error)

    def answer(self, key: bytes) -> Kept | None:
        """Look an answer up."""
        with self.db.read() as tx:
            row = tx.execute(
                "SELECT headers, body, etag, checked_at, used_at FROM answers WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        now = self.now_s()
        if row[4] < now - _USED_INTERVAL_S:
            with self.write() as tx:
                if tx is not None:
                    tx.execute("UPDATE answers SET used_at = ? WHERE key = ?", (now, key))
        return Kept(msgspec.json.decode(row[0], type=dict[str, str]), row[1], row[2], row[3])

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
                self._prune(tx)

    @staticmethod
    def _prune(tx: sqlite3.Connection) -> None:
        kept_bytes = tx.execute("SELECT coalesce(sum(length(body) + ?), 0) FROM answers", (_ROW_BYTES,)).fetchone()[0]
        while kept_bytes > MAX_KEPT_BYTES:
            oldest = tx.execute(
                "SELECT key, length(body) FROM answers ORDER BY used_at LIMIT ?", (_PRUNE_BATCH,)
            ).fetchall()
            for key, size in oldest:
                tx.execute("DELETE FROM answers WHERE key = ?", (key,))
                kept_bytes -= size + _ROW_BYTES

    def confirm(self, key: bytes) -> None:
        """Note that the upstream said the answer still holds."""
        with self.write() as tx:
            if tx is not None:
                now = self.now_s()
                tx.execute("UPDATE answers SET checked_at = ?, used_at = ? WHERE key = ?", (now, now, key))

    def repo(self, repo: RepoKey) -> RepoState | None:
        """What is known of a repository."""
        with self.db.read() as tx:
            row = tx.execute("SELECT is_public, checked_at FROM repos WHERE repo = ?", (repo.text,)).fetchone()
        return None if row is None else RepoState(bool(row[0]), row[1])

    def keep_repo(self, repo: RepoKey, *, is_public: bool) -> None:
        """Note whether anybody may read a repository."""
        with self.write() as tx:
            if tx is not None:
                tx.execute(
                    "INSERT OR REPLACE INTO repos (repo, is_public, checked_at) VALUES (?, ?, ?)",
                    (repo.text, is_public, self.now_s()),
                )

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
