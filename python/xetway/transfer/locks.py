"""Locks between processes that write the same folder: those that Hub clients take, in the same files.

An advisory lock on an open file (`flock`; on Windows one byte by `msvcrt.locking`), which is what `filelock` does and
Hub clients use. The file stays when the lock is let go: removing it would let two holders in. Held by a process that
dies, a lock is free at once. Where a file system has no locks, there is none, as without other clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

_POLL_S = 0.1


@contextlib.asynccontextmanager
async def lock(path: Path, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold the lock of this file; wait for it as long as it takes. `on_wait` is called once if it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o664)
    try:
        while not _take(handle):
            if on_wait is not None:
                on_wait()
                on_wait = None
            await asyncio.sleep(_POLL_S)
        yield
    finally:
        # Closing lets go of it.
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> bool:
        try:
            os.lseek(handle, 0, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import errno
    import fcntl

    _NONE_THERE = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK})

    def _take(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno not in _NONE_THERE:
                raise
        return True
