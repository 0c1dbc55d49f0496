"""Answers given again: who gets which, what is kept, and who asks when the one who asked fails or goes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.virtual_time import run, settle
from xetway.errors import TransportError
from xetway.policy.cache import BYPASS, MISS, AnswerCache
from xetway.policy.cacheable import Control, control
from xetway.policy.flights import Kept, Lead
from xetway.policy.recording import is_complete
from xetway.policy.storage import MemoryStorage
from xetway.settings import gateway as settings

JSON = [(b"content-type", b"application/json"), (b"set-cookie", b"a=b"), (b"x-request-id", b"1")]
EVENTS = [(b"Content-Type", b"text/event-stream")]
GOOD = b'{"object":"list","data":[]}'
DONE = b"data: [DONE]\n\n"
BODY = json.dumps({"model": "m", "messages": [], "temperature": 0}).encode()


class FakeAnswer:
    """An answer whose pieces come when the test says so."""

    def __init__(self, body: bytes | None = None, status: int = 200, headers=JSON) -> None:
        self.status = status
        self.headers = list(headers)
        self.body = body
        self.closed = 0
        self.pieces: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    async def read(self) -> bytes:
        piece = await self.pieces.get()
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.closed += 1


def make_model(name: str, **options: Any) -> settings.Model:
    return settings.Model(name=name, upstreams=(settings.Upstream(url="http://127.0.0.1:9/v1"),), **options)


class Gateway:
    """Asks as a handler does, with an upstream that answers when told to."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_000_000.0
        self.models = {name: make_model(name) for name in ("m", "n")}
        self.storage = MemoryStorage(1_000_000, lambda: self.now)
        self.cache = AnswerCache(settings.Cache(enabled=True, **options), self.storage, lambda: self.now)
        # One future for each time the upstream was asked.
        self.asked: list[asyncio.Future[FakeAnswer]] = []

    def plan(self, path: bytes = b"/embeddings", body: bytes = BODY, model: str = "m"):
        return self.cache.plan("key-1", path, self.models[model], body)

    async def get(self, path: bytes = b"/embeddings", allowed: Control = control(None)) -> tuple[bytes, bytes]:
        """The X-Cache header and the body."""
        plan = self.plan(path)
        found = await self.cache.find(plan, allowed)
        if isinstance(found, Kept):
            assert found.headers()[1] == (b"x-cache", b"HIT")
            return b"HIT", found.body
        if found is None:
            answer, how = await self.send(), BYPASS[1]
        else:
            answer, how = await self.cache.fetch(plan, found, self.send), MISS[1]
        if answer.body is not None:
            return how, answer.body
        body = b""
        try:
            while piece := await answer.read():
                body += piece
        finally:
            answer.close()
        return how, body

    async def send(self) -> FakeAnswer:
        future = asyncio.get_running_loop().create_future()
        self.asked.append(future)
        return await future

    async def ask(self, *rest: Any) -> asyncio.Task[tuple[bytes, bytes]]:
        task = asyncio.create_task(self.get(*rest))
        await settle()
        return task


def scenario(main: Callable[[Gateway], Awaitable[None]], **options: Any) -> None:
    async def inner(_clock) -> None:
        gateway = Gateway(**options)
        await main(gateway)
        await settle()
        assert len(gateway.cache.flights) == 0

    run(inner)


def test_second_time_from_memory() -> None:
    async def main(gateway: Gateway) -> None:
        first = await gateway.ask()
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        assert await first == (b"MISS", GOOD)
        gateway.now += 7.9
        found = await gateway.cache.find(gateway.plan(), control(None))
        assert isinstance(found, Kept)
        assert found.headers() == [(b"content-type", b"application/json"), (b"x-cache", b"HIT"), (b"age", b"7")]
        assert await gateway.get() == (b"HIT", GOOD)
        gateway.now += 3600
        later = await gateway.ask()
        gateway.asked[1].set_result(FakeAnswer(GOOD))
        assert (await later)[0] == b"MISS"
        stats = gateway.cache.stats
        assert (stats.hits, stats.misses, stats.stored, stats.bypasses) == (2, 2, 2, 0)

    scenario(main)


