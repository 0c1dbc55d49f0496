"""Where content is cut: content-defined chunks of 8 to 128 KiB, 64 KiB on average.

Source: draft-denis-xet-03, "Content-Defined Chunking".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xetway import _native

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Buffer


def _array(row: bytes) -> NDArray[np.uint64]:
    import numpy as np  # noqa: PLC0415 - importing xetway must not cost importing numpy

    return np.frombuffer(row, dtype="<u8").astype(np.uint64)


def chunk_boundaries(data: Buffer) -> NDArray[np.uint64]:
    """Return the end offset of each chunk of `data`, as an array of its own.

    The buffer is read in place, with the interpreter lock released.

    Raises:
        BufferError: the buffer is not C-contiguous.

    Example:
        >>> from xetway import chunk_boundaries
        >>> chunk_boundaries(bytes(200_000)).tolist()
        [131072, 200000]
    """
    return _array(_native.chunk_boundaries(data))


class Chunker:
    """Finds the same boundaries in content that arrives in pieces of any size.

    One thread at a time; use after `finish` raises StateError.

    Example:
        >>> from xetway import Chunker
        >>> chunker = Chunker()
        >>> [chunker.update(bytes(100_000)).tolist() for _ in range(2)], chunker.finish().tolist()
        ([[], [131072]], [200000])
    """

    __slots__ = ("_chunker",)

    def __init__(self) -> None:
        self._chunker = _native.Chunker()

    def update(self, data: Buffer) -> NDArray[np.uint64]:
        """Take the next bytes; returns the end offsets, from the very start, of the chunks they complete."""
        return _array(self._chunker.update(data))

    def finish(self) -> NDArray[np.uint64]:
        """End the content; returns the end of the last chunk, or nothing if there is none."""
        return _array(self._chunker.finish())

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        return self._chunker.position
