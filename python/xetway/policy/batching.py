"""Embeddings requests that come close together, sent as one.

Requests with the same target (which the caller is a part of) and the same fields beside `input` wait up to `window`
for others; a full batch goes at once, and whoever is alone in the end is sent as it came. If the upstream refuses the
whole, each is sent by itself, so that one bad input is the problem of who sent it. A caller that leaves takes its
inputs out; when all have left, the request is cancelled. Arithmetic in a batch may change an embedding's last digits.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, TypeAlias

import msgspec

from xetway import ports
from xetway.policy import embeddings
from xetway.policy.embeddings import Question
from xetway.ports import Answer, RawHeaders
from xetway.settings import gateway as settings

Send: TypeAlias = Callable[[Any, bytes], Coroutine[Any, Any, Answer]]

# Upper ends of the histogram of inputs in one request; what is larger is in a last bucket of its own.
SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128)
# A merged answer is held in memory up to this size; if it is larger each request is sent by itself.
MAX_ANSWER_BYTES = 64 * 1024 * 1024

# Refusals that are about who asks, not about what: sent by itself each would be refused again.
_ABOUT_THE_CALLER = frozenset({401, 403, 407, 429})
# Some servers tell a single bad input with a 500.
_ABOUT_AN_INPUT = frozenset(range(400, 501)) - _ABOUT_THE_CALLER


class Stats(msgspec.Struct):
    """Counts. `requests` were sent in `batches` of several, `alone` by themselves, `resent` after a refusal.

    `inputs` are those of all batches, `sizes` the batches by how many each had.
    """

    batches: int = 0
    requests: int = 0
    inputs: int = 0
    alone: int = 0
    resent: int = 0
    sizes: list[int] = msgspec.field(default_factory=lambda: [0] * (len(SIZE_BOUNDS) + 1))


# What tells one request from another: its length and trace, and what a client's library says of its tries.
_OF_ONE_REQUEST = (
    b"x-request-id",
    b"traceparent",
    b"tracestate",
    b"content-length",
    b"idempotency-key",
    b"x-stainless-",
)


class Asked:
    """What a request asks for beside its body: equal to what another asks for if they may be sent as one.

    They have the same caller, model, priority and headers, but for those that tell one request from another. A batch
    is sent with those of its first request, and who is sent alone with its own.
    """

    __slots__ = ("_key", "question")

    def __init__(self, caller: str, question: ports.Question) -> None:
        self.question = question
        shared = frozenset(pair for pair in question.headers if not pair[0].startswith(_OF_ONE_REQUEST))
        self._key = (caller, question.model.name, question.priority, question.path, shared)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Asked) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


class Part:
    """One caller's part of an answer. Implements `ports.Answer`."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: RawHeaders, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body: bytes | None = body

    async def read(self) -> bytes:
        """Return nothing: the body is there."""
        return b""

    def close(self) -> None:
        """Do nothing: the upstream is done."""


class _Member:
    __slots__ = ("batch", "body", "future", "question", "target", "task")

    def __init__(self, batch: _Batch, target: Hashable, question: Question, body: bytes) -> None:
        self.batch = batch
        self.target = target
        self.question = question
        self.body = body
        self.future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # What is done for this one only.
        self.task: asyncio.Task[None] | None = None


class _Batch:
    __slots__ = ("items", "key", "members", "size_bytes", "target", "task", "timer")

    def __init__(self, key: Hashable, target: Any) -> None:
        self.key = key
        self.target = target
        self.members: list[_Member] = []
        self.items = 0
        self.size_bytes = 0
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None


