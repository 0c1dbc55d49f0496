"""Getting an answer from an upstream: a slot, a model that runs, one target after the other.

What is held meanwhile belongs to the answer: it is given back when the answer has been read, is closed, or is dropped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from xetway.errors import TransportError
from xetway.http.tracing import Attempt
from xetway.policy.queue import Lease as Slot
from xetway.policy.queue import Queue
from xetway.ports import Answer, Lease, Question, Runtime, Target
from xetway.settings.gateway import Model

# Another upstream may do better; the last one's answer is passed on.
_TRY_ANOTHER = frozenset({429, 502, 503, 504})


class Watcher(Protocol):
    """Told of each try at an upstream; `error` if there was no answer."""

    def tried(self, model: Model, target: Target, status: int, error: TransportError | None) -> None:
        """Count it."""
        ...


class Held:
    """An answer that is to be read, and what it holds until then."""

    __slots__ = ("_answer", "_attempt", "_release", "body", "headers", "status")

    def __init__(self, answer: Answer, release: Callable[[], None], attempt: Attempt | None = None) -> None:
        self._answer = answer
        self._attempt = attempt
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.body
        self._release: Callable[[], None] | None = release

    def __del__(self) -> None:
        self._let_go()

    async def read(self) -> bytes:
        """Return what has come since; see `ports.Answer`."""
        try:
            piece = await self._answer.read()
        except TransportError as error:
            self._answer.close()
            self._let_go(error.code)
            raise
        except BaseException:
            self.close()
            raise
        if not piece:
            self._let_go()
        return piece

    def close(self) -> None:
        """End it."""
        self._answer.close()
        self._let_go()

    def _let_go(self, error: str | None = None) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()
            if self._attempt is not None:
                self._attempt.end(self.status, error)


class Asker:
    """Asks upstreams."""

    def __init__(self, runtime: Runtime, queue: Queue, watcher: Watcher) -> None:
        self._runtime = runtime
        self._queue = queue
        self._watcher = watcher

    async def ask(self, question: Question) -> Answer:
        """Return the first answer that is worth passing on, or the last there is.

        Raises:
            BusyError: No slot in time, or no upstream that may be tried.
            TransportError: No upstream answered.
        """
        model = question.model
        slot = self._queue.take(model.name, model.concurrency)
        if slot is None:
            slot = await self._queue.slot(model.name, model.concurrency, question.priority)
            question.notes["queue_ms"] = round(slot.waited_s * 1000, 3)
        try:
            lease = await self._runtime.lease(model)
        except BaseException:
            slot.release()
            raise
        try:
            answer, attempt = await self._try_all(question, lease)
        except BaseException:
            _release(slot, lease)
            raise
        if answer.body is not None:
            _release(slot, lease)
            if attempt is not None:
                attempt.end(answer.status)
            return answer
        return Held(answer, lambda: _release(slot, lease), attempt)

    async def _try_all(self, question: Question, lease: Lease) -> tuple[Answer, Attempt | None]:
        tries = len(lease.targets)
        if question.model.retries is not None:
            tries = min(tries, question.model.retries + 1)
        for left, target in zip(range(tries - 1, -1, -1), lease.targets, strict=False):
            question.notes["upstream"] = target.name
            attempt, asked = _begin(question, target)
            try:
                answer = await target.send(asked)
            except TransportError as error:
                if attempt is not None:
                    attempt.end(0, error.code)
                self._watcher.tried(question.model, target, 0, error)
                if not left or not error.retryable:
                    raise
                continue
            self._watcher.tried(question.model, target, answer.status, None)
            if not left or answer.status not in _TRY_ANOTHER:
                return answer, attempt
            answer.close()
            if attempt is not None:
                attempt.end(answer.status)
        raise AssertionError("a lease has a target")


def _begin(question: Question, target: Target) -> tuple[Attempt | None, Question]:
    """Have the upstream told which request it works for, if somebody follows them."""
    if question.trace is None:
        return None, question
    attempt = question.trace.attempt(question.model.name, target.name)
    headers = [pair for pair in question.headers if pair[0] != b"traceparent"]
    headers.append((b"traceparent", attempt.traceparent))
    return attempt, msgspec.structs.replace(question, headers=headers)


def _release(slot: Slot, lease: Lease) -> None:
    lease.release()
    slot.release()
