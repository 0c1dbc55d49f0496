"""Repositories: found, listed, created, moved, deleted. Rights are decided in `access`, history elsewhere."""

from __future__ import annotations

import sqlite3

import msgspec

from xetway.errors import ConflictError, NotFoundError
from xetway.hub.git import FILE_MODE, TreeEntry
from xetway.hub.history import add_commit
from xetway.hub.names import PREFIXES, RepoType, check_repo_name
from xetway.hub.objects import put_content, put_tree
from xetway.hub.revisions import MAIN, set_ref

_COLUMNS = "id, type, namespace, name, private, sdk, created_at, updated_at"

# Which files clients should store as LFS, the way the Hub's own new repositories say it.
_LFS_PATTERNS = (
    *("*.7z", "*.arrow", "*.bin", "*.bz2", "*.ckpt", "*.ftz", "*.gguf", "*.gz", "*.h5", "*.joblib", "*.lfs.*"),
    *("*.mlmodel", "*.model", "*.msgpack", "*.npy", "*.npz", "*.onnx", "*.ot", "*.parquet", "*.pb", "*.pickle"),
    *("*.pkl", "*.pt", "*.pth", "*.rar", "*.safetensors", "saved_model/**/*", "*.tar.*", "*.tar", "*.tflite"),
    *("*.tgz", "*.wasm", "*.xz", "*.zip", "*.zst", "*tfevents*"),
)
ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in _LFS_PATTERNS).encode("ascii")


class Repo(msgspec.Struct, frozen=True):
    """A repository. `type`, `namespace` and `name` are as it was created; times in unix seconds."""

    id: int
    type: RepoType
    namespace: str
    name: str
    private: bool
    sdk: str | None
    created_at: int
    updated_at: int

    @property
    def full_name(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def page(self) -> str:
        """The path of its page and files: ``namespace/name`` after the prefix of its type, without slashes around."""
        return f"{PREFIXES[self.type]}{self.full_name}"


def repo_not_found(*, bad_token: bool = False) -> NotFoundError:
    """The one answer for what is missing and what is hidden; it may add that the request's token means nothing."""
    remedy = (
        "the token of this request is unknown here, revoked or expired"
        if bad_token
        else "if it is private, a token that can read it is needed"
    )
    return NotFoundError(
        f"no such repository; {remedy}",
        code="repo_not_found",
        hub_code="RepoNotFound",
    )


def _repo(row: sqlite3.Row | None) -> Repo | None:
    return None if row is None else Repo(row[0], row[1], row[2], row[3], bool(row[4]), row[5], row[6], row[7])


def find_repo(tx: sqlite3.Connection, kind: RepoType, namespace: str, name: str) -> Repo | None:
    """Look a repository up by its name, any case, or by one it had before it was moved."""
    found = _repo(
        tx.execute(
            f"SELECT {_COLUMNS} FROM repos WHERE type = ? AND namespace = ? AND name = ?", (kind, namespace, name)
        ).fetchone()
    )
    if found is not None:
        return found
    alias = tx.execute(
        "SELECT repo_id FROM repo_aliases WHERE type = ? AND namespace = ? AND name = ?", (kind, namespace, name)
    ).fetchone()
    return None if alias is None else get_repo(tx, alias[0])


def get_repo(tx: sqlite3.Connection, repo_id: int) -> Repo | None:
    """Look a repository up by its number."""
    return _repo(tx.execute(f"SELECT {_COLUMNS} FROM repos WHERE id = ?", (repo_id,)).fetchone())


def still(tx: sqlite3.Connection, repo: Repo) -> Repo:
    """Look a repository up again, first thing in each transaction that changes it.

    What a request may do was decided earlier, for the name and the visibility that the repository had then.

    Raises:
        NotFoundError: `repo_not_found`: it was deleted since.
        ConflictError: `repo_changed`: it was moved, hidden or shown since.
    """
    now = get_repo(tx, repo.id)
    if now is None:
        raise repo_not_found()
    if (now.full_name, now.private) != (repo.full_name, repo.private):
        raise ConflictError("the repository was moved, hidden or shown meanwhile; try again", code="repo_changed")
    return now


def list_repos(
    tx: sqlite3.Connection, kind: RepoType, *, search: str | None, author: str | None, before: int | None, limit: int
) -> list[Repo]:
    """Return repositories, newest first, those with an id under `before`; private ones included."""
    where: list[str] = ["type = ?"]
    values: list[str] = [kind]
    if search:
        where.append("instr(lower(namespace || '/' || name), lower(?)) > 0")
        values.append(search)
    if author:
        where.append("namespace = ?")
        values.append(author)
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM repos WHERE {' AND '.join(where)} AND id < ? ORDER BY id DESC LIMIT ?",
        (*values, (1 << 62) if before is None else before, limit),
    )
    return [repo for row in rows if (repo := _repo(row)) is not None]


