"""How clients should upload each file: as LFS, through the content store, or inline in the commit.

LFS is what the revision's .gitattributes says, what is larger than the database holds, and what looks binary. What
.gitignore names is not to be uploaded at all.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Literal

import msgspec

from xetway.hub.git import TreeEntry
from xetway.hub.names import check_path
from xetway.hub.objects import MAX_INLINE_BYTES, Blob, get_blobs, get_content
from xetway.hub.rules import IgnoreRules, LfsRules, Steps
from xetway.hub.trees import TreeReader

UploadMode = Literal["lfs", "regular"]


class FileToUpload(msgspec.Struct):
    """A file that a client is about to upload; `sample` is its beginning."""

    path: str
    size: int
    sample: bytes = b""


class UploadPlan(msgspec.Struct, rename="camel"):
    """How to upload it; `oid` names the content that the path has now, so that it can be skipped if it is the same."""

    path: str
    upload_mode: UploadMode
    should_ignore: bool
    oid: str | None


def _text(tx: sqlite3.Connection, trees: TreeReader, root: bytes, path: str) -> str:
    """The text of a small file; empty if there is none."""
    entry = trees.find(root, path)
    blob = get_blobs(tx, (entry.oid,)).get(entry.oid) if entry is not None else None
    return "" if blob is None or blob.file is not None else get_content(tx, blob).decode("utf-8", "replace")


def upload_mode(rules: LfsRules, file: FileToUpload, path: str) -> UploadMode:
    """Decide for one file that goes to a path. Empty files are regular: clients cannot upload them as LFS."""
    if file.size == 0:
        return "regular"
    binary = b"\0" in file.sample
    return "lfs" if file.size > MAX_INLINE_BYTES or binary or rules.matches(path) else "regular"


def plan_uploads(
    tx: sqlite3.Connection, tree: bytes, files: Iterable[FileToUpload], ignore: str | None = None
) -> list[UploadPlan]:
    """Decide for all files of a request.

    Args:
        tx: The transaction to read in.
        tree: The root tree of the revision that the files go on.
        files: The files.
        ignore: The .gitignore that is uploaded with them; None for the one that is there.

    Raises:
        RequestError: `bad_path` or `too_many_rules`.
    """
    paths = [(file, check_path(file.path)) for file in files]
    trees, steps = TreeReader(tx), Steps()
    lfs = LfsRules(_text(tx, trees, tree, ".gitattributes"), steps)
    ignored = IgnoreRules(_text(tx, trees, tree, ".gitignore") if ignore is None else ignore, steps)
    entries: dict[str, TreeEntry] = {}
    for _, path in paths:
        entry = trees.find(tree, path)
        if entry is not None and not entry.is_folder:
            entries[path] = entry
    blobs: dict[bytes, Blob] = get_blobs(tx, (entry.oid for entry in entries.values()))
    plans = []
    for file, path in paths:
        entry = entries.get(path)
        blob = blobs.get(entry.oid) if entry is not None else None
        oid = None if blob is None else blob.etag
        plans.append(UploadPlan(file.path, upload_mode(lfs, file, path), ignored.matches(path), oid))
    return plans
