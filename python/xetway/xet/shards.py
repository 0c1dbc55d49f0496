"""Shards: how files are made of chunks, and which chunks xorbs hold.

Source: draft-denis-xet-03, "Shard Format".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xetway import _native
from xetway._native import Hash
from xetway.xet.types import Shard, ShardChunk, ShardFile, ShardFooter, ShardXorb, Term
from xetway.xet.xorbs import row, u32s

if TYPE_CHECKING:
    from typing_extensions import Buffer

_TERM_BYTES = 48


def read_shard(data: Buffer) -> Shard:
    """Parse a shard in upload form, stored form, or as the answer to a deduplication query.

    Whether what it claims is true is not looked at.

    Raises:
        FormatError: what is wrong with it.
    """
    files, xorbs, footer = _native.parse_shard(data)
    return Shard(
        tuple(
            ShardFile(file, read_terms(terms), None if claims is None else _hashes(claims), sha256, flags)
            for file, terms, claims, sha256, flags in files
        ),
        tuple(_xorb(*fields) for fields in xorbs),
        None if footer is None else ShardFooter(*footer),
    )


def write_shard(shard: Shard, *, created_s: int | None = None, expiry_s: int = 0, key: Buffer | None = None) -> bytes:
    """Serialise files and xorbs in the order given. The `footer` of `shard` is not used.

    Args:
        shard: What to write. The flags that say which optional parts a file has are made to fit.
        created_s: Unix time; if given, the shard is in stored form, with a footer; else in upload form.
        expiry_s: Unix time until which `key` is good; 0 for always.
        key: 32 bytes that the chunk hashes are hashed with; needs `created_s`.

    Example:
        >>> from xetway import Shard, read_shard, write_shard
        >>> read_shard(write_shard(Shard(), created_s=1)).footer.created_s
        1
    """
    files = [
        (
            file.hash,
            write_terms(file.terms),
            None if file.verification is None else b"".join(map(bytes, file.verification)),
            file.sha256,
            file.flags,
        )
        for file in shard.files
    ]
    xorbs = [
        (
            xorb.hash,
            xorb.raw_bytes,
            xorb.disk_bytes,
            b"".join(bytes(chunk.hash) for chunk in xorb.chunks),
            row(chunk.raw_bytes for chunk in xorb.chunks),
            row(chunk.offset for chunk in xorb.chunks),
            row(chunk.flags for chunk in xorb.chunks),
            xorb.flags,
        )
        for xorb in shard.xorbs
    ]
    times = None if created_s is None else (created_s, expiry_s)
    return _native.serialise_shard(files, xorbs, times, key)


def read_terms(records: bytes) -> tuple[Term, ...]:
    """Unpack terms of 48 bytes each, as they stand in a shard."""
    terms = []
    for at in range(0, len(records), _TERM_BYTES):
        flags, raw_bytes, start, end = u32s(records[at + 32 : at + _TERM_BYTES])
        terms.append(Term(Hash.from_bytes(records[at : at + 32]), raw_bytes, start, end, flags))
    return tuple(terms)


def write_terms(terms: Iterable[Term]) -> bytes:
    """Pack terms into 48 bytes each, as they stand in a shard."""
    return b"".join(bytes(term.xorb) + row((term.flags, term.raw_bytes, term.start, term.end)) for term in terms)


def _hashes(raw: bytes) -> tuple[Hash, ...]:
    return tuple(Hash.from_bytes(raw[at : at + 32]) for at in range(0, len(raw), 32))


def _xorb(
    xorb: Hash, raw_bytes: int, disk_bytes: int, hashes: bytes, lengths: bytes, offsets: bytes, marks: bytes, flags: int
) -> ShardXorb:
    fields = zip(_hashes(hashes), u32s(lengths), u32s(offsets), u32s(marks), strict=True)
    return ShardXorb(xorb, raw_bytes, tuple(ShardChunk(*chunk) for chunk in fields), disk_bytes, flags)
