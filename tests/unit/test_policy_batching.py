"""Embeddings requests sent together: who gets which part, and what one's mistake or leaving does to the others."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.unit.virtual_time import run, settle
from xetway.errors import TransportError
from xetway.policy import embeddings
from xetway.policy.batching import Batcher, Part
from xetway.settings import gateway as settings

HEADERS = [(b"content-type", b"application/json"), (b"Content-Length", b"9")]


def body(value: Any, **fields: Any) -> bytes:
    return json.dumps({"model": "e", "input": value} | fields).encode()


def inputs(raw: bytes) -> list[Any]:
    value = json.loads(raw)["input"]
    return [value] if isinstance(value, str) or isinstance(value[0], int) else value


def vector(value: Any) -> Any:
    """A made-up embedding that tells which input it is of."""
    number = float(len(value)) if isinstance(value, str) else float(sum(value))
    return [number, 0.1]


def reply(raw: bytes, tokens: int | None = None) -> Part:
    found = inputs(raw)
    data = [{"object": "embedding", "embedding": vector(item), "index": place} for place, item in enumerate(found)]
    total = sum(len(item) for item in found) if tokens is None else tokens
    usage = {"prompt_tokens": total, "total_tokens": total}
    whole = {"object": "list", "data": data[::-1], "model": "e", "usage": usage}
    return Part(200, HEADERS, json.dumps(whole).encode())


class Streamed:
    """An answer that is read piece by piece."""

    status = 200
    headers = HEADERS
    body = None

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces
        self.closed = False

    async def read(self) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        self.closed = True


class Upstream:
    """Answers at once, as the test says, or waits."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, bytes]] = []
        self.answer: Callable[[bytes], Any] = reply
        self.cancelled = 0

    async def send(self, target: Any, raw: bytes) -> Any:
        self.asked.append((target, raw))
        answer = self.answer(raw)
        if isinstance(answer, asyncio.Future):
            try:
                return await answer
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if isinstance(answer, Exception):
            raise answer
        return answer


def scenario(main: Callable[[Batcher, Upstream], Awaitable[None]], **options: Any) -> None:
    async def inner(_clock) -> None:
        upstream = Upstream()
        batcher = Batcher(settings.Batching(enabled=True, **options), upstream.send)
        await main(batcher, upstream)
        await settle()
        assert batcher._open == {}

    run(inner)


async def ask(batcher: Batcher, *bodies: bytes, target: Any = "t") -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(batcher.embed(target, raw)) for raw in bodies]
    await settle()
    return tasks


def vectors(answer: Any) -> list[Any]:
    data = json.loads(answer.body)["data"]
    assert [item["index"] for item in data] == list(range(len(data)))
    return [item["embedding"] for item in data]


def test_requests_within_the_window_are_one() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        tasks = await ask(batcher, body("a"), body(["bb", "ccc"]), body("dddd"))
        assert upstream.asked == []
        answers = await asyncio.gather(*tasks)
        (sent,) = upstream.asked
        assert sent[0] == "t"
        assert json.loads(sent[1]) == {"model": "e", "input": ["a", "bb", "ccc", "dddd"]}
        assert [vectors(answer) for answer in answers] == [[[1, 0.1]], [[2, 0.1], [3, 0.1]], [[4, 0.1]]]
        assert answers[0].headers == HEADERS[:1]
        assert await answers[0].read() == b""
        stats = batcher.stats
        assert (stats.batches, stats.requests, stats.alone, sum(stats.sizes), stats.sizes[2]) == (1, 3, 0, 1, 1)

    scenario(main)


def test_one_alone_waits_the_window_and_goes_as_it_came() -> None:
    async def inner(clock) -> None:
        upstream = Upstream()
        batcher = Batcher(settings.Batching(enabled=True, window=0.5), upstream.send)
        raw = b' { "input" : "a" , "model":"e"}'
        began = clock()
        answer = await batcher.embed("t", raw)
        assert clock() - began == pytest.approx(0.5)
        assert upstream.asked == [("t", raw)]
        assert answer.headers == HEADERS
        assert batcher.stats.alone == 1

    run(inner)


