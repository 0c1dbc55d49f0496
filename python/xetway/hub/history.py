"""Commits: written, read, and followed back through their parents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from xetway.errors import StoreCorruptionError
from xetway.hub.git import TreeEntry, encode_commit
from xetway.hub.objects import get_tree, put_object


class Commit(msgspec.Struct, frozen=True):
    """A commit with at most one parent; `date` in unix seconds."""

    oid: bytes
    tree: bytes
    parent: bytes | None
    title: str
    message: str
    author: str
    date: int


_COLUMNS = "oid, tree, parent, title, message, author, date"


def add_commit(
    tx: sqlite3.Connection,
    repo_id: int,
    *,
    tree: bytes,
    parent: bytes | None,
    title: str,
    message: str,
    author: str,
    date: int,
) -> bytes:
    """Store a commit of a repository and return its id; no ref points to it yet."""
    text = f"{title}\n\n{message}" if message else title
    oid = put_object(tx, "commit", encode_commit(tree, parent, author, date, text))
    tx.execute(
        f"INSERT OR IGNORE INTO commits (repo_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (repo_id, oid, tree, parent, title, message, author, date),
    )
    return oid


def get_commit(tx: sqlite3.Connection, repo_id: int, oid: bytes) -> Commit:
    """Return a commit that a ref or another commit names.

    Raises:
        StoreCorruptionError: The repository does not have it.
    """
    row = tx.execute(f"SELECT {_COLUMNS} FROM commits WHERE repo_id = ? AND oid = ?", (repo_id, oid)).fetchone()
    if row is None:
        raise StoreCorruptionError(f"the commit {oid.hex()} is missing", expected=oid.hex())
    return Commit(*row)


def history_page(tx: sqlite3.Connection, repo_id: int, oid: bytes, limit: int) -> tuple[list[Commit], bytes | None]:
    """Return up to `limit` commits from `oid` back, and where the next page starts."""
    commits: list[Commit] = []
    current: bytes | None = oid
    while current is not None and len(commits) < limit:
        commits.append(get_commit(tx, repo_id, current))
        current = commits[-1].parent
    return commits, current


class _TreeCache:
    """Trees as they are met again and again when neighbouring commits are compared."""

    def __init__(self, tx: sqlite3.Connection) -> None:
        self._tx = tx
        self._trees: dict[bytes, dict[str, TreeEntry]] = {}

    def find(self, root: bytes, path: str) -> bytes | None:
        """The id of what is at a path."""
        oid = root
        for part in path.split("/"):
            if oid not in self._trees:
                self._trees[oid] = {entry.name: entry for entry in get_tree(self._tx, oid)}
            entry = self._trees[oid].get(part)
            if entry is None:
                return None
            oid = entry.oid
            if not entry.is_folder:
                # A file has nothing inside; only the last part of a path that exists leads here.
                return oid
        return oid


def last_commits(tx: sqlite3.Connection, repo_id: int, head: bytes, paths: Iterable[str]) -> dict[str, Commit]:
    """Return for each path of `head`'s tree the commit that last changed it."""
    trees = _TreeCache(tx)
    commit = get_commit(tx, repo_id, head)
    pending = {path: trees.find(commit.tree, path) for path in paths}
    found: dict[str, Commit] = {}
    while pending and commit.parent is not None:
        parent = get_commit(tx, repo_id, commit.parent)
        if parent.tree != commit.tree:
            changed = [path for path, oid in pending.items() if trees.find(parent.tree, path) != oid]
            for path in changed:
                del pending[path]
                found[path] = commit
        commit = parent
    found.update(dict.fromkeys(pending, commit))
    return found
