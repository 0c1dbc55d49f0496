"""What the mirror needs of the compiled part, as types: tests put something simple in its place.

The classes of `xetway._native` fit these; what each method does is said there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from xetway._native import Hash
from xetway.xet.plan import NativePlan

Headers: TypeAlias = Sequence[tuple[str, str]]
RawAnswer: TypeAlias = tuple[int, list[tuple[str, str]], bytes, str]
Algorithm: TypeAlias = Literal["sha256", "git-sha1"]
PlanTerms: TypeAlias = Any
# Size, generation, and the three parts of a native plan.
MirrorPlan: TypeAlias = tuple[int, int, int, PlanTerms, PlanTerms]


class Http(Protocol):
    """Requests with a small answer."""

    def request(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        attempts: int = 1,
        timeout_s: float = 30.0,
        max_body_bytes: int = 67_108_864,
        follow: bool = False,
    ) -> Awaitable[RawAnswer]:
        """Send a request; status, headers (names in lower case), body, final address."""
        ...

    def stats(self) -> dict[str, int]:
        """Counters."""
        ...


class ByteStream(Protocol):
    """Content on its way."""

    @property
    def proven(self) -> bool:
        """Whether all of it was proven when it was opened."""
        ...

    def read_parts(self) -> Awaitable[list[bytes]]:
        """The next piece, nothing at the end."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class CredentialsMaker(Protocol):
    """Makes what opens an upstream's content store; the values are opaque."""

    def fixed(self, cas_url: str, token: str) -> Any:
        """A token that is there already."""
        ...

    def refresh(self, url: str, headers: Headers) -> Any:
        """Tokens that are asked for when they are needed."""
        ...


class Content(Protocol):
    """The cache of content, and the way to what it lacks."""

    def plan(
        self, file: Hash, size: int | None, start: int, end: int | None, credentials: Any
    ) -> Awaitable[MirrorPlan | None]:
        """How bytes [start, end) of a file of `size` bytes are put together; None when `start` is past the end."""
        ...

    def open_xorb(
        self, file: Hash, generation: int, xorb: Hash, start: int, end: int, session: str | None
    ) -> Awaitable[ByteStream]:
        """Serialized bytes [start, end) of a xorb that `file` uses."""
        ...

    def open_file(self, file: Hash, size: int, start: int, end: int, credentials: Any) -> Awaitable[ByteStream]:
        """Content bytes [start, end) of a file of `size` bytes."""
        ...

    def open_plain(
        self,
        algorithm: Algorithm,
        digest: bytes,
        size: int,
        start: int,
        end: int,
        url: str | None,
        headers: Headers = (),
    ) -> Awaitable[ByteStream]:
        """Bytes [start, end) of a file that is not in xorbs."""
        ...

    def prefetch(
        self, file: Hash, size: int, credentials: Any, progress: Callable[[int, int], None] | None = None
    ) -> Awaitable[None]:
        """Hold all of a file, proven."""
        ...

    def prefetch_plain(
        self,
        algorithm: Algorithm,
        digest: bytes,
        size: int,
        url: str | None,
        headers: Headers = (),
        progress: Callable[[int, int], None] | None = None,
    ) -> Awaitable[None]:
        """Hold all of a file that is not in xorbs, proven."""
        ...

    def known(self, file: Hash) -> tuple[int, int, bool] | None:
        """Size, bytes held, whether proven. Blocking."""
        ...

    def known_plain(self, algorithm: Algorithm, digest: bytes, size: int) -> tuple[int, bool]:
        """Bytes held, whether proven. Blocking."""
        ...

    def stats(self) -> dict[str, int]:
        """Counters."""
        ...

    def take_damage(self) -> list[str]:
        """What was found damaged on disk since this was last asked."""
        ...

    def close(self) -> None:
        """Let go of the folder."""
        ...


class Seal(Protocol):
    """Authenticated encryption under a key, for one purpose (`label`)."""

    def __call__(self, key: bytes, label: bytes, plain: bytes) -> bytes:
        """Encrypt."""
        ...


class Unseal(Protocol):
    """The way back."""

    def __call__(self, key: bytes, label: bytes, sealed: bytes) -> bytes | None:
        """Decrypt; None for what was not sealed with this key and label."""
        ...


class Native:
    """The compiled part, as one thing to hand over."""

    def __init__(self, http: Http, content: Content, credentials: CredentialsMaker, seal: Seal, unseal: Unseal) -> None:
        self.http = http
        self.content = content
        self.credentials = credentials
        self.seal = seal
        self.unseal = unseal


__all__ = ["Algorithm", "ByteStream", "Content", "Headers", "Http", "MirrorPlan", "Native", "NativePlan", "RawAnswer"]
