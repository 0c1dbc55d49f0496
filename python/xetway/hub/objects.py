"""Git objects in the database: trees and commits whole, blobs with where their content is.

All functions work inside the caller's transaction. Trees and small content are checked against their id
whenever they are read.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable

import msgspec

from xetway.errors import ConflictError, StoreCorruptionError
from xetway.hub.git import EMPTY_TREE, Kind, TreeEntry, encode_tree, object_id, parse_tree, pointer
from xetway.xet.hashing import file_hash, hash_chunks

# Larger content goes to the content store.
MAX_INLINE_BYTES = 1024 * 1024
_IDS_PER_QUERY = 500


class Blob(msgspec.Struct, frozen=True):
    """A file's content as git sees it. For LFS, `oid` is the pointer's; `size` and `sha256` are the content's.

    `file` is the raw xet hash of content that is in the content store, None for content in the database.
    """

    oid: bytes
    size: int
    sha256: bytes
    is_lfs: bool
    file: bytes | None

    @property
    def etag(self) -> str:
        """What clients name the content by: SHA-256 for LFS files, the git blob id otherwise."""
        return self.sha256.hex() if self.is_lfs else self.oid.hex()


def put_object(tx: sqlite3.Connection, kind: Kind, data: bytes) -> bytes:
    """Store a tree or commit and return its id."""
    oid = object_id(kind, data)
    tx.execute("INSERT OR IGNORE INTO git_objects (oid, kind, data) VALUES (?, ?, ?)", (oid, kind, data))
    return oid


def put_tree(tx: sqlite3.Connection, entries: Iterable[TreeEntry]) -> bytes:
    """Store a tree and return its id."""
    return put_object(tx, "tree", encode_tree(entries))


def get_object(tx: sqlite3.Connection, kind: Kind, oid: bytes) -> bytes:
    """Return the bytes of a tree or commit.

    Raises:
        StoreCorruptionError: It is missing, or its bytes do not have its id.
    """
    row = tx.execute("SELECT data FROM git_objects WHERE oid = ? AND kind = ?", (oid, kind)).fetchone()
    if row is None and oid == EMPTY_TREE:
        return b""
    if row is None or object_id(kind, row[0]) != oid:
        raise StoreCorruptionError(f"the {kind} {oid.hex()} is missing or damaged", expected=oid.hex())
    data: bytes = row[0]
    return data


def get_tree(tx: sqlite3.Connection, oid: bytes) -> list[TreeEntry]:
    """Return the entries of a tree, in git's order; raises as `get_object`."""
    return parse_tree(get_object(tx, "tree", oid))


def get_blobs(tx: sqlite3.Connection, oids: Iterable[bytes]) -> dict[bytes, Blob]:
    """Look blobs up; those not known are left out."""
    wanted = list(dict.fromkeys(oids))
    found: dict[bytes, Blob] = {}
    for start in range(0, len(wanted), _IDS_PER_QUERY):
        part = wanted[start : start + _IDS_PER_QUERY]
        marks = ", ".join("?" * len(part))
        for row in tx.execute(f"SELECT oid, size, sha256, is_lfs, file FROM blobs WHERE oid IN ({marks})", part):
            found[row[0]] = Blob(row[0], row[1], row[2], bool(row[3]), row[4])
    return found


def get_blob(tx: sqlite3.Connection, oid: bytes) -> Blob:
    """Return a blob that a tree names.

    Raises:
        StoreCorruptionError: It is missing.
    """
    blob = get_blobs(tx, (oid,)).get(oid)
    if blob is None:
        raise StoreCorruptionError(f"the blob {oid.hex()} is missing", expected=oid.hex())
    return blob


def get_content(tx: sqlite3.Connection, blob: Blob) -> bytes:
    """Return content that is in the database, checked against the blob's id.

    Raises:
        StoreCorruptionError: The bytes do not have that id.
    """
    data: bytes = tx.execute("SELECT data FROM blobs WHERE oid = ?", (blob.oid,)).fetchone()[0]
    if object_id("blob", data) != blob.oid:
        raise StoreCorruptionError(f"the blob {blob.oid.hex()} is damaged", expected=blob.oid.hex())
    return data


def put_content(tx: sqlite3.Connection, repo_id: int, data: bytes) -> bytes:
    """Store small content for a repository and return the id of its blob."""
    blob = Blob(object_id("blob", data), len(data), hashlib.sha256(data).digest(), is_lfs=False, file=None)
    _put_blob(tx, blob, data)
    tx.execute("INSERT OR IGNORE INTO repo_blobs (repo_id, oid) VALUES (?, ?)", (repo_id, blob.oid))
    return blob.oid


def put_large(tx: sqlite3.Connection, oid: bytes, size: int, sha256: bytes, file: bytes) -> Blob:
    """Record a blob whose content is in the content store as `file`; returns what is recorded."""
    return _put_blob(tx, Blob(oid, size, sha256, is_lfs=False, file=file), None)


def put_lfs(tx: sqlite3.Connection, size: int, sha256: bytes, file: bytes) -> Blob:
    """Record the blob of an LFS file; returns what is recorded.

    Its `file` may differ from the one given: the same content cut into other chunks by another client.
    """
    oid = object_id("blob", pointer(sha256, size))
    return _put_blob(tx, Blob(oid, size, sha256, is_lfs=True, file=file), None)


def _put_blob(tx: sqlite3.Connection, blob: Blob, data: bytes | None) -> Blob:
    known = get_blobs(tx, (blob.oid,)).get(blob.oid)
    if known is None:
        xet = None if data is None else bytes(file_hash(hash_chunks(data)))
        tx.execute(
            "INSERT INTO blobs (oid, size, sha256, is_lfs, data, file, xet) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (blob.oid, blob.size, blob.sha256, blob.is_lfs, data, blob.file, xet),
        )
        return blob
    # Two contents with one SHA-1 can be made on purpose; the second must not turn into the first.
    if (known.sha256, known.is_lfs) != (blob.sha256, blob.is_lfs):
        raise ConflictError(
            f"other content with the git id {blob.oid.hex()} is stored already", code="object_id_collision"
        )
    return known