def test_full_batch_does_not_wait() -> None:
    async def inner(clock) -> None:
        upstream = Upstream()
        batcher = Batcher(settings.Batching(enabled=True, max_size=3), upstream.send)
        began = clock()
        await asyncio.gather(*await ask(batcher, body("a"), body(["b", "c"])))
        assert clock() == began
        tasks = await ask(batcher, body("a"), body("b"), body(["c", "d"]), body("e"))
        assert [len(inputs(raw)) for _, raw in upstream.asked] == [3, 2, 3]
        await asyncio.gather(*tasks)
        assert clock() == began

    run(inner)


def test_bytes_are_limited() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        large = body("x" * 40)
        await asyncio.gather(*await ask(batcher, large, large, body("x" * 200)))
        assert len(upstream.asked) == 3

    scenario(main, max_bytes=100)


@pytest.mark.parametrize(
    "raw",
    [
        body([]),
        body(["a", [1]]),
        body(None),
        body({"a": 1}),
        body([["a"], "b"]),
        body([-1]),
        b'{"model":"e"}',
        b"[]",
        b"{",
        b"",
        body(["a"] * 32),
    ],
)
def test_what_cannot_be_put_together_goes_at_once(raw: bytes) -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda _raw: Part(400, HEADERS, b"no")
        (task,) = await ask(batcher, raw)
        assert upstream.asked == [("t", raw)]
        assert (await task).body == b"no"

    scenario(main)


def test_only_requests_alike_are_put_together() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        kinds = [
            body("a"),
            body("a", dimensions=2),
            body("a", encoding_format="base64"),
            body("a", user="u"),
            body([1]),
        ]
        tasks = [task for raw in kinds for task in await ask(batcher, raw, raw)]
        tasks += await ask(batcher, body("a"), target="another caller")
        await asyncio.gather(*tasks)
        assert sorted(len(inputs(raw)) for _, raw in upstream.asked) == [1, 2, 2, 2, 2, 2]

    scenario(main)


def test_tokens_are_put_together() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        answers = await asyncio.gather(*await ask(batcher, body([1, 2]), body([[3], [4, 5]])))
        assert inputs(upstream.asked[0][1]) == [[1, 2], [3], [4, 5]]
        assert [vectors(answer) for answer in answers] == [[[3, 0.1]], [[3, 0.1], [9, 0.1]]]
        assert [json.loads(answer.body)["usage"]["prompt_tokens"] for answer in answers] == [2, 3]

    scenario(main)


def test_bytes_of_embeddings_and_unknown_fields_are_untouched() -> None:
    coded = base64.b64encode(struct.pack("<3f", 0.1, -1e30, 3)).decode()
    raw = (
        b'{"object":"list", "x": {"y" : 1.50}, "data":[{"embedding":"%s","index":1,"z":1E2},'
        b'{"embedding":[0.10000000149011612,1.0,-0.0, 1e-7],"index":0}]}'
    ) % coded.encode()

    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda _raw: Part(200, HEADERS, raw)
        first, second = await asyncio.gather(*await ask(batcher, body("a"), body("b")))
        assert b"[0.10000000149011612,1.0,-0.0, 1e-7]" in first.body
        assert coded.encode() in second.body
        assert b'"z":1E2' in second.body
        assert b'{"y" : 1.50}' in first.body
        assert "usage" not in json.loads(first.body)
        assert json.loads(second.body)["data"][0]["index"] == 0

    scenario(main)


