"""Pull requests and discussions: as much as uploads with ``create_pr`` need. They are opened and read, not merged."""

from __future__ import annotations

import sqlite3

import msgspec

from xetway.errors import NotFoundError
from xetway.hub.revisions import PULLS, set_ref


class Pull(msgspec.Struct, frozen=True):
    """A pull request, or a discussion if `is_pull` is false."""

    num: int
    is_pull: bool
    title: str
    description: str
    author: str
    created_at: int


_COLUMNS = "num, is_pull, title, description, author, created_at"


def open_pull(
    tx: sqlite3.Connection, repo_id: int, *, title: str, description: str, author: str, now_s: int, head: bytes | None
) -> int:
    """Open a pull request whose ``refs/pr/N`` points to `head`, or a discussion if that is None; returns N."""
    number: int = tx.execute(
        "UPDATE repos SET next_pull = next_pull + 1 WHERE id = ? RETURNING next_pull - 1", (repo_id,)
    ).fetchall()[0][0]
    tx.execute(
        f"INSERT INTO pulls (repo_id, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (repo_id, number, head is not None, title, description, author, now_s),
    )
    if head is not None:
        set_ref(tx, repo_id, f"{PULLS}{number}", head)
    return number


def _pull(row: sqlite3.Row) -> Pull:
    return Pull(row[0], bool(row[1]), *row[2:])


def get_pull(tx: sqlite3.Connection, repo_id: int, number: int) -> Pull:
    """Return a pull request.

    Raises:
        NotFoundError: `discussion_not_found`.
    """
    row = tx.execute(f"SELECT {_COLUMNS} FROM pulls WHERE repo_id = ? AND num = ?", (repo_id, number)).fetchone()
    if row is None:
        raise NotFoundError("no such pull request", code="discussion_not_found")
    return _pull(row)


def list_pulls(tx: sqlite3.Connection, repo_id: int) -> list[Pull]:
    """Return all pull requests, newest first."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM pulls WHERE repo_id = ? ORDER BY num DESC", (repo_id,))
    return [_pull(row) for row in rows]
