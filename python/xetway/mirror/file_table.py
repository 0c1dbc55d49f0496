"""Files of the upstream's commits, and who was told that they may read them.

A row means: the upstream showed this audience the content's name, so the audience may have the content. Listings of
repositories that not everybody may read count only for files whose xet hash the upstream showed: it stars those of
content that the caller may not have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from xetway._native import Hash
from xetway.mirror.names import RepoKey
from xetway.mirror.storage import Storage

View: TypeAlias = Literal["resolve", "raw"]

_COLUMNS = "commit_id, path, size, etag, is_linked, xet, checked_at"
_MOST_CANDIDATES = 8
# Anybody may ask for names that nothing has; what is known of those is for when the upstream is away, and bounded.
_MOST_MISSING = 50_000
_LONGEST_MISSING = 1_000
_PRUNE_INTERVAL = 256


class FileInfo(msgspec.Struct, frozen=True):
    """A file of a commit. `etag` names its content, without quotes; without a size it is known to be missing."""

    commit: str
    path: str
    size: int | None
    etag: str
    is_linked: bool
    xet: Hash | None
    checked_at: int


class Candidate(msgspec.Struct, frozen=True):
    """A file found by its content."""

    audience: str
    repo: RepoKey
    info: FileInfo


class FileTable:
    """The rows. Blocking: call it from worker threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._until_prune = 1

    def find(self, audience: str, repo: RepoKey, commit: str, view: View, path: str) -> FileInfo | None:
        """Look a file up; one that is not in a commit whose files are all known is found as missing."""

        def look(tx: sqlite3.Connection) -> FileInfo | None:
            row = tx.execute(
                f"SELECT {_COLUMNS} FROM files WHERE audience = ? AND repo = ? AND commit_id = ? AND view = ? "
                "AND path = ?",
                (audience, repo.text, commit, view, path),
            ).fetchone()
            if row is not None:
                return _info(row)
            listed = tx.execute(
                "SELECT 1 FROM listed WHERE audience = ? AND repo = ? AND commit_id = ?", (audience, repo.text, commit)
            ).fetchone()
            return FileInfo(commit, path, None, "", False, None, 0) if listed else None

        return self._storage.read(look)

    def keep(
        self, audience: str, repo: RepoKey, view: View, files: Iterable[FileInfo], listed: str | None = None
    ) -> None:
        """Keep what the audience was told; `listed` is a commit that has these files and no others."""
        with self._storage.write() as tx:
            if tx is None:
                return
            tx.executemany(
                "INSERT OR REPLACE INTO files (audience, repo, view, commit_id, path, size, etag, is_linked, xet, "
                "checked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        audience,
                        repo.text,
                        view,
                        file.commit,
                        file.path,
                        file.size,
                        file.etag,
                        file.is_linked,
                        None if file.xet is None else bytes(file.xet),
                        file.checked_at,
                    )
                    for file in files
                ],
            )
            if listed is not None:
                tx.execute(
                    "INSERT OR IGNORE INTO listed (audience, repo, commit_id) VALUES (?, ?, ?)",
                    (audience, repo.text, listed),
                )

    def forget(self, audience: str, repo: RepoKey, view: View, file: FileInfo) -> None:
        """Forget what was told of a file, and that all files of its commit are known; unless it was told anew."""
        with self._storage.write() as tx:
            if tx is None:
                return
            tx.execute(
                "DELETE FROM files WHERE audience = ? AND repo = ? AND commit_id = ? AND view = ? AND path = ? "
                "AND size = ? AND etag = ?",
                (audience, repo.text, file.commit, view, file.path, file.size, file.etag),
            )
            tx.execute(
                "DELETE FROM listed WHERE audience = ? AND repo = ? AND commit_id = ?",
                (audience, repo.text, file.commit),
            )

    def forget_content(self, audience: str, repo: RepoKey, file: Hash) -> None:
        """Forget what was told of all files of this content, and that all files of their commits are known."""
        same = "audience = ? AND repo = ?"
        key = (audience, repo.text, bytes(file))
        with self._storage.write() as tx:
            if tx is None:
                return
            tx.execute(
                f"DELETE FROM listed WHERE {same} AND commit_id IN "
                f"(SELECT commit_id FROM files WHERE {same} AND xet = ?)",
                (audience, repo.text, *key),
            )
            tx.execute(f"DELETE FROM files WHERE {same} AND xet = ?", key)

    def sizes(self, audience: str, repo: RepoKey, file: Hash) -> set[int]:
        """The lengths that were told of files of this content; more than one if the upstream was wrong."""
        question = (
            "SELECT DISTINCT size FROM files WHERE audience = ? AND repo = ? AND xet = ? AND view = 'resolve' "
            "AND size IS NOT NULL"
        )
        key = (audience, repo.text, bytes(file))
        return {row[0] for row in self._storage.read(lambda tx: tx.execute(question, key).fetchall())}

    def keep_missing(self, audience: str, repo: RepoKey, view: View, commit: str, path: str) -> None:
        """Keep that a commit has no such file; the oldest of these are forgotten."""
        if len(path) > _LONGEST_MISSING:
            return
        self.keep(audience, repo, view, [FileInfo(commit, path, None, "", False, None, self._storage.now_s())])
        self._until_prune -= 1
        if self._until_prune > 0:
            return
        self._until_prune = _PRUNE_INTERVAL
        with self._storage.write() as tx:
            if tx is not None:
                tx.execute(
                    "DELETE FROM files WHERE size IS NULL AND checked_at <= "
                    "(SELECT checked_at FROM files WHERE size IS NULL ORDER BY checked_at DESC LIMIT 1 OFFSET ?)",
                    (_MOST_MISSING,),
                )

    def ref(self, audience: str, repo: RepoKey, revision: str) -> tuple[str, int] | None:
        """What a branch or tag last meant, and when."""
        question = "SELECT commit_id, checked_at FROM refs WHERE audience = ? AND repo = ? AND revision = ?"
        row = self._storage.read(lambda tx: tx.execute(question, (audience, repo.text, revision)).fetchone())
        return None if row is None else (row[0], row[1])

    def keep_ref(self, audience: str, repo: RepoKey, revision: str, commit: str) -> None:
        """Note what a branch or tag means now."""
        with self._storage.write() as tx:
            if tx is not None:
                tx.execute(
                    "INSERT OR REPLACE INTO refs (audience, repo, revision, commit_id, checked_at) "
                    "VALUES (?, ?, ?, ?, ?)",
                    (audience, repo.text, revision, commit, self._storage.now_s()),
                )

    def grant(self, audience: str, repo: RepoKey, file: Hash) -> None:
        """Note that the upstream's content store gave a file to an audience."""
        with self._storage.write() as tx:
            if tx is not None:
                tx.execute(
                    "INSERT OR REPLACE INTO grants (audience, repo, file, checked_at) VALUES (?, ?, ?, ?)",
                    (audience, repo.text, bytes(file), self._storage.now_s()),
                )

    def is_granted(self, audience: str, repo: RepoKey, file: Hash) -> bool:
        """Whether the upstream showed a file of a repository to an audience."""
        raw = bytes(file)
        in_grants = "SELECT 1 FROM grants WHERE audience = ? AND repo = ? AND file = ?"
        in_files = "SELECT 1 FROM files WHERE audience = ? AND repo = ? AND xet = ? LIMIT 1"
        return self._storage.read(
            lambda tx: any(
                tx.execute(question, (audience, repo.text, raw)).fetchone() for question in (in_grants, in_files)
            )
        )

    def knows(self, audience: str, repo: RepoKey, since: int) -> bool:
        """Whether the upstream showed an audience anything of a repository since a time (unix seconds)."""
        return self._storage.read(
            lambda tx: any(
                tx.execute(
                    f"SELECT 1 FROM {table} WHERE audience = ? AND repo = ? AND checked_at >= ? LIMIT 1",
                    (audience, repo.text, since),
                ).fetchone()
                for table in ("refs", "answers", "files")
            )
        )

    def by_content(self, audiences: tuple[str, str], digest: str) -> list[Candidate]:
        """Files with this xet hash or SHA-256 (64 hex digits) that one of the audiences was shown, newest first."""

        def look(tx: sqlite3.Connection) -> list[Candidate]:
            found: list[Candidate] = []
            for column, value in (("xet", bytes(Hash(digest))), ("etag", digest)):
                extra = " AND is_linked" if column == "etag" else ""
                found += [
                    Candidate(row[7], _repo_key(row[8]), _info(row))
                    for row in tx.execute(
                        f"SELECT {_COLUMNS}, audience, repo FROM files WHERE {column} = ? AND audience IN (?, ?) "
                        f"AND view = 'resolve' AND size IS NOT NULL{extra} ORDER BY checked_at DESC LIMIT ?",
                        (value, *audiences, _MOST_CANDIDATES),
                    )
                ]
            return found

        return self._storage.read(look)


def _info(row: sqlite3.Row) -> FileInfo:
    xet = None if row[5] is None else Hash.from_bytes(row[5])
    return FileInfo(row[0], row[1], row[2], row[3], bool(row[4]), xet, row[6])


def _repo_key(text: str) -> RepoKey:
    plural, _, name = text.partition("/")
    return RepoKey(plural[:-1], name)  # type: ignore[arg-type]
