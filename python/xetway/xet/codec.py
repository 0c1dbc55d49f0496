"""Compression of single chunks.

Source: draft-denis-xet-03, "Compression Schemes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xetway import _native
from xetway.xet.types import Scheme

if TYPE_CHECKING:
    from typing_extensions import Buffer


def compress(data: Buffer, scheme: Scheme) -> bytes:
    """Encode a chunk, whether or not the result is smaller.

    Example:
        >>> from xetway import Scheme, compress, decompress
        >>> payload = compress(bytes(8192), Scheme.LZ4)
        >>> len(payload) < 100, decompress(payload, Scheme.LZ4, 8192) == bytes(8192)
        (True, True)
    """
    return _native.compress(data, scheme)


def decompress(payload: Buffer, scheme: Scheme, raw_bytes: int) -> bytes:
    """Decode a payload to exactly `raw_bytes`, at most 131,072.

    Any legal LZ4 frame is read. More memory than the result is never taken, whatever the payload says.

    Raises:
        FormatError: the payload is no legal frame, or has another length when decoded.
    """
    return _native.decompress(payload, scheme, raw_bytes)


def choose_scheme(data: Buffer) -> Scheme:
    """Say which scheme is worth trying on a chunk, from a few samples of it.

    `Scheme.NONE` is the answer only for data that is plainly incompressible.
    """
    return Scheme(_native.choose_scheme(data))
