"""Clearing cached answers: for all who share a database, and again until it could be done."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.command import xetway
from xetway.db import Database
from xetway.policy.cache import AnswerCache
from xetway.policy.cacheable import model_prefix
from xetway.policy.clearing import Clearing, ClearStore
from xetway.policy.storage import MemoryStorage
from xetway.settings import gateway as settings

TTL_S = 100.0


class Shaky(MemoryStorage):
    """Can be out of reach."""

    away = False

    async def delete(self, prefix: bytes) -> bool:
        return not self.away and await super().delete(prefix)


class Worker:
    """A process with answers of two models in its cache."""

    def __init__(self, db: Database, now: float = 1000.0) -> None:
        self.storage = Shaky(100_000)
        cache = AnswerCache(settings.Cache(enabled=True), self.storage)
        self.told = 0
        self.clearing = Clearing(ClearStore(db, lambda: now), self.tell)
        self.clearing.configure(cache, TTL_S)

    async def tell(self) -> None:
        self.told += 1

    async def fill(self) -> None:
        for name in ("m", "n"):
            await self.storage.put(model_prefix(name), b"1", 60)

    async def held(self) -> list[str]:
        return [name for name in ("m", "n") if await self.storage.get(model_prefix(name)) is not None]


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "xetway.db")


async def clear(worker: Worker, model: str | None) -> bool:
    return await worker.clearing.clear(model, who="test", client="-")


def test_who_clears_does_so_at_once_and_others_when_they_look(db: Database) -> None:
    async def main() -> None:
        one, other = Worker(db), Worker(db)
        for worker in (one, other):
            await worker.fill()
        assert await clear(one, "m")
        assert (await one.held(), await other.held()) == (["n"], ["m", "n"])
        assert (one.told, other.told) == (1, 0)
        assert await other.clearing.look()
        assert await other.held() == ["n"]
        await other.fill()
        await other.clearing.look()
        assert await other.held() == ["m", "n"]
        assert await clear(other, None)
        await one.clearing.look()
        assert (await one.held(), await other.held()) == ([], [])

    asyncio.run(main())


def test_what_cannot_be_reached_is_cleared_later(db: Database) -> None:
    async def main() -> None:
        worker = Worker(db)
        await worker.fill()
        worker.storage.away = True
        assert not await clear(worker, "m")
        assert not await worker.clearing.look()
        worker.storage.away = False
        assert await worker.clearing.look()
        assert await worker.held() == ["n"]

    asyncio.run(main())


def test_who_starts_does_again_what_may_matter_still(db: Database) -> None:
    async def main() -> None:
        await clear(Worker(db, now=1000), "m")
        for now, held in ((1000 + TTL_S, ["n"]), (1001 + TTL_S, ["m", "n"])):
            worker = Worker(db, now)
            await worker.fill()
            await worker.clearing.look()
            assert await worker.held() == held

    asyncio.run(main())


def test_from_the_command_line(db: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(f'[server]\ndata = "{tmp_path}"\n')

    async def main(model: str, *words: str) -> list[str]:
        worker = Worker(db, now=0)
        await worker.fill()
        assert await asyncio.to_thread(xetway, "cache", "clear-answers", "--config", str(config), *words) == 0
        assert model in capsys.readouterr().err
        await worker.clearing.look()
        return await worker.held()

    assert asyncio.run(main("of m are", "--model", "m")) == ["n"]
    assert asyncio.run(main("of all models are")) == []
