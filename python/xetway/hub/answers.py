"""The JSON that Hub clients read, as types, and how it is made from what is stored."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from xetway.errors import StoreCorruptionError
from xetway.http.request import Request
from xetway.hub.content import xet_hash
from xetway.hub.git import TreeEntry, pointer
from xetway.hub.history import Commit
from xetway.hub.objects import Blob, get_blobs
from xetway.hub.repos import Repo


class LfsInfo(msgspec.Struct, frozen=True, rename="camel"):
    """An LFS file in a tree listing; `oid` is the SHA-256."""

    oid: str
    size: int
    pointer_size: int


class LastCommit(msgspec.Struct, frozen=True):
    """The commit that last changed a path."""

    id: str
    title: str
    date: str


class PathInfo(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """A file or directory in a tree listing."""

    type: str
    oid: str
    size: int
    path: str
    lfs: LfsInfo | None = None
    xet_hash: str | None = None
    last_commit: LastCommit | None = None


class CommitInfo(msgspec.Struct, frozen=True):
    """A commit in a list of commits."""

    id: str
    title: str
    message: str
    authors: list[dict[str, str]]
    date: str


class RefInfo(msgspec.Struct, frozen=True, rename="camel"):
    """A branch, tag or pull request."""

    name: str
    ref: str
    target_commit: str


def iso_date(seconds: int) -> str:
    """Format unix seconds the way clients parse dates."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def commit_info(commit: Commit) -> CommitInfo:
    """Describe a commit."""
    return CommitInfo(commit.oid.hex(), commit.title, commit.message, [{"user": commit.author}], iso_date(commit.date))


def _pointer_bytes(blob: Blob) -> int:
    return len(pointer(blob.sha256, blob.size))


def path_infos(
    tx: sqlite3.Connection, found: Iterable[tuple[str, TreeEntry]], last: dict[str, Commit] | None = None
) -> list[PathInfo]:
    """Describe paths; `last` adds the commit that last changed each."""
    found = list(found)
    blobs = get_blobs(tx, (entry.oid for _, entry in found if not entry.is_folder))
    return [_path_info(path, entry, blobs, (last or {}).get(path)) for path, entry in found]


def _path_info(path: str, entry: TreeEntry, blobs: dict[bytes, Blob], commit: Commit | None) -> PathInfo:
    last = None if commit is None else LastCommit(commit.oid.hex(), commit.title, iso_date(commit.date))
    if entry.is_folder:
        return PathInfo("directory", entry.oid.hex(), 0, path, last_commit=last)
    blob = blobs.get(entry.oid)
    if blob is None:
        raise StoreCorruptionError(f"the blob {entry.oid.hex()} is missing", expected=entry.oid.hex())
    lfs = LfsInfo(blob.sha256.hex(), blob.size, _pointer_bytes(blob)) if blob.is_lfs else None
    return PathInfo("file", blob.oid.hex(), blob.size, path, lfs, xet_hash(blob), last)


def sibling(path: str, blob: Blob | None) -> dict[str, Any]:
    """Describe a file in a repository's info; with a blob, its size and ids too."""
    value: dict[str, Any] = {"rfilename": path}
    if blob is not None:
        value |= {"size": blob.size, "blobId": blob.oid.hex()}
        if blob.is_lfs:
            value["lfs"] = {"sha256": blob.sha256.hex(), "size": blob.size, "pointerSize": _pointer_bytes(blob)}
    return value


def repo_info(repo: Repo) -> dict[str, Any]:
    """Describe a repository without its revision and files."""
    value: dict[str, Any] = {
        "_id": f"{repo.id:024x}",
        "id": repo.full_name,
        "author": repo.namespace,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "tags": [],
        "downloads": 0,
        "likes": 0,
        "createdAt": iso_date(repo.created_at),
        "lastModified": iso_date(repo.updated_at),
    }
    if repo.type == "model":
        value["modelId"] = repo.full_name
    if repo.sdk is not None:
        value["sdk"] = repo.sdk
    return value


def next_link(request: Request, **changes: str) -> tuple[str, str]:
    """Return the header that leads to the next page: this request's own address with changed query fields."""
    fields = [(name, value) for name, values in request.query.items() if name not in changes for value in values]
    path = quote(request.raw_path, safe="/%:@!$&'()*+,;=~-._")
    return "link", f'<{request.base_url}{path}?{urlencode([*fields, *changes.items()])}>; rel="next"'


def is_true(value: str | None) -> bool:
    """Whether a query or form field says yes: ``true``, ``True``, ``1``."""
    return value is not None and value.lower() in {"true", "1", "yes", "on"}
