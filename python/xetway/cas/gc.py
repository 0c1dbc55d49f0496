"""Garbage collection: remove what no revision references, beside running servers and uploads.

Two clocks keep it safe. A thing an upload touched within the *window* is left alone, because a commit
for it may still come (the default is the life of a write token). And a xorb goes only after it has been
unreferenced for the whole *grace*: clients remember for about four weeks which xorbs a server has, and an
upload that relies on a xorb that is gone is refused.

Rows go first, in one transaction under the database's write lock; files without a row go after, under the
same lock that publishing takes. A crash in between leaves such files only, which the next start removes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from xetway.cas.epochs import advance
from xetway.cas.signing import TOKEN_LEEWAY_S, TOKEN_LIFE_S
from xetway.cas.store import ContentStore

DEFAULT_WINDOW_S = TOKEN_LIFE_S + TOKEN_LEEWAY_S
DEFAULT_GRACE_S = 30 * 24 * 3600

# Removes the repositories' unreachable objects and returns (repository id, raw hash) of the files still needed.
Prune = Callable[[sqlite3.Connection], set[tuple[int, bytes]]]


class GcReport(msgspec.Struct, frozen=True):
    """What was removed, or would be on a dry run. `waiting` xorbs are unreferenced and in their grace."""

    files_removed: int
    xorbs_removed: int
    bytes_removed: int
    xorbs_waiting: int
    bytes_waiting: int


class _DryRunError(Exception):
    """Rolls the transaction back."""


def run(
    store: ContentStore,
    prune: Prune,
    *,
    grace_s: int = DEFAULT_GRACE_S,
    window_s: int = DEFAULT_WINDOW_S,
    dry_run: bool = False,
) -> GcReport:
    """Collect once. Blocking; holds the write lock while it marks, so uploads wait that long."""
    now = store.now_s()
    reports: list[GcReport] = []
    try:
        with store.db.write() as tx:
            reports.append(_sweep(tx, prune, now, grace_s, window_s))
            _stop_if(dry_run)
    except _DryRunError:
        return reports[0]
    store.clean_leftovers()
    return reports[0]


def _stop_if(dry_run: bool) -> None:
    if dry_run:
        raise _DryRunError


def _sweep(tx: sqlite3.Connection, prune: Prune, now: int, grace_s: int, window_s: int) -> GcReport:
    live = prune(tx)
    idle_since = now - window_s
    links = tx.execute("SELECT repo_id, file FROM repo_files WHERE added_at <= ?", (idle_since,)).fetchall()
    tx.executemany(
        "DELETE FROM repo_files WHERE repo_id = ? AND file = ?",
        [link for link in map(tuple, links) if link not in live],
    )
    dead = tx.execute(
        "DELETE FROM files WHERE touched_at <= ? AND NOT EXISTS (SELECT 1 FROM repo_files WHERE file = hash) "
        "AND NOT EXISTS (SELECT 1 FROM blobs WHERE file = hash)",
        (idle_since,),
    ).rowcount
    unused = "NOT EXISTS (SELECT 1 FROM file_xorbs WHERE xorb = hash)"
    tx.execute(f"UPDATE xorbs SET unreferenced_at = ? WHERE unreferenced_at IS NULL AND {unused}", (now,))
    ripe = "unreferenced_at <= ? AND touched_at <= ?"
    removed = _count(tx, ripe, now - grace_s, idle_since)
    if tx.execute(f"DELETE FROM xorbs WHERE {ripe}", (now - grace_s, idle_since)).rowcount:
        advance(tx)
    waiting = _count(tx, "unreferenced_at IS NOT NULL")
    return GcReport(dead, *removed, *waiting)


def _count(tx: sqlite3.Connection, where: str, *values: int) -> tuple[int, int]:
    row = tx.execute(f"SELECT count(*), coalesce(sum(stored_bytes), 0) FROM xorbs WHERE {where}", values).fetchone()
    return row[0], row[1]
