"""The seams of the gateway: what a part needs of another, as small Protocols.

Adapters live beside what they adapt to.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, Protocol, TypeAlias

from msgspec import Struct, field

from xetway.http.tracing import Trace
from xetway.policy.caller import Caller
from xetway.settings.gateway import Model, Priority

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]


class Answer(Protocol):
    """An upstream's answer: its head is there, and its body if that is short."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> RawHeaders:
        """What the client may see of its headers, names in lower case."""
        ...

    @property
    def body(self) -> bytes | None:
        """The whole body, or None if it is to be read."""
        ...

    def read(self) -> Awaitable[bytes]:
        """Return what has come since, nothing at the end.

        Raises:
            TransportError: It broke off.
        """
        ...

    def close(self) -> None:
        """Tell the upstream that nobody wants the rest."""
        ...


class Question(Struct, frozen=True):
    """What is asked of a model.

    `path` is what comes after /v1, with the query. `headers` are the client's; `own` take the place of those of their
    names, and of no client's `Connection` are left out. Of a body that is no JSON object but a form, only the model's
    name is ever edited.
    """

    model: Model
    method: str
    path: bytes
    headers: RawHeaders
    body: bytes
    is_json: bool = True
    priority: Priority = "normal"
    # Where it is written down for the log whom it went to, and how long it waited.
    notes: dict[str, Any] = field(default_factory=dict)
    trace: Trace | None = None
    own: RawHeaders = []


class Target(Protocol):
    """One server that can answer for a model."""

    @property
    def name(self) -> str:
        """What logs and metrics call it; no secret."""
        ...

    async def send(self, question: Question) -> Answer:
        """Ask it.

        Raises:
            TransportError: It failed before the first byte of an answer, or may not be tried now.
        """
        ...


class Lease(Protocol):
    """The right to use a model that runs: while it is held nothing stops the model on purpose."""

    @property
    def targets(self) -> Sequence[Target]:
        """Who can answer, in the order to try them."""
        ...

    def release(self) -> None:
        """Give it back; once more does nothing."""
        ...


class Runtime(Protocol):
    """Sees to it that models run, here or elsewhere."""

    async def lease(self, model: Model) -> Lease:
        """Wait until the model runs.

        Raises:
            BusyError: It does not, or nothing that answers for it is to be tried now.
        """
        ...


class Catalog(Protocol):
    """Which models there are."""

    @property
    def models(self) -> Sequence[Model]:
        """All of them, in the order they are listed."""
        ...

    def find(self, name: str) -> Model:
        """Return the model of this name, alias or number.

        Raises:
            NotFoundError: `model_not_found`.
        """
        ...


class Storage(Protocol):
    """Where answers are kept; it may forget any of them. If it cannot be reached it has nothing, and does not raise."""

    async def get(self, key: bytes) -> bytes | None:
        """Return what was put there, if its time is not over."""
        ...

    async def put(self, key: bytes, value: bytes, ttl_s: float) -> None:
        """Keep a value for so many seconds, in place of one that is there."""
        ...

    async def delete(self, prefix: bytes) -> bool:
        """Forget all keys that begin so; nothing stands for all there are. False if it could not be reached."""
        ...


class Grant(Protocol):
    """What a request has taken of its limits."""

    def headers(self) -> list[tuple[str, str]]:
        """Return what the client is told of its limits, names in lower case."""
        ...

    def finish(self, tokens_used: int | None = None) -> None:
        """Settle the tokens and let the next in. Has to be called, whatever becomes of the request; once counts.

        None: it is not known how many tokens were used, so the estimate holds. 0: nobody has worked for the request.
        """
        ...


class Limiter(Protocol):
    """Decides whether a request is within its limits: at once, or when a server far away has been asked."""

    def take(self, caller: Caller, model: Model, estimated_tokens: int = 0) -> Grant | Awaitable[Grant]:
        """Take one request, and its tokens as far as they are known.

        Raises:
            LimitedError: A limit is reached; nothing was taken.
        """
        ...


class LimitTable(Protocol):
    """What is taken, for all workers of a machine: `xetway._native.SharedTable`, where each method is described."""

    def name(self, text: str) -> int:
        """Return the hash of a name."""
        ...

    def take(
        self, name: int, cost: int, interval_ns: int, tolerance_ns: int, now_ns: int
    ) -> tuple[bool, int, int, int]:
        """Take units, all or none."""
        ...

    def refund(self, name: int, cost: int, interval_ns: int, now_ns: int) -> None:
        """Give units back."""
        ...

    def charge(self, name: int, cost: int, interval_ns: int, now_ns: int) -> None:
        """Take units that were used already."""
        ...

    def enter(self, name: int, worker: int, limit: int, now_ns: int) -> int | None:
        """Enter a gate, if it is not full."""
        ...

    def leave(self, gate: int, worker: int) -> None:
        """Leave a gate."""
        ...


class WordTable(Protocol):
    """Words that all workers of a machine see: `xetway._native.SharedTable`, where each method is described."""

    def word(self, index: int) -> int:
        """Return a word."""
        ...

    def swap_word(self, index: int, expected: int, new: int) -> bool:
        """Change a word, if it is what is expected."""
        ...


class NameTable(WordTable, Protocol):
    """Words that are found by names."""

    def name(self, text: str) -> int:
        """Return the hash of a name, which is not 0."""
        ...