def test_fifty_at_once_ask_once() -> None:
    async def main(gateway: Gateway) -> None:
        tasks = [await gateway.ask() for _ in range(50)]
        assert len(gateway.asked) == 1
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        results = [await task for task in tasks]
        assert results == [(b"MISS", GOOD), *[(b"HIT", GOOD)] * 49]
        assert gateway.cache.stats.shared == 49

    scenario(main)


@pytest.mark.parametrize("status", [400, 429, 500])
def test_after_a_failure_the_next_one_asks(status: int) -> None:
    async def main(gateway: Gateway) -> None:
        tasks = [await gateway.ask() for _ in range(4)]
        gateway.asked[0].set_result(FakeAnswer(b"no", status))
        await settle()
        assert len(gateway.asked) == 2
        gateway.asked[1].set_exception(TransportError("gone"))
        await settle()
        assert len(gateway.asked) == 3
        gateway.asked[2].set_result(FakeAnswer(GOOD))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == (b"MISS", b"no")
        assert isinstance(results[1], TransportError)
        assert results[2:] == [(b"MISS", GOOD), (b"HIT", GOOD)]

    scenario(main)


def test_request_goes_on_for_others_when_its_client_leaves() -> None:
    async def main(gateway: Gateway) -> None:
        leader, *others = [await gateway.ask() for _ in range(3)]
        leader.cancel()
        await settle()
        assert len(gateway.asked) == 1
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        assert [await task for task in others] == [(b"HIT", GOOD)] * 2
        assert leader.cancelled()

    scenario(main)


def test_request_ends_when_nobody_waits_any_more() -> None:
    async def main(gateway: Gateway) -> None:
        tasks = [await gateway.ask() for _ in range(3)]
        for task in tasks:
            assert not gateway.asked[0].done()
            task.cancel()
            await settle()
        assert gateway.asked[0].cancelled()
        assert len(gateway.asked) == 1

    scenario(main)


def test_failure_after_the_client_left_makes_the_next_one_ask() -> None:
    async def main(gateway: Gateway) -> None:
        leader, other = await gateway.ask(), await gateway.ask()
        leader.cancel()
        await settle()
        gateway.asked[0].set_exception(TransportError("gone"))
        await settle()
        gateway.asked[1].set_result(FakeAnswer(GOOD))
        assert await other == (b"MISS", GOOD)

    scenario(main)


def test_answer_of_no_use_is_closed_when_the_client_left() -> None:
    async def main(gateway: Gateway) -> None:
        leader, other = await gateway.ask(), await gateway.ask()
        leader.cancel()
        await settle()
        bad = FakeAnswer(None, 503)
        gateway.asked[0].set_result(bad)
        await settle()
        assert bad.closed
        gateway.asked[1].set_result(FakeAnswer(GOOD))
        assert await other == (b"MISS", GOOD)

    scenario(main)


def test_answer_that_comes_as_its_last_client_leaves_is_closed() -> None:
    async def main(gateway: Gateway) -> None:
        task = await gateway.ask()
        answer = FakeAnswer(None)
        gateway.asked[0].set_result(answer)
        await asyncio.sleep(0)  # the asking task has the answer, the client's does not yet
        task.cancel()
        await settle()
        assert answer.closed

    scenario(main)


@pytest.mark.parametrize("cancel_first", [True, False])
def test_lead_given_to_one_who_leaves_at_that_moment_goes_to_the_next(cancel_first: bool) -> None:
    async def main(gateway: Gateway) -> None:
        lead = await gateway.cache.find(gateway.plan(), control(None))
        left, other = await gateway.ask(), await gateway.ask()
        steps = [lead.leave, left.cancel]
        for step in reversed(steps) if cancel_first else steps:
            step()
        await settle()
        assert left.cancelled()
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        assert await other == (b"MISS", GOOD)
        assert len(gateway.asked) == 1

    scenario(main)


