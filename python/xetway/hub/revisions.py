"""Revisions: branches, tags, pull request heads, and what a client's word for one of them means.

A word is tried as a full ref (``refs/...``), a branch, a tag, a commit id, and the beginning of one. Words may
hold slashes. Commits of one repository are not found from another, even if they are stored.
"""

from __future__ import annotations

import sqlite3

import msgspec

from xetway.errors import ConflictError, ForbiddenError, NotFoundError, RequestError
from xetway.hub.names import check_ref_name, is_short_oid

HEADS = "refs/heads/"
TAGS = "refs/tags/"
PULLS = "refs/pr/"
MAIN = HEADS + "main"


class Ref(msgspec.Struct, frozen=True):
    """A name and the commit it points to. `message` is that of an annotated tag."""

    name: str
    oid: bytes
    message: str | None = None


def revision_not_found(revision: str) -> NotFoundError:
    """The error for a revision that the repository does not have."""
    shown = revision[:80].encode("unicode_escape").decode("ascii")
    return NotFoundError(
        f"the repository has no revision '{shown}'", code="revision_not_found", hub_code="RevisionNotFound"
    )


def get_ref(tx: sqlite3.Connection, repo_id: int, name: str) -> bytes | None:
    """Return the commit that a ref (full name) points to."""
    row = tx.execute("SELECT oid FROM refs WHERE repo_id = ? AND name = ?", (repo_id, name)).fetchone()
    return None if row is None else row[0]


def resolve(tx: sqlite3.Connection, repo_id: int, revision: str) -> bytes:
    """Return the id of the commit that a client's word means.

    Raises:
        NotFoundError: `revision_not_found`.
    """
    names = (revision,) if revision.startswith("refs/") else (HEADS + revision, TAGS + revision)
    for name in names:
        oid = get_ref(tx, repo_id, name)
        if oid is not None:
            return oid
    oid = _commit(tx, repo_id, revision)
    if oid is None:
        raise revision_not_found(revision)
    return oid


def _commit(tx: sqlite3.Connection, repo_id: int, word: str) -> bytes | None:
    """The only commit whose id begins with `word`."""
    if not is_short_oid(word):
        return None
    low, high = bytes.fromhex(word.ljust(40, "0")), bytes.fromhex(word.ljust(40, "f"))
    rows = tx.execute(
        "SELECT oid FROM commits WHERE repo_id = ? AND oid BETWEEN ? AND ? LIMIT 2", (repo_id, low, high)
    ).fetchall()
    return rows[0][0] if len(rows) == 1 else None


def resolve_writable(tx: sqlite3.Connection, repo_id: int, revision: str) -> Ref:
    """Return the branch or pull request that a commit can go on.

    Raises:
        NotFoundError: `revision_not_found`.
        RequestError: `not_a_branch` for a tag or a commit.
    """
    name = revision if revision.startswith("refs/") else HEADS + revision
    if name.startswith((HEADS, PULLS)):
        oid = get_ref(tx, repo_id, name)
        if oid is not None:
            return Ref(name, oid)
    resolve(tx, repo_id, revision)
    raise RequestError("a commit goes on a branch, not on a tag or a commit", code="not_a_branch")


def list_refs(tx: sqlite3.Connection, repo_id: int) -> list[Ref]:
    """Return all refs, by name."""
    rows = tx.execute("SELECT name, oid, message FROM refs WHERE repo_id = ? ORDER BY name", (repo_id,))
    return [Ref(row[0], row[1], row[2]) for row in rows]


def set_ref(tx: sqlite3.Connection, repo_id: int, name: str, oid: bytes, message: str | None = None) -> None:
    """Make a ref (full name) point to a commit."""
    tx.execute(
        "INSERT INTO refs (repo_id, name, oid, message) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (repo_id, name) DO UPDATE SET oid = excluded.oid, message = excluded.message",
        (repo_id, name, oid, message),
    )


def create_branch(tx: sqlite3.Connection, repo_id: int, branch: str, start: str, *, overwrite: bool = False) -> None:
    """Create a branch at a revision.

    Raises:
        RequestError: `bad_ref_name`.
        ConflictError: `branch_exists`.
        NotFoundError: `revision_not_found`.
    """
    name = HEADS + check_ref_name(branch)
    oid = resolve(tx, repo_id, start)
    if get_ref(tx, repo_id, name) is not None and not overwrite:
        raise ConflictError("the branch exists already", code="branch_exists")
    set_ref(tx, repo_id, name, oid)


def create_tag(tx: sqlite3.Connection, repo_id: int, tag: str, revision: str, message: str | None) -> None:
    """Tag a revision.

    Raises:
        RequestError: `bad_ref_name`.
        ConflictError: `tag_exists`.
        NotFoundError: `revision_not_found`.
    """
    name = TAGS + check_ref_name(tag)
    oid = resolve(tx, repo_id, revision)
    if get_ref(tx, repo_id, name) is not None:
        raise ConflictError("the tag exists already", code="tag_exists")
    set_ref(tx, repo_id, name, oid, message)


def delete_ref(tx: sqlite3.Connection, repo_id: int, prefix: str, word: str) -> None:
    """Delete the branch or tag called `word`; its commits stay until gc.

    Raises:
        ForbiddenError: `protected_branch` for main.
        NotFoundError: `revision_not_found`.
    """
    name = prefix + word.removeprefix(prefix)
    if name == MAIN:
        raise ForbiddenError("the main branch cannot be deleted", code="protected_branch")
    if not tx.execute("DELETE FROM refs WHERE repo_id = ? AND name = ?", (repo_id, name)).rowcount:
        raise revision_not_found(word)
