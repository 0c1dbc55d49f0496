"""Commits applied: the changes of one request become trees, a commit and a moved ref, in one transaction."""

from __future__ import annotations

import sqlite3

import msgspec

from xetway.cas.store import ContentStore
from xetway.errors import RequestError
from xetway.hub.history import add_commit, get_commit
from xetway.hub.objects import put_content, put_large, put_lfs
from xetway.hub.payload import Change, Payload, PutContent, PutLarge, PutLfs, Remove
from xetway.hub.pulls import open_pull
from xetway.hub.repos import Repo, still, touch_repo
from xetway.hub.revisions import Ref, resolve, resolve_writable, set_ref
from xetway.hub.trees import TreeEditor


class Committed(msgspec.Struct, frozen=True):
    """What a commit led to: the commit a branch points to now, and the number of the pull request if one was opened."""

    oid: bytes
    pull: int | None


def apply_commit(
    store: ContentStore, repo: Repo, revision: str, payload: Payload, *, user: str, create_pull: bool
) -> Committed:
    """Apply a complete payload to a branch, or to a new pull request based on a revision.

    A payload that changes nothing makes no commit; the answer is the present head, as the Hub does.

    Raises:
        NotFoundError: The branch, or a path to delete, does not exist, or the repository is gone.
        ConflictError: `repo_changed`.
        RequestError: `not_a_branch`, `path_conflict`, `too_many_folders`, `lfs_object_missing`, `lfs_size_mismatch`,
            or `parent_commit_changed` (412). Nothing was changed.
    """
    header = payload.header
    now = store.now_s()
    with store.db.write() as tx:
        still(tx, repo)
        target = _target(tx, repo, revision, header.parent_commit, create_pull=create_pull)
        base = get_commit(tx, repo.id, target.oid)
        editor = TreeEditor(tx, base.tree)
        for change in payload.changes:
            _apply(tx, store, repo.id, editor, change, payload)
        tree = editor.write()
        title, description = _message(header.summary, header.description)
        head = target.oid
        if tree != base.tree:
            head = add_commit(
                tx, repo.id, tree=tree, parent=base.oid, title=title, message=description, author=user, date=now
            )
        if create_pull:
            number = open_pull(tx, repo.id, title=title, description=description, author=user, now_s=now, head=head)
            return Committed(head, number)
        if head != target.oid:
            set_ref(tx, repo.id, target.name, head)
            touch_repo(tx, repo.id, now)
    return Committed(head, None)


def _target(tx: sqlite3.Connection, repo: Repo, revision: str, parent: str | None, *, create_pull: bool) -> Ref:
    """The ref to move, at the commit to build on. A pull request builds on `parent` if one is given."""
    if create_pull:
        return Ref("", resolve(tx, repo.id, parent or revision))
    target = resolve_writable(tx, repo.id, revision)
    if parent is not None and resolve(tx, repo.id, parent) != target.oid:
        raise RequestError(
            f"the branch has moved on to {target.oid.hex()}; refresh and try again",
            code="parent_commit_changed",
            status=412,
        )
    return target


def _apply(
    tx: sqlite3.Connection, store: ContentStore, repo_id: int, editor: TreeEditor, change: Change, payload: Payload
) -> None:
    if isinstance(change, Remove):
        editor.remove(change.path, folder=change.folder)
    elif isinstance(change, PutContent):
        editor.put(change.path, put_content(tx, repo_id, payload.content(change)))
    elif isinstance(change, PutLarge):
        blob = put_large(tx, change.oid, change.file.size, change.sha256, bytes(change.file.hash))
        _link(tx, repo_id, blob.file, blob.sha256, store.now_s())
        editor.put(change.path, blob.oid)
    else:
        editor.put(change.path, _put_lfs(tx, store, repo_id, change))


def _put_lfs(tx: sqlite3.Connection, store: ContentStore, repo_id: int, change: PutLfs) -> bytes:
    file = store.file_by_sha256(repo_id, change.sha256)
    if file is None:
        raise RequestError(
            f"the content of '{change.path}' ({change.sha256.hex()}) was not uploaded to this repository",
            code="lfs_object_missing",
        )
    if change.size is not None and change.size != file.size:
        raise RequestError(
            f"'{change.path}' has {file.size} bytes, not the {change.size} claimed for it", code="lfs_size_mismatch"
        )
    blob = put_lfs(tx, file.size, change.sha256, bytes(file.hash))
    _link(tx, repo_id, blob.file, blob.sha256, store.now_s())
    return blob.oid


def _link(tx: sqlite3.Connection, repo_id: int, file: bytes | None, sha256: bytes, now_s: int) -> None:
    """Let the repository use a file whose content it has proved to have.

    The blob may have been recorded by another repository, from a file with the same content in other chunks.
    """
    tx.execute(
        "INSERT OR IGNORE INTO repo_files (repo_id, file, sha256, added_at) VALUES (?, ?, ?, ?)",
        (repo_id, file, sha256, now_s),
    )


def _message(summary: str, description: str | None) -> tuple[str, str]:
    """Title and body: the title is the first line of the summary, what follows it goes before the description."""
    title, _, more = summary.strip().replace("\r\n", "\n").partition("\n")
    body = "\n\n".join(part.strip() for part in (more, description or "") if part.strip())
    return title.strip(), body.replace("\r\n", "\n")


def squash(tx: sqlite3.Connection, repo: Repo, branch: str, message: str, *, user: str, now_s: int) -> bytes:
    """Replace a branch's history by one commit with its present content; returns that commit.

    The former commits stay until gc, unless another ref leads to them. Raises as `still`, too.
    """
    still(tx, repo)
    target = resolve_writable(tx, repo.id, branch)
    tree = get_commit(tx, repo.id, target.oid).tree
    title, body = _message(message or "Squash", None)
    oid = add_commit(tx, repo.id, tree=tree, parent=None, title=title, message=body, author=user, date=now_s)
    set_ref(tx, repo.id, target.name, oid)
    touch_repo(tx, repo.id, now_s)
    return oid