def test_dropped_lead_goes_to_the_next() -> None:
    async def main(gateway: Gateway) -> None:
        lead = await gateway.cache.find(gateway.plan(), control(None))
        other = await gateway.ask()
        assert gateway.asked == []
        del lead
        await settle()
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        assert await other == (b"MISS", GOOD)

    scenario(main)


def test_stream_is_replayed_as_it_came() -> None:
    async def main(gateway: Gateway) -> None:
        first, second = await gateway.ask(b"/completions"), await gateway.ask(b"/completions")
        answer = FakeAnswer(None, headers=EVENTS)
        gateway.asked[0].set_result(answer)
        for piece in (b"data: {}\n\nda", b"ta: {}\n\n" + DONE, b""):
            answer.pieces.put_nowait(piece)
        whole = b"data: {}\n\ndata: {}\n\n" + DONE
        assert await first == (b"MISS", whole)
        assert await second == (b"HIT", whole)
        found = await gateway.cache.find(gateway.plan(b"/completions"), control(None))
        assert isinstance(found, Kept)
        assert (found.content_type, found.body) == (b"text/event-stream", whole)

    scenario(main)


@pytest.mark.parametrize("followed_before", [True, False])
def test_client_leaves_in_the_middle_of_a_stream_others_want(followed_before: bool) -> None:
    async def main(gateway: Gateway) -> None:
        leader = await gateway.ask(b"/completions")
        other = await gateway.ask(b"/completions") if followed_before else None
        answer = FakeAnswer(None, headers=EVENTS)
        gateway.asked[0].set_result(answer)
        await settle()
        other = other or await gateway.ask(b"/completions")
        answer.pieces.put_nowait(b"data: 1\n\n")
        await settle()
        leader.cancel()
        await settle()
        for piece in (b"data: 2\n\n", DONE, b""):
            answer.pieces.put_nowait(piece)
        assert await other == (b"HIT", b"data: 1\n\ndata: 2\n\n" + DONE)
        assert answer.closed == 1
        assert len(gateway.asked) == 1

    scenario(main)


def test_client_leaves_while_a_piece_is_awaited_for_it_alone() -> None:
    async def main(gateway: Gateway) -> None:
        leader = await gateway.ask(b"/completions")
        answer = FakeAnswer(None, headers=EVENTS)
        gateway.asked[0].set_result(answer)
        await settle()
        other = await gateway.ask(b"/completions")
        leader.cancel()
        await settle()
        assert answer.closed
        again = FakeAnswer(DONE, headers=EVENTS)
        gateway.asked[1].set_result(again)
        assert await other == (b"MISS", DONE)

    scenario(main)


async def left_for_another(gateway: Gateway) -> tuple[asyncio.Task[Any], FakeAnswer]:
    """A stream whose client has left while another waits for it."""
    leader, other = await gateway.ask(b"/completions"), await gateway.ask(b"/completions")
    answer = FakeAnswer(None, headers=EVENTS)
    gateway.asked[0].set_result(answer)
    await settle()
    leader.cancel()
    await settle()
    return other, answer


def test_stream_that_breaks_off_when_its_client_has_left_is_asked_for_again() -> None:
    async def main(gateway: Gateway) -> None:
        other, answer = await left_for_another(gateway)
        answer.pieces.put_nowait(TransportError("reset"))
        await settle()
        assert answer.closed
        gateway.asked[1].set_result(FakeAnswer(DONE, headers=EVENTS))
        assert await other == (b"MISS", DONE)

    scenario(main)


