"""Pages in a file that several processes have open: each writes its own, all read all of them.

A page has two copies, which are written by turns, so whoever reads, or comes after a process that was killed while it
wrote, finds one that is whole. Copy `c` of page `p` begins at `start + (2 * p + c) * 2^28`; the file is sparse.

| offset | size | meaning, little-endian |
|---|---|---|
| 0 | 8 | version: the higher one counts |
| 8 | 8 | length of the body |
| 16 | 4 | CRC-32 of version, length and body |
| 20 | length | body |
"""

from __future__ import annotations

import os
import struct
import zlib

_COPY_BYTES = 1 << 28
_HEAD = struct.Struct("<QQ")
_SUM = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _SUM.size
# Whoever reads may meet a writer that is faster, so often in a row hardly.
_TRIES = 10


class Board:
    """The pages of a file, from `start` on."""

    def __init__(self, file: int, start: int) -> None:
        self._file = file
        self._start = start

    def write(self, page: int, body: bytes) -> None:
        """Replace a page. Only one process may, at a time."""
        if len(body) > _COPY_BYTES - _HEAD_BYTES:
            raise ValueError(f"a page of {len(body)} bytes is too large")
        versions = [self._version(page, copy) for copy in range(2)]
        older = versions.index(min(versions))
        head = _HEAD.pack(max(versions) + 1, len(body))
        os.pwrite(self._file, head + _sum(head, body) + body, self._at(page, older))

    def read(self, page: int) -> bytes | None:
        """Return the body of a page; None if it was never written."""
        for _ in range(_TRIES):
            newest = sorted(range(2), key=lambda copy: -self._version(page, copy))
            for copy in newest:
                body = self._body(page, copy)
                if body is not None:
                    return body
            if not any(self._version(page, copy) for copy in newest):
                return None
        return None

    def _version(self, page: int, copy: int) -> int:
        head = os.pread(self._file, _HEAD.size, self._at(page, copy))
        return int(_HEAD.unpack(head)[0]) if len(head) == _HEAD.size else 0

    def _body(self, page: int, copy: int) -> bytes | None:
        at = self._at(page, copy)
        head = os.pread(self._file, _HEAD_BYTES, at)
        if len(head) < _HEAD_BYTES:
            return None
        version, length = _HEAD.unpack_from(head)
        if not version or length > _COPY_BYTES:
            return None
        body = os.pread(self._file, length, at + _HEAD_BYTES)
        return body if head[_HEAD.size :] == _sum(head[: _HEAD.size], body) else None

    def _at(self, page: int, copy: int) -> int:
        return self._start + (2 * page + copy) * _COPY_BYTES


def _sum(head: bytes, body: bytes) -> bytes:
    return _SUM.pack(zlib.crc32(body, zlib.crc32(head)))
