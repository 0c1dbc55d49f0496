"""The values of the codec: immutable structs, with units in their names.

`start` and `end` are half-open, whether they count chunks or bytes.
"""

from __future__ import annotations

import enum

import msgspec

from xetway._native import Hash


class Scheme(enum.IntEnum):
    """How the payload of a chunk is encoded."""

    NONE = 0
    LZ4 = 1
    BYTE_GROUPING_LZ4 = 2


class FileHash(msgspec.Struct, frozen=True):
    """The Xet hash of a file, in text form, and its size in bytes."""

    hash: str
    size: int


class Chunk(msgspec.Struct, frozen=True):
    """A chunk by its hash and the length of its raw bytes."""

    hash: Hash
    raw_bytes: int


class XorbChunk(msgspec.Struct, frozen=True):
    """A chunk of a xorb; its serialized form, header included, is bytes [start, end) of the xorb."""

    hash: Hash
    raw_bytes: int
    start: int
    end: int


class Xorb(msgspec.Struct, frozen=True):
    """A xorb without its content."""

    hash: Hash
    chunks: tuple[XorbChunk, ...]

    @property
    def raw_bytes(self) -> int:
        """Length of the content."""
        return sum(chunk.raw_bytes for chunk in self.chunks)

    @property
    def stored_bytes(self) -> int:
        """Length of the serialized chunks, without a footer."""
        return self.chunks[-1].end if self.chunks else 0


class Term(msgspec.Struct, frozen=True):
    """Chunks [start, end) of a xorb, as a part of a file; together they have `raw_bytes`."""

    xorb: Hash
    raw_bytes: int
    start: int
    end: int
    flags: int = 0


class ShardFile(msgspec.Struct, frozen=True):
    """A file as a shard describes it. `sha256` is in its usual byte order."""

    hash: Hash
    terms: tuple[Term, ...]
    verification: tuple[Hash, ...] | None = None
    sha256: bytes | None = None
    flags: int = 0

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return sum(term.raw_bytes for term in self.terms)


class ShardChunk(msgspec.Struct, frozen=True):
    """A chunk as a shard describes it; `offset` counts raw bytes from the start of the xorb."""

    hash: Hash
    raw_bytes: int
    offset: int
    flags: int = 0


class ShardXorb(msgspec.Struct, frozen=True):
    """A xorb as a shard describes it; clients leave `disk_bytes` zero."""

    hash: Hash
    raw_bytes: int
    chunks: tuple[ShardChunk, ...]
    disk_bytes: int = 0
    flags: int = 0


class ShardFooter(msgspec.Struct, frozen=True):
    """The footer of a shard; a `key` of zeros means that chunk hashes are plain."""

    key: bytes
    created_s: int
    expiry_s: int
    disk_bytes: int
    materialized_bytes: int
    stored_bytes: int


class Shard(msgspec.Struct, frozen=True):
    """Files and xorbs, in the order of the shard."""

    files: tuple[ShardFile, ...] = ()
    xorbs: tuple[ShardXorb, ...] = ()
    footer: ShardFooter | None = None
