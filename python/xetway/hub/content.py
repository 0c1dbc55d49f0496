"""Files of repositories, found by name or hash and opened for reading. Every byte that comes out was verified."""

from __future__ import annotations

import sqlite3

import msgspec

from xetway._native import Hash
from xetway.cas.store import EMPTY_SHA256, ContentStore
from xetway.errors import NotFoundError, RequestError, StoreCorruptionError
from xetway.http.request import Request
from xetway.http.response import Piece, PieceReader, parts_of
from xetway.hub.git import object_id
from xetway.hub.history import get_commit
from xetway.hub.hub import Hub
from xetway.hub.names import RepoType, is_sha256, normalize_path
from xetway.hub.objects import Blob, get_blob, get_content
from xetway.hub.repos import Repo, get_repo
from xetway.hub.revisions import resolve
from xetway.hub.trees import entry_not_found, find_entry

# Nobody's secret, and never uploaded: clients commit empty files inline.
_EMPTY = Blob(object_id("blob", b""), 0, EMPTY_SHA256, is_lfs=False, file=None)
# Content in the content store, then small content: repository, xet hash, blob id, size, SHA-256, file.
_BY_HASH = """
    SELECT l.repo_id, f.hash, x'', f.size, f.sha256, f.hash FROM repo_files l JOIN files f ON f.hash = l.file
    WHERE l.file = :xet OR l.sha256 = :sha256
    UNION ALL
    SELECT l.repo_id, b.xet, b.oid, b.size, b.sha256, NULL FROM repo_blobs l JOIN blobs b USING (oid)
    WHERE b.data IS NOT NULL AND (b.xet = :xet OR b.sha256 = :sha256)
"""


class Located(msgspec.Struct, frozen=True):
    """A file at a revision. `commit` is 40 hex digits."""

    repo: Repo
    commit: str
    path: str
    blob: Blob

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.blob.size

    @property
    def etag(self) -> str:
        """What Hub clients name the content by: SHA-256 for LFS files, the git blob id for others."""
        return self.blob.etag

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, hex."""
        return self.blob.sha256.hex()

    @property
    def xet_hash(self) -> str | None:
        """The xet hash, for files that clients can fetch through the content store."""
        return xet_hash(self.blob)


def xet_hash(blob: Blob) -> str | None:
    """Return the xet hash (hex) of an LFS file, None for others."""
    return str(Hash.from_bytes(blob.file)) if blob.file is not None and blob.is_lfs else None


class BytesReader:
    """Bytes in memory, read as a stream of one piece."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_parts(self) -> Piece:
        """Return everything, then nothing."""
        data, self._data = self._data, b""
        return parts_of(data)


def locate(
    hub: Hub, request: Request, kind: RepoType, namespace: str | None, name: str, revision: str, path: str
) -> Located:
    """Find a file that the request may read.

    Raises:
        NotFoundError: with the Hub's code for a missing repository, revision or entry.
    """
    repo = hub.access.readable(request, kind, namespace, name)
    with hub.db.read() as tx:
        return locate_in(tx, repo, revision, path)


def locate_in(tx: sqlite3.Connection, repo: Repo, revision: str, path: str) -> Located:
    """Find a file of a repository; raises as `locate`."""
    commit = get_commit(tx, repo.id, resolve(tx, repo.id, revision))
    path = normalize_path(path)
    entry = find_entry(tx, commit.tree, path)
    if entry is None or entry.is_folder:
        raise entry_not_found(path, commit.oid.hex())
    return Located(repo, commit.oid.hex(), path, get_blob(tx, entry.oid))


def open_located(hub: Hub, located: Located, start: int, end: int) -> PieceReader:
    """Open content bytes [start, end). Blocking, as is reading.

    Raises:
        StoreCorruptionError: The stored bytes are damaged.
    """
    return open_blob(hub.store, located.blob, start, end)


def open_blob(store: ContentStore, blob: Blob, start: int, end: int) -> PieceReader:
    """Open bytes [start, end) of a blob's content; raises as `open_located`."""
    if blob.file is None:
        with store.db.read() as tx:
            return BytesReader(get_content(tx, blob)[start:end])
    file = store.file(Hash.from_bytes(blob.file))
    if file is None or file.size != blob.size:
        raise StoreCorruptionError(f"the content of the blob {blob.oid.hex()} is missing", expected=blob.oid.hex())
    return store.open(file, start, end)


class Named(msgspec.Struct, frozen=True):
    """Content found by its hash. `hash` is its xet hash."""

    hash: Hash
    blob: Blob


def readable_content(hub: Hub, request: Request, digest: str) -> Named:
    """Find content by xet hash or SHA-256 (hex) among the files of the repositories that the request may read.

    The empty file is everyone's.

    Raises:
        RequestError: `bad_hash`.
        NotFoundError: `file_not_found`.
    """
    digest = digest.lower()
    if not is_sha256(digest):
        raise RequestError("a hash is 64 hex digits", code="bad_hash")
    if digest in {str(Hash.ZERO), EMPTY_SHA256.hex()}:
        return Named(Hash.ZERO, _EMPTY)
    principal = hub.access.principal(request)
    with hub.db.read() as tx:
        for repo_id, *content in tx.execute(_BY_HASH, {"xet": bytes(Hash(digest)), "sha256": bytes.fromhex(digest)}):
            repo = get_repo(tx, repo_id)
            if repo is not None and hub.access.may_read(principal, repo):
                xet, oid, size, sha256, file = content
                return Named(Hash.from_bytes(xet), Blob(oid, size, sha256 or b"", is_lfs=False, file=file))
    raise NotFoundError("no file with this hash", code="file_not_found")
