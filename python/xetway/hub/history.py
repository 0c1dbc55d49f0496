"""Commits: written, read, and followed back through their parents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from xetway.errors import StoreCorruptionError
from xetway.hub.git import encode_commit
from xetway.hub.objects import put_object
from xetway.hub.trees import TreeReader


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


def last_commits(tx: sqlite3.Connection, repo_id: int, head: bytes, paths: Iterable[str]) -> dict[str, Commit]:
    """Return for each path of `head`'s tree the commit that last changed it."""
    trees = TreeReader(tx)
    pending = set(paths)
    found: dict[str, Commit] = {}
    commit = get_commit(tx, repo_id, head)
    while pending and commit.parent is not None:
        parent = get_commit(tx, repo_id, commit.parent)
        changed = _changed(trees, commit.tree, parent.tree, pending) if parent.tree != commit.tree else ()
        found.update(dict.fromkeys(changed, commit))
        pending.difference_update(changed)
        commit = parent
    found.update(dict.fromkeys(pending, commit))
    return found


def _changed(trees: TreeReader, tree: bytes, former: bytes, paths: set[str]) -> list[str]:
    """The paths that are not the same in both trees."""
    top, former_top = trees.folder(tree), trees.folder(former)
    names = {path.partition("/")[0] for path in paths}
    touched = {name for name in names if top.get(name.encode()) != former_top.get(name.encode())}
    return [
        path
        for path in paths
        if path.partition("/")[0] in touched and trees.find(tree, path) != trees.find(former, path)
    ]