def test_stream_is_closed_when_the_last_who_wants_it_leaves() -> None:
    async def main(gateway: Gateway) -> None:
        other, answer = await left_for_another(gateway)
        assert not answer.closed
        other.cancel()
        await settle()
        assert answer.closed

    scenario(main)


def test_stream_that_breaks_off_is_not_kept() -> None:
    async def main(gateway: Gateway) -> None:
        first, second = await gateway.ask(b"/completions"), await gateway.ask(b"/completions")
        answer = FakeAnswer(None, headers=EVENTS)
        gateway.asked[0].set_result(answer)
        answer.pieces.put_nowait(b"data: 1\n\n")
        answer.pieces.put_nowait(TransportError("reset"))
        with pytest.raises(TransportError):
            await first
        await settle()
        gateway.asked[1].set_result(FakeAnswer(DONE, headers=EVENTS))
        assert await second == (b"MISS", DONE)

    scenario(main)


def test_answer_that_is_too_large_keeps_nobody_waiting() -> None:
    async def main(gateway: Gateway) -> None:
        tasks = [await gateway.ask(b"/completions") for _ in range(3)]
        answer = FakeAnswer(None, headers=EVENTS)
        gateway.asked[0].set_result(answer)
        answer.pieces.put_nowait(b"data: " + bytes(100))
        await settle()
        assert len(gateway.asked) == 3
        for asked in gateway.asked[1:]:
            asked.set_result(FakeAnswer(b"own", headers=EVENTS))
        answer.pieces.put_nowait(DONE)
        answer.pieces.put_nowait(b"")
        assert [how for how, _ in await asyncio.gather(*tasks)] == [b"MISS", b"BYPASS", b"BYPASS"]
        assert len(gateway.storage) == 0

    scenario(main, max_answer_bytes=100)


@pytest.mark.parametrize("extra", [(b"Cache-Control", b"private, No-Store"), (b"content-encoding", b"gzip")])
def test_answer_that_others_may_not_have(extra: tuple[bytes, bytes]) -> None:
    async def main(gateway: Gateway) -> None:
        tasks = [await gateway.ask() for _ in range(2)]
        gateway.asked[0].set_result(FakeAnswer(GOOD, headers=[*JSON, extra]))
        await settle()
        gateway.asked[1].set_result(FakeAnswer(GOOD))
        assert [how for how, _ in await asyncio.gather(*tasks)] == [b"MISS", b"BYPASS"]
        assert len(gateway.storage) == 0

    scenario(main)


def test_no_store_neither_reads_nor_keeps() -> None:
    async def main(gateway: Gateway) -> None:
        await gateway.storage.put(gateway.plan().key, b"never read", 10)
        task = await gateway.ask(b"/embeddings", control("no-store"))
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        assert await task == (b"BYPASS", GOOD)
        assert gateway.cache.stats.bypasses == 1

    scenario(main)


def test_no_cache_asks_anew_and_keeps() -> None:
    async def main(gateway: Gateway) -> None:
        old = await gateway.ask()
        new = await gateway.ask(b"/embeddings", control("no-cache"))
        assert len(gateway.asked) == 2
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        gateway.asked[1].set_result(FakeAnswer(b'{"new":1}'))
        await old
        await new
        assert await gateway.get() == (b"HIT", b'{"new":1}')

    scenario(main)


def test_max_age() -> None:
    async def main(gateway: Gateway) -> None:
        task = await gateway.ask()
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        await task
        gateway.now += 20
        assert (await gateway.get(b"/embeddings", control("max-age=20")))[0] == b"HIT"
        task = await gateway.ask(b"/embeddings", control("max-age=19"))
        gateway.asked[1].set_result(FakeAnswer(GOOD))
        assert (await task)[0] == b"MISS"

    scenario(main)


@pytest.mark.parametrize("model", [None, "m"])
def test_invalidated_answers_are_gone(model: str | None) -> None:
    async def main(gateway: Gateway) -> None:
        task = await gateway.ask()
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        await task
        await gateway.cache.invalidate("other")
        assert (await gateway.get())[0] == b"HIT"
        await gateway.cache.invalidate(model)
        assert len(gateway.storage) == 0

    scenario(main)


