"""The worker threads that all blocking work of requests runs in.

Two pools for the process: store reads, SQLite and hashing release the GIL or wait for the disk, so more
threads than cores are useful, and a bound on them is a bound on memory. A download holds a thread only
while it fetches one piece, never while it waits for its client.

Requests that may write have a pool of their own: they can wait long for the database's write lock (beside a
garbage collection, say), and readers must not wait with them.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

READER_THREADS = max(8, 2 * (os.cpu_count() or 1) + 4)
WRITER_THREADS = 16

_writing = contextvars.ContextVar("writing", default=False)
_pools: dict[bool, ThreadPoolExecutor] = {}


def use_pool_for(method: str) -> None:
    """Choose the pool of the current request, by what its method may do."""
    _writing.set(method not in {"GET", "HEAD"})


async def run(fn: Callable[..., T], *args: object) -> T:
    """Run blocking `fn(*args)` in a worker thread.

    Cancelling the caller does not stop `fn`: it runs to its end and its result is dropped.
    """
    writing = _writing.get()
    pool = _pools.get(writing)
    if pool is None:
        count, name = (WRITER_THREADS, "xetway-writer") if writing else (READER_THREADS, "xetway-reader")
        pool = _pools[writing] = ThreadPoolExecutor(count, thread_name_prefix=name)
    return await asyncio.get_running_loop().run_in_executor(pool, fn, *args)


def stop() -> None:
    """Let the threads end; work that has begun is not waited for."""
    for pool in _pools.values():
        pool.shutdown(wait=False, cancel_futures=True)
    _pools.clear()
