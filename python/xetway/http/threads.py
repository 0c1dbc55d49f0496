"""The worker threads that all blocking work of a request runs in.

One pool for the process: store reads, SQLite and hashing release the GIL or wait for the disk, so more
threads than cores are useful, and a bound on them is a bound on memory. A download holds a thread only
while it fetches one piece, never while it waits for its client.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

WORKER_THREADS = max(8, 2 * (os.cpu_count() or 1) + 4)

_pool: ThreadPoolExecutor | None = None


async def run(fn: Callable[..., T], *args: object) -> T:
    """Run blocking `fn(*args)` in a worker thread.

    Cancelling the caller does not stop `fn`: it runs to its end and its result is dropped.
    """
    global _pool  # noqa: PLW0603  (made on first use, so that a forked worker gets its own)
    if _pool is None:
        _pool = ThreadPoolExecutor(WORKER_THREADS, thread_name_prefix="xetway")
    return await asyncio.get_running_loop().run_in_executor(_pool, fn, *args)


def stop() -> None:
    """Let the threads end; work that has begun is not waited for."""
    global _pool  # noqa: PLW0603
    if _pool is not None:
        _pool.shutdown(wait=False, cancel_futures=True)
        _pool = None
