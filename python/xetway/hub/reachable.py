"""What repositories still need, for garbage collection, and whether their objects are whole, for fsck.

History is kept: every commit that a ref of an existing repository leads to counts. Commits that no ref leads to
any more (of deleted branches, and from before a squash) go.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator

from xetway.errors import FormatError
from xetway.hub.git import object_id, parse_tree, pointer
from xetway.hub.names import PREFIXES

_REACHABLE_COMMITS = """
    WITH RECURSIVE live (repo_id, oid) AS (
        SELECT repo_id, oid FROM refs
        UNION
        SELECT c.repo_id, c.parent FROM live JOIN commits c ON c.repo_id = live.repo_id AND c.oid = live.oid
        WHERE c.parent IS NOT NULL
    )
"""


def prune(tx: sqlite3.Connection) -> set[tuple[int, bytes]]:
    """Delete the commits, trees and blobs that no ref leads to, and each repository's claim on those of others.

    Returns:
        The files still needed, as (repository id, raw hash) of each repository whose history has them.
    """
    tx.execute(f"{_REACHABLE_COMMITS} DELETE FROM commits WHERE (repo_id, oid) NOT IN (SELECT repo_id, oid FROM live)")
    tx.execute("CREATE TEMP TABLE live_objects (oid BLOB, repo_id INTEGER, PRIMARY KEY (oid, repo_id)) WITHOUT ROWID")
    try:
        tx.execute("INSERT INTO live_objects SELECT oid, repo_id FROM commits")
        pending = [(row[0], row[1]) for row in tx.execute("SELECT DISTINCT tree, repo_id FROM commits")]
        while pending:
            oid, repo_id = pending.pop()
            if not tx.execute("INSERT OR IGNORE INTO live_objects VALUES (?, ?)", (oid, repo_id)).rowcount:
                continue
            row = tx.execute("SELECT data FROM git_objects WHERE oid = ? AND kind = 'tree'", (oid,)).fetchone()
            entries = parse_tree(row[0]) if row is not None else []
            pending.extend((entry.oid, repo_id) for entry in entries if entry.is_folder)
            tx.executemany(
                "INSERT OR IGNORE INTO live_objects VALUES (?, ?)",
                [(entry.oid, repo_id) for entry in entries if not entry.is_folder],
            )
        for table in ("git_objects", "blobs"):
            tx.execute(f"DELETE FROM {table} WHERE oid NOT IN (SELECT oid FROM live_objects)")
        tx.execute("DELETE FROM repo_blobs WHERE (oid, repo_id) NOT IN (SELECT oid, repo_id FROM live_objects)")
        live = tx.execute(
            "SELECT DISTINCT repo_id, file FROM live_objects JOIN blobs USING (oid) WHERE file IS NOT NULL"
        )
        return {(row[0], row[1]) for row in live}
    finally:
        tx.execute("DROP TABLE live_objects")


def users(tx: sqlite3.Connection, xorb: bytes) -> list[str]:
    """The repositories with files that a xorb (raw hash) is part of, such as ``org/name`` or ``datasets/org/name``."""
    rows = tx.execute(
        "SELECT DISTINCT r.type, r.namespace || '/' || r.name FROM file_xorbs u JOIN repo_files l ON l.file = u.file "
        "JOIN repos r ON r.id = l.repo_id WHERE u.xorb = ?",
        (xorb,),
    )
    return [PREFIXES[kind] + name for kind, name in rows]


def check(tx: sqlite3.Connection) -> Iterable[str]:
    """Check every stored git object and blob, and that everything they name is there; one line for each fault."""
    yield from _check_objects(tx)
    yield from _check_blobs(tx)
    yield from _check_commits(tx)


def _check_objects(tx: sqlite3.Connection) -> Iterator[str]:
    kinds = dict(tx.execute("SELECT oid, kind FROM git_objects").fetchall())
    blobs = {row[0] for row in tx.execute("SELECT oid FROM blobs")}
    for oid, kind, data in tx.execute("SELECT oid, kind, data FROM git_objects"):
        if object_id(kind, data) != oid:
            yield f"{kind} {oid.hex()}: the stored bytes have another id"
            continue
        if kind != "tree":
            continue
        try:
            entries = parse_tree(data)
        except FormatError as error:
            yield f"tree {oid.hex()}: {error}"
            continue
        for entry in entries:
            present = kinds.get(entry.oid) == "tree" if entry.is_folder else entry.oid in blobs
            if not present:
                yield f"tree {oid.hex()}: {entry.name!r} ({entry.oid.hex()}) is missing"


def _check_blobs(tx: sqlite3.Connection) -> Iterator[str]:
    rows = tx.execute(
        "SELECT b.oid, b.size, b.sha256, b.is_lfs, b.data, f.size, f.sha256 "
        "FROM blobs b LEFT JOIN files f ON f.hash = b.file"
    )
    for oid, size, sha256, is_lfs, data, file_size, file_sha256 in rows:
        if is_lfs and object_id("blob", pointer(sha256, size)) != oid:
            yield f"blob {oid.hex()}: its pointer has another id"
        if data is not None:
            if (len(data), hashlib.sha256(data).digest(), object_id("blob", data)) != (size, sha256, oid):
                yield f"blob {oid.hex()}: the stored bytes have another id"
        elif (file_size, file_sha256) != (size, sha256):
            yield f"blob {oid.hex()}: its file is missing or other content"


def _check_commits(tx: sqlite3.Connection) -> Iterator[str]:
    rows = tx.execute(
        "SELECT c.oid, c.tree, c.parent, o.data FROM commits c "
        "LEFT JOIN git_objects o ON o.oid = c.oid AND o.kind = 'commit'"
    )
    for oid, tree, parent, data in rows:
        lines = [f"tree {tree.hex()}"] + ([f"parent {parent.hex()}"] if parent is not None else [])
        start = "\n".join([*lines, "author "]).encode()
        if data is None or not data.startswith(start):
            yield f"commit {oid.hex()}: it is missing, or names another tree or parent"
    for (name,) in tx.execute("SELECT namespace || '/' || name FROM repos WHERE id NOT IN (SELECT repo_id FROM refs)"):
        yield f"repository {name}: it has no revision"