def create_repo(
    tx: sqlite3.Connection,
    kind: RepoType,
    namespace: str,
    name: str,
    *,
    user: str,
    private: bool,
    sdk: str | None,
    now_s: int,
) -> Repo:
    """Create a repository with a first commit, which holds a .gitattributes.

    Raises:
        RequestError: `bad_repo_name`.
        ConflictError: `repo_exists`.
    """
    repo = _new_repo(tx, kind, namespace, name, user=user, private=private, sdk=sdk, now_s=now_s)
    tree = put_tree(tx, [TreeEntry(".gitattributes", FILE_MODE, put_content(tx, repo.id, ATTRIBUTES))])
    commit = add_commit(
        tx, repo.id, tree=tree, parent=None, title="initial commit", message="", author=user, date=now_s
    )
    set_ref(tx, repo.id, MAIN, commit)
    return repo


def duplicate_repo(
    tx: sqlite3.Connection, source: Repo, namespace: str, name: str, *, user: str, private: bool, now_s: int
) -> Repo:
    """Create a repository with all branches, tags, history and files of another.

    Raises:
        RequestError: `bad_repo_name`.
        ConflictError: `repo_exists`, or as `still`, as is NotFoundError.
    """
    source = still(tx, source)
    repo = _new_repo(tx, source.type, namespace, name, user=user, private=private, sdk=source.sdk, now_s=now_s)
    for table, columns in (
        ("commits", "oid, tree, parent, title, message, author, date"),
        ("refs", "name, oid, message"),
        ("repo_files", "file, sha256, added_at"),
        ("repo_blobs", "oid"),
    ):
        where = " AND name NOT LIKE 'refs/pr/%'" if table == "refs" else ""
        tx.execute(
            f"INSERT INTO {table} (repo_id, {columns}) SELECT ?, {columns} FROM {table} WHERE repo_id = ?{where}",
            (repo.id, source.id),
        )
    return repo


def _new_repo(
    tx: sqlite3.Connection,
    kind: RepoType,
    namespace: str,
    name: str,
    *,
    user: str,
    private: bool,
    sdk: str | None,
    now_s: int,
) -> Repo:
    check_repo_name(namespace, name)
    values = (kind, namespace, name)
    taken = tx.execute("SELECT 1 FROM repos WHERE type = ? AND namespace = ? AND name = ?", values).fetchone()
    if taken is not None:
        raise _exists()
    tx.execute("DELETE FROM repo_aliases WHERE type = ? AND namespace = ? AND name = ?", values)
    repo_id = tx.execute(
        "INSERT INTO repos (type, namespace, name, private, sdk, created_by, created_at, updated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, private, sdk, user, now_s, now_s),
    ).lastrowid
    assert repo_id is not None
    return Repo(repo_id, kind, namespace, name, private, sdk, now_s, now_s)


def used_bytes(tx: sqlite3.Connection, repo_id: int) -> int:
    """Return the size of all large files a repository may use, old revisions included, each counted once."""
    used: int = tx.execute(
        "SELECT coalesce(sum(size), 0) FROM repo_files JOIN files ON hash = file WHERE repo_id = ?", (repo_id,)
    ).fetchone()[0]
    return used


def delete_repo(tx: sqlite3.Connection, repo: Repo) -> None:
    """Delete a repository with its history; raises as `still`. Content nobody else needs goes with the next gc."""
    still(tx, repo)
    tx.execute("DELETE FROM repos WHERE id = ?", (repo.id,))


def move_repo(tx: sqlite3.Connection, repo: Repo, namespace: str, name: str) -> Repo:
    """Rename a repository; its old name keeps working until someone takes it.

    Raises:
        RequestError: `bad_repo_name`.
        ConflictError: `repo_exists`, or as `still`, as is NotFoundError.
    """
    still(tx, repo)
    check_repo_name(namespace, name)
    other = tx.execute(
        "SELECT id FROM repos WHERE type = ? AND namespace = ? AND name = ? AND id <> ?",
        (repo.type, namespace, name, repo.id),
    ).fetchone()
    if other is not None:
        raise _exists()
    tx.execute("DELETE FROM repo_aliases WHERE type = ? AND namespace = ? AND name = ?", (repo.type, namespace, name))
    tx.execute("UPDATE repos SET namespace = ?, name = ? WHERE id = ?", (namespace, name, repo.id))
    if (namespace.lower(), name.lower()) != (repo.namespace.lower(), repo.name.lower()):
        tx.execute(
            "INSERT OR REPLACE INTO repo_aliases (type, namespace, name, repo_id) VALUES (?, ?, ?, ?)",
            (repo.type, repo.namespace, repo.name, repo.id),
        )
    moved = get_repo(tx, repo.id)
    assert moved is not None
    return moved


def set_private(tx: sqlite3.Connection, repo: Repo, *, private: bool) -> None:
    """Hide a repository from everyone without a token for it, or show it; raises as `still`."""
    still(tx, repo)
    tx.execute("UPDATE repos SET private = ? WHERE id = ?", (private, repo.id))


def touch_repo(tx: sqlite3.Connection, repo_id: int, now_s: int) -> None:
    """Note that a repository has changed."""
    tx.execute("UPDATE repos SET updated_at = ? WHERE id = ?", (now_s, repo_id))


def _exists() -> ConflictError:
    return ConflictError("a repository of this name exists already", code="repo_exists")