def test_what_is_under_way_when_invalidated_is_neither_kept_nor_joined() -> None:
    async def main(gateway: Gateway) -> None:
        early, follower = await gateway.ask(), await gateway.ask()
        await gateway.cache.invalidate("m")
        late = await gateway.ask()
        assert len(gateway.asked) == 2
        gateway.asked[0].set_result(FakeAnswer(b'{"old":1}'))
        assert (await early)[1] == (await follower)[1] == b'{"old":1}'
        assert len(gateway.storage) == 0
        gateway.asked[1].set_result(FakeAnswer(GOOD))
        assert await late == (b"MISS", GOOD)
        assert await gateway.get() == (b"HIT", GOOD)

    scenario(main)


def test_what_storage_mangled_is_asked_again() -> None:
    async def main(gateway: Gateway) -> None:
        for value in (b"", b"\xff\xff", b"\x00\x03abc"):
            await gateway.storage.put(gateway.plan().key, value, 10)
            found = await gateway.cache.find(gateway.plan(), control(None))
            assert isinstance(found, Lead)
            found.leave()

    scenario(main)


def test_disabled_plans_nothing() -> None:
    cache = AnswerCache(settings.Cache(), MemoryStorage(1000))
    assert cache.plan("key-1", b"/embeddings", make_model("m"), BODY) is None


def test_memory_hit_takes_no_turn_of_the_loop() -> None:
    async def main(gateway: Gateway) -> None:
        task = await gateway.ask()
        gateway.asked[0].set_result(FakeAnswer(GOOD))
        await task
        with pytest.raises(StopIteration) as end:
            gateway.cache.find(gateway.plan(), control(None)).send(None)
        assert isinstance(end.value.value, Kept)

    scenario(main)


@pytest.mark.parametrize(
    ("kind", "content_type", "body", "complete"),
    [
        ("chat", b"application/json", GOOD, True),
        ("chat", b"application/json", GOOD[:-1], False),
        ("chat", b"application/json", b"", False),
        ("chat", b"application/json", b"[]", False),
        ("chat", b"application/json", b'{"error":{"message":"x"}}', False),
        ("responses", b"application/json", b'{"error":null,"status":"completed"}', True),
        ("responses", b"application/json", b'{"error":null,"status":"incomplete"}', True),
        ("responses", b"application/json", b'{"status":"in_progress"}', False),
        ("responses", b"application/json", b'{"status":["completed"]}', False),
        ("chat", b"text/event-stream; charset=utf-8", b"data: {}\n\ndata: [DONE]\n\n", True),
        ("chat", b"text/event-stream", b"data: {}\r\n\r\ndata:[DONE]\r\n\r\n", True),
        ("chat", b"text/event-stream", b"data: {}\n\n", False),
        ("chat", b"text/event-stream", b'data: "data: [DONE]"\n\n', False),
        ("chat", b"text/event-stream", b'data: {"error":{}}\n\ndata: [DONE]\n\n', False),
        ("chat", b"text/event-stream", b"event: error\ndata: {}\n\ndata: [DONE]\n\n", False),
        ("chat", b"text/event-stream", b"error: {}\n\ndata: [DONE]\n\n", False),
        ("chat", b"text/event-stream", b"", False),
        (
            "responses",
            b"text/event-stream",
            b"event: response.completed\ndata: {}\n\n",
            True,
        ),
        ("responses", b"text/event-stream", b"event: response.output_text.delta\ndata: {}\n\n", False),
        ("responses", b"text/event-stream", b"event: response.failed\ndata: {}\n\n", False),
    ],
)
def test_complete(kind: str, content_type: bytes, body: bytes, complete: bool) -> None:
    assert is_complete(kind, content_type, body) is complete
