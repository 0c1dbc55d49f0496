"""Clearing the cache of answers: for all processes of an installation, by whichever of them, or the command line.

What is to be cleared is a line in the database. The process that writes one clears at once, the others within half a
second; one that starts does again what was cleared in the lifetime of answers, as they may be on a server that was
not told. A line stays to be done until the cache could be reached.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Awaitable, Callable

from xetway.db import Database
from xetway.http.errors import describe
from xetway.http.threads import run
from xetway.policy.cache import AnswerCache

logger = logging.getLogger("xetway")

POLL_S = 0.5
MAX_LINES = 1000


class ClearStore:
    """What was cleared in one installation. Blocking."""

    def __init__(self, db: Database, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._now = now

    def add(self, model: str | None, *, who: str, client: str) -> None:
        """Note that the answers of a model, or of all, are to be forgotten."""
        with self._db.write() as tx:
            cursor = tx.execute(
                "INSERT INTO answers_cleared (at, model, who, client) VALUES (?, ?, ?, ?)",
                (int(self._now()), model, who, client),
            )
            tx.execute("DELETE FROM answers_cleared WHERE id <= ?", ((cursor.lastrowid or 0) - MAX_LINES,))

    def after(self, last: int, age_s: float) -> list[tuple[int, str | None]]:
        """Return the lines after one that are not older than this: their numbers and models."""
        with self._db.read() as tx:
            rows = tx.execute(
                "SELECT id, model FROM answers_cleared WHERE id > ? AND at >= ? ORDER BY id",
                (last, self._now() - age_s),
            )
            return [(row[0], row[1]) for row in rows]


class Clearing:
    """Keeps a process' cache as the store says. For one event loop; nothing is to be done before `configure`.

    Args:
        store: What was cleared.
        tell: Has the other workers `tidy`, before a change is answered.
    """

    def __init__(self, store: ClearStore, tell: Callable[[], Awaitable[None]] | None = None) -> None:
        self._store = store
        self._tell = tell
        self._last = 0
        self._looking = asyncio.Lock()

    def configure(self, cache: AnswerCache, ttl_s: float) -> None:
        """Have a cache, whose answers live so long."""
        self._cache = cache
        self._ttl_s = ttl_s

    async def clear(self, model: str | None, *, who: str, client: str) -> bool:
        """Forget the answers of a model, or all; False if the cache cannot be reached now, and it is done later."""
        await run(lambda: self._store.add(model, who=who, client=client))
        done = await self.look()
        if self._tell is not None:
            await self._tell()
        return done

    async def look(self) -> bool:
        """Do what is to be done; whether that is all."""
        async with self._looking:
            lines = await run(lambda: self._store.after(self._last, self._ttl_s))
            for model in {model for _, model in lines}:
                if not await self._cache.invalidate(model):
                    return False
            self._last = max((number for number, _ in lines), default=self._last)
            return True

    async def tidy(self) -> None:
        """Look, and fail never."""
        try:
            await self.look()
        except (OSError, sqlite3.Error) as error:
            logger.warning("the cache may have answers that were cleared: %s", describe(error))

    async def watch(self) -> None:
        """Tidy again and again, until cancelled."""
        while True:
            await self.tidy()
            await asyncio.sleep(POLL_S)
