"""What requests tell of themselves to who follows them over several servers, as small Protocols.

`xetway.telemetry` has the adapter; without one nothing is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from xetway.http.request import Request


class Attempt(Protocol):
    """A request to another server, on behalf of one that came here."""

    @property
    def traceparent(self) -> bytes:
        """What the other server is told in the header of this name."""
        ...

    def end(self, status: int, error: str | None = None) -> None:
        """Tell that it is over; `error` is a code if there was no answer. Once counts."""
        ...


class Trace(Protocol):
    """A request that came here."""

    def attempt(self, model: str, upstream: str) -> Attempt:
        """Begin a request to an upstream of a model."""
        ...

    def end(self, request: Request, status: int, *, failed: bool) -> None:
        """Tell that it is over, with what was noted of it; its attempts end with it."""
        ...


# None for requests that nobody wants to follow.
Tracer: TypeAlias = Callable[["Request"], Trace | None]