class Batcher:
    """Collects requests and sends them with `send(target, body)`."""

    def __init__(self, options: settings.Batching, send: Send, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._max_answer_bytes = max_answer_bytes
        self._options = options
        self._send = send
        self._open: dict[Hashable, _Batch] = {}
        self.stats = Stats()

    async def embed(self, target: Hashable, body: bytes) -> Answer:
        """Answer a request. Only requests whose targets are equal are sent together."""
        question = embeddings.read(body) if self._options.enabled else None
        if question is None or len(question.items) >= self._options.max_size or len(body) >= self._options.max_bytes:
            self.stats.alone += 1
            return await self._send(target, body)
        member = self._join(target, question, body)
        try:
            return await member.future
        except BaseException:
            self._leave(member)
            raise

    def _join(self, target: Hashable, question: Question, body: bytes) -> _Member:
        key = (target, question.shape)
        batch = self._open.get(key)
        if batch is not None and not self._fits(batch, question, body):
            self._close(batch)
            batch = None
        if batch is None:
            batch = self._open[key] = _Batch(key, target)
            batch.timer = asyncio.get_running_loop().call_later(self._options.window, self._close, batch)
        member = _Member(batch, target, question, body)
        batch.members.append(member)
        batch.items += len(question.items)
        batch.size_bytes += len(body)
        if batch.items >= self._options.max_size:
            self._close(batch)
        return member

    def _fits(self, batch: _Batch, question: Question, body: bytes) -> bool:
        return (
            batch.items + len(question.items) <= self._options.max_size
            and batch.size_bytes + len(body) <= self._options.max_bytes
        )

    def _close(self, batch: _Batch) -> None:
        """Let nobody join any more, and send."""
        del self._open[batch.key]
        if batch.timer is not None:
            batch.timer.cancel()
        if len(batch.members) == 1:
            self.stats.alone += 1
            self._send_alone(batch.members[0])
        else:
            batch.task = asyncio.create_task(self._send_together(batch))

    def _leave(self, member: _Member) -> None:
        """Take one out that does not wait any more."""
        batch, future = member.batch, member.future
        if future.done() and not future.cancelled():
            if future.exception() is None:
                future.result().close()
            return
        if member.task is not None:
            member.task.cancel()
        batch.members.remove(member)
        if self._open.get(batch.key) is batch:
            batch.items -= len(member.question.items)
            batch.size_bytes -= len(member.body)
            if not batch.members:
                del self._open[batch.key]
                if batch.timer is not None:
                    batch.timer.cancel()
        elif batch.task is not None and not batch.members:
            batch.task.cancel()

    def _send_alone(self, member: _Member) -> None:
        member.task = asyncio.create_task(self._answer_alone(member))

    async def _answer_alone(self, member: _Member) -> None:
        try:
            answer = await self._send(member.target, member.body)
        except Exception as error:  # noqa: BLE001  (it is the caller's)
            _fail(member, error)
            return
        if member.future.done():
            answer.close()
        else:
            member.future.set_result(answer)

    async def _send_together(self, batch: _Batch) -> None:
        members = list(batch.members)
        questions = [member.question for member in members]
        self.stats.batches += 1
        self.stats.requests += len(members)
        inputs = sum(len(question.items) for question in questions)
        self.stats.inputs += inputs
        self.stats.sizes[bisect_left(SIZE_BOUNDS, inputs)] += 1
        try:
            answer = await self._send(batch.target, embeddings.merge(questions))
            parts = await self._parts(answer, questions)
        except Exception as error:  # noqa: BLE001  (it is the callers')
            for member in members:
                _fail(member, error)
            return
        if parts is None:
            self._send_each(members)
            return
        headers = [(name, value) for name, value in answer.headers if name.lower() != b"content-length"]
        for member, part in zip(members, parts, strict=True):
            if not member.future.done():
                member.future.set_result(Part(answer.status, headers, part))

    async def _parts(self, answer: Answer, questions: list[Question]) -> list[bytes] | None:
        """Return a body for each, or None if each is to be sent by itself."""
        body = await _whole(answer, self._max_answer_bytes)
        if body is None or answer.status in _ABOUT_AN_INPUT:
            return None
        if answer.status == 200:
            return embeddings.split(body, questions)
        return [body] * len(questions)

    def _send_each(self, members: list[_Member]) -> None:
        for member in members:
            if not member.future.done():
                self.stats.resent += 1
                self._send_alone(member)


def _fail(member: _Member, error: Exception) -> None:
    if not member.future.done():
        member.future.set_exception(error)


async def _whole(answer: Answer, max_bytes: int) -> bytes | None:
    """Read an answer's body; None if it is too large."""
    if answer.body is not None:
        return answer.body
    parts, size_bytes = [], 0
    try:
        while piece := await answer.read():
            parts.append(piece)
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                return None
        return b"".join(parts)
    finally:
        answer.close()
