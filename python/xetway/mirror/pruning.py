"""What the mirror's database forgets, so that its tables stay bounded: all of it can be asked for again.

Answers are bounded by what they take, the least recently used go first. Rows about repositories and files go when the
upstream was not asked about their repository for 90 days, and the oldest when there are more than a million in a table.
Anything goes only when the upstream told something new, so nothing goes while the mirror is offline.
"""

from __future__ import annotations

import sqlite3

MAX_ANSWER_BYTES = 1024 * 1024 * 1024
MAX_ROWS = 1_000_000
MAX_AGE_S = 90 * 24 * 3600
_BATCH = 200
# What an answer takes besides its body, generously: small ones are bounded in number.
_ROW_BYTES = 2048
_OLD = (
    "({0}.checked_at <= ? OR "
    "({0}.checked_at < ? AND {0}.repo NOT IN (SELECT repo FROM repos AS used WHERE used.checked_at >= ?)))"
)


def prune_answers(tx: sqlite3.Connection) -> None:
    """Drop the answers that were not used for the longest time, if they take too much."""
    kept_bytes = tx.execute("SELECT coalesce(sum(length(body) + ?), 0) FROM answers", (_ROW_BYTES,)).fetchone()[0]
    while kept_bytes > MAX_ANSWER_BYTES:
        oldest = tx.execute("SELECT key, length(body) FROM answers ORDER BY used_at LIMIT ?", (_BATCH,)).fetchall()
        for key, size in oldest:
            tx.execute("DELETE FROM answers WHERE key = ?", (key,))
            kept_bytes -= size + _ROW_BYTES


def prune_rows(tx: sqlite3.Connection, now_s: int) -> None:
    """Drop what is old, or too much, from the other tables; takes about a second for a million rows."""
    oldest = now_s - MAX_AGE_S
    for table in ("files", "refs", "grants", "repos"):
        old, limits = _OLD.format(table), (_surplus(tx, table), oldest, oldest)
        if table == "files":
            # A commit of which a file is forgotten is no longer known whole.
            of_commit = (
                "SELECT 1 FROM files WHERE files.audience = listed.audience AND files.repo = listed.repo AND "
                "files.commit_id = listed.commit_id"
            )
            tx.execute(f"DELETE FROM listed WHERE NOT EXISTS ({of_commit}) OR EXISTS ({of_commit} AND {old})", limits)
        tx.execute(f"DELETE FROM {table} WHERE {old}", limits)


def _surplus(tx: sqlite3.Connection, table: str) -> int:
    """The time up to which rows are too many; -1 if none are."""
    row = tx.execute(
        f"SELECT checked_at FROM {table} ORDER BY checked_at DESC LIMIT 1 OFFSET ?", (MAX_ROWS,)
    ).fetchone()
    return -1 if row is None else row[0]