@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_one_bad_input_is_the_problem_of_who_sent_it(status: int) -> None:
    def answer(raw: bytes) -> Part:
        return Part(status, HEADERS, b"too long") if "bad" in inputs(raw) else reply(raw)

    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = answer
        good, bad, other = await asyncio.gather(*await ask(batcher, body("a"), body("bad"), body("cc")))
        assert (vectors(good), vectors(other)) == ([[1, 0.1]], [[2, 0.1]])
        assert (bad.status, bad.body) == (status, b"too long")
        assert [raw for _, raw in upstream.asked[1:]] == [body("a"), body("bad"), body("cc")]
        assert batcher.stats.resent == 3

    scenario(main)


@pytest.mark.parametrize("status", [401, 403, 429, 502, 503])
def test_refusal_that_no_input_is_to_blame_for_is_everybodys(status: int) -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda _raw: Part(status, [*HEADERS, (b"retry-after", b"3")], b"no")
        answers = await asyncio.gather(*await ask(batcher, body("a"), body("b")))
        assert [(answer.status, answer.body) for answer in answers] == [(status, b"no")] * 2
        assert (b"retry-after", b"3") in answers[0].headers
        assert len(upstream.asked) == 1

    scenario(main)


def test_fault_of_the_upstream_is_everybodys() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda _raw: TransportError("gone")
        results = await asyncio.gather(*await ask(batcher, body("a"), body("b")), return_exceptions=True)
        assert [result.code for result in results] == ["connect_failed"] * 2

    scenario(main)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"{}",
        b'{"data":[{"index":0}]}',
        b'{"data":[{"index":0},{"index":0}]}',
        b'{"data":[{"index":0},{"index":2}]}',
        b'{"data":[{"index":0},{}]}',
        b'{"data":[{"index":0},{"index":1},{"index":1}]}',
        b'{"data":[{"index":0},{"index":"1"}]}',
        b'{"data":{}}',
        b'{"data":[{"index":0},{"index":1}],"usage":3}',
        b'{"data":[{"index":0},{"index":1}],"usage":{"prompt_tokens":' + b"9" * 5000 + b"}}",
    ],
)
def test_answer_that_cannot_be_taken_apart_is_asked_for_again(bad: bytes) -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda raw: Part(200, HEADERS, bad) if len(inputs(raw)) > 1 else reply(raw)
        answers = await asyncio.gather(*await ask(batcher, body("a"), body("bb")))
        assert [vectors(answer) for answer in answers] == [[[1, 0.1]], [[2, 0.1]]]

    scenario(main)


def test_long_answer_is_read_to_its_end() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        made: list[Streamed] = []

        def answer(raw: bytes) -> Streamed:
            whole = reply(raw).body
            made.append(Streamed([whole[:10], whole[10:]]))
            return made[-1]

        upstream.answer = answer
        answers = await asyncio.gather(*await ask(batcher, body("a"), body("bb")))
        assert [vectors(answer) for answer in answers] == [[[1, 0.1]], [[2, 0.1]]]
        assert made[0].closed
        batcher = Batcher(settings.Batching(enabled=True), upstream.send, max_answer_bytes=100)
        answers = await asyncio.gather(*await ask(batcher, body("a"), body("bb")))
        assert [answer.body for answer in answers] == [None, None]
        assert [one.closed for one in made] == [True, True, False, False]

    scenario(main)


def test_who_leaves_before_it_is_sent_is_taken_out() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        first, second, third = await ask(batcher, body("a"), body("b"), body("c"))
        second.cancel()
        await asyncio.gather(first, third)
        assert inputs(upstream.asked[0][1]) == ["a", "c"]

    scenario(main)


def test_nothing_is_sent_for_nobody() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        for task in await ask(batcher, body("a"), body("b")):
            task.cancel()
        await asyncio.sleep(1)
        assert upstream.asked == []

    scenario(main)


def test_request_is_cancelled_when_all_have_left() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda _raw: asyncio.get_running_loop().create_future()
        first, second = await ask(batcher, body("a"), body("b"))
        await asyncio.sleep(1)
        first.cancel()
        await settle()
        assert upstream.cancelled == 0
        second.cancel()
        await settle()
        assert upstream.cancelled == 1
        (alone,) = await ask(batcher, body("a"))
        await asyncio.sleep(1)
        alone.cancel()
        await settle()
        assert upstream.cancelled == 2

    scenario(main)


