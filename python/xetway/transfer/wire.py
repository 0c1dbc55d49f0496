"""The way out of this process: everything that `transfer` does on the network, as one port.

`Wire` is what the rest of the package needs, and what a test can stand in for. `NativeWire` is the real one: one
`_native.HttpClient`, with its limits for connections, bytes in flight and rate, shared by all that is done with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import msgspec

from xetway._native import __version__

if TYPE_CHECKING:
    from xetway._native import Credentials

Headers: TypeAlias = Sequence[tuple[str, str]]
# Content bytes written, bytes received, content bytes in all. Called in the event loop.
OnProgress: TypeAlias = Callable[[int, int, int], None]
MAX_ANSWER_BYTES = 64 * 1024 * 1024


class TransferOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to use the network. None leaves it to the client: concurrency then follows what gets through."""

    concurrency: int | None = None
    rate_limit_bytes_s: int | None = None
    ca_bundle: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """A whole answer; header names in lower case."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    url: str

    def header(self, name: str) -> str | None:
        """The first header of this name."""
        return next((value for key, value in self.headers if key == name), None)


class TokenRoute:
    """Where tokens for a repository's content come from. Holds a secret: its repr tells nothing."""

    __slots__ = ("headers", "url")

    def __init__(self, url: str, headers: Headers) -> None:
        self.url = url
        self.headers = tuple(headers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TokenRoute) and (self.url, self.headers) == (other.url, other.headers)

    def __hash__(self) -> int:
        return hash((self.url, self.headers))

    def __repr__(self) -> str:
        return "TokenRoute([redacted])"


class Digest(msgspec.Struct, frozen=True):
    """What a plain file is proven by: `sha256` or `git-sha1`, and the raw digest."""

    algorithm: str
    digest: bytes


class ByteSource(Protocol):
    """Bytes in order; b"" at the end."""

    def read(self) -> Awaitable[bytes]:
        """The next piece."""
        ...

    def close(self) -> None:
        """Stop."""
        ...


class Uploading(Protocol):
    """Content on its way to a content store; known there after `finish`."""

    def add_file(self, path: str, progress: OnProgress | None = None) -> Awaitable[tuple[object, int, bytes]]:
        """Cut, deduplicate and send a file: its xet hash, size and SHA-256."""
        ...

    def finish(self) -> Awaitable[tuple[int, int, int]]:
        """Make all of it known: new bytes, deduplicated bytes, xorbs."""
        ...


class Wire(Protocol):
    """All that goes over the network. Cancelling what is awaited stops the work itself."""

    async def request(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        attempts: int = 1,
        timeout_s: float = 30.0,
        max_body_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """One request, with the whole answer; redirects are not followed."""
        ...

    async def download_file(
        self,
        xet_hash: str,
        path: Path,
        tokens: TokenRoute,
        *,
        size: int | None = None,
        start: int = 0,
        end: int | None = None,
        resume: bool = True,
        progress: OnProgress | None = None,
    ) -> tuple[int, int, int]:
        """Rebuild a file, or a part of it: size, bytes received, bytes that were there already."""
        ...

    async def download_plain(
        self,
        url: str,
        headers: Headers,
        path: Path,
        *,
        size: int | None = None,
        digest: Digest | None = None,
        resume: bool = True,
        progress: OnProgress | None = None,
    ) -> tuple[int, int, int]:
        """Fetch a file as it is; as `download_file`."""
        ...

    def open_download(
        self, xet_hash: str, tokens: TokenRoute, *, size: int | None = None, start: int = 0, end: int | None = None
    ) -> Awaitable[ByteSource]:
        """Rebuild a file, or a part of it, as bytes in order."""
        ...

    def uploader(self, tokens: TokenRoute) -> Uploading:
        """Start an upload."""
        ...


class NativeWire:
    """The network, by way of the compiled client."""

    def __init__(self, options: TransferOptions | None = None) -> None:
        from xetway._native import HttpClient  # noqa: PLC0415  (a process that only hashes needs no client)

        options = options or TransferOptions()
        self._http = HttpClient(
            user_agent=f"xetway/{__version__}",
            ca_bundle=options.ca_bundle,
            concurrency=options.concurrency,
            rate_limit_bytes_s=options.rate_limit_bytes_s,
        )
        self._known: dict[TokenRoute, Credentials] = {}

    def _credentials(self, tokens: TokenRoute) -> Credentials:
        """One per route: a token serves all files until it expires."""
        from xetway._native import Credentials  # noqa: PLC0415

        if tokens not in self._known:
            self._known[tokens] = Credentials.refresh(tokens.url, tokens.headers)
        return self._known[tokens]

    async def request(
        self,
        method: str,
        url: str,
        headers: Headers = (),
        body: bytes = b"",
        *,
        attempts: int = 1,
        timeout_s: float = 30.0,
        max_body_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """As `Wire.request`."""
        answer = await self._http.request(
            method, url, headers, body, attempts=attempts, timeout_s=timeout_s, max_body_bytes=max_body_bytes
        )
        return Answer(*answer)

    async def download_file(
        self,
        xet_hash: str,
        path: Path,
        tokens: TokenRoute,
        *,
        size: int | None = None,
        start: int = 0,
        end: int | None = None,
        resume: bool = True,
        progress: OnProgress | None = None,
    ) -> tuple[int, int, int]:
        """As `Wire.download_file`."""
        from xetway._native import Hash, download_file  # noqa: PLC0415

        return await download_file(
            self._http,
            Hash(xet_hash),
            str(path),
            self._credentials(tokens),
            size=size,
            start=start,
            end=end,
            resume=resume,
            progress=progress,
        )

    async def download_plain(
        self,
        url: str,
        headers: Headers,
        path: Path,
        *,
        size: int | None = None,
        digest: Digest | None = None,
        resume: bool = True,
        progress: OnProgress | None = None,
    ) -> tuple[int, int, int]:
        """As `Wire.download_plain`."""
        from xetway._native import download_plain  # noqa: PLC0415

        return await download_plain(
            self._http,
            url,
            headers,
            str(path),
            size=size,
            algorithm=None if digest is None else digest.algorithm,
            digest=None if digest is None else digest.digest,
            resume=resume,
            progress=progress,
        )

    def open_download(
        self, xet_hash: str, tokens: TokenRoute, *, size: int | None = None, start: int = 0, end: int | None = None
    ) -> Awaitable[ByteSource]:
        """As `Wire.open_download`."""
        from xetway._native import Hash, open_download  # noqa: PLC0415

        return open_download(self._http, Hash(xet_hash), self._credentials(tokens), size=size, start=start, end=end)

    def uploader(self, tokens: TokenRoute) -> Uploading:
        """As `Wire.uploader`."""
        from xetway._native import Uploader  # noqa: PLC0415

        return Uploader(self._http, self._credentials(tokens))
