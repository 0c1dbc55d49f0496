"""Xorbs: up to 8,192 chunks and 64 MiB of content in one object.

Source: draft-denis-xet-03, "Xorb Format"; limits of the deployed client.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xetway import _native
from xetway._native import Hash
from xetway.xet.types import Scheme, Xorb, XorbChunk

if TYPE_CHECKING:
    from typing_extensions import Buffer


def build_xorb(chunks: Iterable[Buffer], *, scheme: Scheme | None = None, footer: bool = True) -> tuple[bytes, Xorb]:
    """Serialise chunks into a xorb.

    Args:
        chunks: The raw bytes of each chunk, in order.
        scheme: What to try on every chunk; chosen for each if not given. A chunk that would not
            become smaller is stored as it is.
        footer: Whether to append the footer, which stored xorbs have and uploaded ones don't.

    Raises:
        FormatError: no chunks, an empty or too long one, or more than a xorb holds.

    Example:
        >>> from xetway import build_xorb, unpack_xorb
        >>> data, xorb = build_xorb([b"Hello World!"], footer=False)
        >>> len(data), unpack_xorb(data)[1]
        (20, b'Hello World!')
    """
    data, xorb, rows = _native.build_xorb(list(chunks), scheme, footer)
    return data, _xorb(xorb, rows)


def read_xorb(data: Buffer, expected: Hash | None = None) -> Xorb:
    """Verify a whole xorb, with a footer of version 0 or 1 or without one, and describe it.

    Every chunk is decoded and hashed.

    Raises:
        FormatError: what is wrong with it; IntegrityError if its hash is not `expected`.
    """
    xorb, rows, _ = _native.parse_xorb(data, expected)
    return _xorb(xorb, rows)


def unpack_xorb(data: Buffer, expected: Hash | None = None) -> tuple[Xorb, bytes]:
    """As `read_xorb`, and return the content too: at most 64 MiB."""
    xorb, rows, content = _native.parse_xorb(data, expected, content=True)
    return _xorb(xorb, rows), content or b""


def _xorb(xorb: Hash, rows: tuple[bytes, bytes, bytes]) -> Xorb:
    hashes, lengths, ends = rows
    chunks = []
    start = 0
    for index, (length, end) in enumerate(zip(u32s(lengths), u32s(ends), strict=True)):
        chunk = Hash.from_bytes(hashes[32 * index : 32 * index + 32])
        chunks.append(XorbChunk(chunk, length, start, end))
        start = end
    return Xorb(xorb, tuple(chunks))


def u32s(row: bytes) -> list[int]:
    """Unpack a row of little-endian 32-bit integers."""
    return [int.from_bytes(row[at : at + 4], "little") for at in range(0, len(row), 4)]


def row(values: Iterable[int]) -> bytes:
    """Pack a row of little-endian 32-bit integers."""
    return b"".join(value.to_bytes(4, "little") for value in values)