def test_who_leaves_while_sent_by_itself_cancels_just_that() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        waiting = asyncio.get_running_loop().create_future

        def answer(raw: bytes) -> Any:
            return Part(400, HEADERS, b"no") if len(inputs(raw)) > 1 else waiting()

        upstream.answer = answer
        first, second = await ask(batcher, body("a"), body("b"))
        await asyncio.sleep(1)
        assert len(upstream.asked) == 3
        first.cancel()
        await settle()
        assert upstream.cancelled == 1
        assert not second.done()
        second.cancel()

    scenario(main)


@pytest.mark.parametrize("how", [reply, lambda raw: Part(400, HEADERS, b"no"), lambda raw: TransportError("gone")])
def test_who_leaves_while_it_is_under_way_changes_nothing_for_others(how: Callable[[bytes], Any]) -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        waiting = asyncio.get_running_loop().create_future()
        upstream.answer = lambda _raw: waiting
        left, *others = await ask(batcher, body("a"), body("b"), body("c"))
        await asyncio.sleep(1)
        left.cancel()
        await settle()
        upstream.answer = reply
        result = how(upstream.asked[0][1])
        if isinstance(result, Exception):
            waiting.set_exception(result)
        else:
            waiting.set_result(result)
        answers = await asyncio.gather(*others, return_exceptions=True)
        if isinstance(result, Exception):
            assert answers == [result] * 2
        else:
            assert [vectors(answer) for answer in answers] == [[[1, 0.1]]] * 2
        assert ("t", body("a")) not in upstream.asked

    scenario(main)


def test_fault_of_one_alone_is_told() -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        upstream.answer = lambda _raw: TransportError("gone")
        with pytest.raises(TransportError):
            await batcher.embed("t", body("a"))

    scenario(main)


@pytest.mark.parametrize("at_once", [True, False])
def test_answer_that_comes_as_its_caller_leaves_is_closed(at_once: bool) -> None:
    async def main(batcher: Batcher, upstream: Upstream) -> None:
        answer = Streamed([])

        def leave(_raw: bytes) -> Streamed:
            if at_once:
                task.cancel()
            else:
                asyncio.get_running_loop().call_soon(task.cancel)
            return answer

        upstream.answer = leave
        (task,) = await ask(batcher, body("a"))
        await asyncio.sleep(1)
        assert task.cancelled()
        assert answer.closed

    scenario(main)


def test_disabled_sends_at_once() -> None:
    async def inner(_clock) -> None:
        upstream = Upstream()
        await Batcher(settings.Batching(), upstream.send).embed("t", body("a"))
        assert upstream.asked == [("t", body("a"))]

    run(inner)


texts = st.text(max_size=6)
tokens = st.lists(st.integers(0, 99), min_size=1, max_size=4)
one_kind = st.one_of(
    st.lists(st.one_of(texts, st.lists(texts, min_size=1, max_size=4)), min_size=1, max_size=6),
    st.lists(st.one_of(tokens, st.lists(tokens, min_size=1, max_size=4)), min_size=1, max_size=6),
)


@hypothesis_settings(deadline=None)
@given(one_kind, st.integers(0, 10**6))
def test_together_is_the_same_as_each_alone(values: list[Any], total: int) -> None:
    questions = [embeddings.read(body(value)) for value in values]
    assert len({question.shape for question in questions}) == 1
    parts = embeddings.split(reply(embeddings.merge(questions), total).body, questions)
    for value, part in zip(values, parts, strict=True):
        alone = json.loads(reply(body(value)).body)
        alone["data"].reverse()
        got = json.loads(part)
        assert got["data"] == alone["data"]
        assert got["usage"].keys() == alone["usage"].keys()
    for name in ("prompt_tokens", "total_tokens"):
        assert sum(json.loads(part)["usage"][name] for part in parts) == total
