"""Answers given again.

`plan` says whether an answer may be kept, and under which key. `find` gives an answer, or the lead: whoever has the
lead asks the upstream through `fetch`, and others who want the same wait. If the answer is complete all get it and
it is kept; if it fails, or the leader goes and nobody waited yet, the next one leads; if it is too large to be kept,
all who wait go on by themselves. While others wait the answer is awaited and read to its end even if the leader's
client leaves, and given up when the last of them does. Who follows a stream gets it when it is whole.

Only complete answers with status 200 are kept, and of their headers only the content type: others, such as cookies
and request ids, belong to one request. For one event loop; a hit in `MemoryStorage` takes no turn of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from xetway.policy import cacheable
from xetway.policy.cacheable import Control, Plan
from xetway.policy.flights import Flights, Kept, Lead, Outcome
from xetway.policy.recording import Recorded, is_shareable
from xetway.ports import Answer, Storage
from xetway.settings import gateway as settings
from xetway.settings.gateway import Model

MISS = (b"x-cache", b"MISS")
BYPASS = (b"x-cache", b"BYPASS")


class _Head(msgspec.Struct, frozen=True, array_like=True):
    """What is stored before a body: when it came, in Unix time since other machines may read it."""

    born: float
    content_type: bytes


# What comes before a body, at most: a content type is no longer than the head of an answer.
MAX_HEAD_BYTES = 64 * 1024

_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(_Head).decode


class Stats(msgspec.Struct):
    """Counts. `shared` of the hits had to wait for a request under way."""

    hits: int = 0
    misses: int = 0
    bypasses: int = 0
    shared: int = 0
    stored: int = 0


def added(all_stats: Sequence[Stats]) -> Stats:
    """Put together what several caches count."""
    return Stats(*(sum(counts) for counts in zip(*map(msgspec.structs.astuple, all_stats), strict=True)))


class AnswerCache:
    """Finds answers, and keeps new ones in `storage`. Several on one storage share `flights`, and may share `stats`."""

    def __init__(self, options: settings.Cache, storage: Storage, clock: Callable[[], float] = time.time) -> None:
        self._options = options
        self._storage = storage
        self._clock = clock
        self.flights = Flights()
        self._generations: dict[str, tuple[Model, str]] = {}
        self.stats = Stats()

    @property
    def enabled(self) -> bool:
        """Whether anything is kept at all."""
        return self._options.enabled

    def plan(self, caller: str, path: bytes, model: Model, body: bytes, vary: tuple[str, ...] = ()) -> Plan | None:
        """Return how to find the answer again, or None if it must not be kept. See `cacheable.plan`."""
        if not self.enabled:
            return None
        configured, generation = self._generations.get(model.name, (None, ""))
        if configured is not model:
            generation = cacheable.generation(model)
            self._generations[model.name] = (model, generation)
        return cacheable.plan(caller, path, model.name, generation, body, everything=self._options.all, vary=vary)

    async def find(self, plan: Plan | None, control: Control) -> Outcome:
        """Return an answer, or the lead, or None: then neither look for an answer nor keep it."""
        outcome = None if plan is None or not control.store else await self._find(plan, control)
        if isinstance(outcome, Kept):
            self.stats.hits += 1
        elif outcome is None:
            self.stats.bypasses += 1
        else:
            self.stats.misses += 1
        return outcome

    async def fetch(self, plan: Plan, lead: Lead, send: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """Ask the upstream. What is returned has to be read to its end or closed, if its body is not there yet."""
        asking = asyncio.create_task(send())
        try:
            answer = await asyncio.shield(asking)
        except asyncio.CancelledError:
            if lead.wanted:
                lead.carry_on(self._ask_on(plan, lead, asking))
            else:
                lead.leave()
                _drop(asking)
            raise
        except BaseException:
            lead.leave()
            raise
        return await self._record(plan, lead, answer)

    async def invalidate(self, model: str | None = None) -> bool:
        """Forget the answers of a model, or all; what is under way will not be kept, nor joined by new requests.

        False if the storage could not be reached: it may have some of them still.
        """
        prefix = b"" if model is None else cacheable.model_prefix(model)
        self.flights.invalidate(prefix)
        return await self._storage.delete(prefix)

    async def _find(self, plan: Plan, control: Control) -> Outcome:
        if control.max_age_s < 0:
            return self.flights.start(plan.key)
        value = await self._storage.get(plan.key)
        if value is not None:
            kept = self._unpack(value)
            if kept is not None and kept.age_s <= control.max_age_s:
                return kept
        flight = self.flights.get(plan.key)
        if flight is None:
            return self.flights.start(plan.key)
        outcome = await self.flights.follow(flight)
        if isinstance(outcome, Kept):
            self.stats.shared += 1
        return outcome

    async def _record(self, plan: Plan, lead: Lead, answer: Answer) -> Answer:
        if answer.status != 200:
            lead.leave()
            return answer
        if not is_shareable(answer.headers):
            lead.give_up()
            return answer
        recorded = Recorded(answer, lead, plan.kind, self._options.max_answer_bytes, self._keep)
        if answer.body is not None:
            await recorded.add(answer.body)
            await recorded.add(b"")
        return recorded

    async def _ask_on(self, plan: Plan, lead: Lead, asking: asyncio.Task[Answer]) -> None:
        """Wait for an answer in the name of those who follow."""
        try:
            answer = await self._record(plan, lead, await asking)
            if isinstance(answer, Recorded):
                await answer.read_on()
            else:
                answer.close()
        except Exception:  # noqa: BLE001, S110  (nobody to tell is left: who waits now leads, and sees for itself)
            pass
        except BaseException:
            _drop(asking)
            raise
        finally:
            lead.leave()

    async def _keep(self, lead: Lead, kept: Kept) -> None:
        key = lead.key
        if not lead.land(kept):
            return
        self.stats.stored += 1
        head = _ENCODE(_Head(self._clock(), kept.content_type))
        value = b"".join((len(head).to_bytes(2, "big"), head, kept.body))
        await self._storage.put(key, value, self._options.ttl)

    def _unpack(self, value: bytes) -> Kept | None:
        start = 2 + int.from_bytes(value[:2], "big")
        try:
            head = _DECODE(value[2:start])
        except msgspec.DecodeError:
            return None
        return Kept(head.content_type, value[start:], max(0, int(self._clock() - head.born)))


def _drop(asking: asyncio.Task[Answer]) -> None:
    """Stop asking, and close the answer if it comes all the same."""

    def close(done: asyncio.Task[Answer]) -> None:
        if not done.cancelled() and done.exception() is None:
            done.result().close()

    asking.add_done_callback(close)
    asking.cancel()
