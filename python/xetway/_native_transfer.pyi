# ruff: noqa: PYI021 - the stub is where the documentation of compiled code lives
"""The part of `xetway._native` that transfers: clients of the network, the mirror, its cache.

There is no module of this name but for type checkers: import from `xetway._native`.

Functions that return a `Future` need a running event loop and return at once; the work is done by
threads of this module, and cancelling the future stops it. They raise `xetway.errors.TransportError`
when the network fails, `RemoteError` when the other side refuses. `progress` functions are called in
the event loop, at most some twenty times per second and once with the last state; what they raise
goes to the loop's exception handler.
"""

import os
from asyncio import Future
from collections.abc import Callable, Sequence
from typing import Literal, final

from typing_extensions import Buffer

from xetway._native import Hash

# http

@final
class HttpClient:
    """Connections, trust, proxies, limits and counters that transfers share. Usable from any thread.

    Certificates: those of the system, of `SSL_CERT_FILE`, `SSL_CERT_DIR` and `REQUESTS_CA_BUNDLE`, and
    `ca_bundle`. Proxies: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`. After a fork the child
    makes connections of its own.

    Args:
        user_agent: The User-Agent of every request.
        ca_bundle: A PEM file of certificates to trust besides the others.
        concurrency: Bodies read at a time; if not given, it follows what gets through.
        rate_limit_bytes_s: Most bytes received per second, over all transfers.
        max_in_flight_bytes: Most bytes that downloads hold in memory.
        connect_timeout_s: Most time to connect.
        stall_window_s: A body that brings fewer than `stall_min_bytes` in this time is asked for again.
        stall_min_bytes: See `stall_window_s`.
        attempts: Tries of each part of a transfer before its failure is final.
        connect_attempts: Tries while none connects to the host, if fewer than `attempts`. Does not
            concern the ranges of xorbs.
        retry_base_s: Longest pause before the second try; it doubles with each.

    Raises:
        ConfigError: `bad_setting`: an argument, a certificate file or a proxy cannot be used.
    """

    def __new__(
        cls,
        *,
        user_agent: str,
        ca_bundle: str | os.PathLike[str] | None = None,
        concurrency: int | None = None,
        rate_limit_bytes_s: int | None = None,
        max_in_flight_bytes: int = 134217728,
        connect_timeout_s: float = 10.0,
        stall_window_s: float = 30.0,
        stall_min_bytes: int = 65_536,
        attempts: int = 6,
        connect_attempts: int | None = None,
        retry_base_s: float = 0.5,
    ) -> HttpClient: ...
    def request(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]] = (),
        body: Buffer = b"",
        *,
        attempts: int = 1,
        timeout_s: float = 30.0,
        max_body_bytes: int = 67_108_864,
        follow: bool = False,
    ) -> Future[tuple[int, list[tuple[str, str]], bytes, str]]:
        """Send a request and wait for the whole answer, whatever its status.

        Sent again, up to `attempts` in all, after failures of the network and the statuses 408, 429
        and 5xx but 501. With `follow`, redirects to the same scheme, host and port are followed.

        Returns:
            Status, headers (names in lower case), body, and the address that answered.

        Raises:
            TransportError: no answer; the last failure is the one told.
            ConfigError: the method, address or a header is not one.
        """

    def stats(self) -> dict[str, int]:
        """Return counters since the client was made, and how many bodies are read and may be."""

@final
class Credentials:
    """What opens a content store. Opaque. Use one for all that it opens: it keeps the token it got."""

    @staticmethod
    def fixed(cas_url: str, token: str) -> Credentials:
        """Wrap a token that is there already, and the address of the store that takes it."""

    @staticmethod
    def refresh(url: str, headers: Sequence[tuple[str, str]]) -> Credentials:
        """Name the route of a Hub that gives tokens; it is asked when one is needed."""

# stream

@final
class ByteStream:
    """Bytes in order, in pieces, as they arrive."""

    def read(self) -> Future[bytes]:
        """Return the next piece, at most 1 MiB; b"" at the end.

        Cancelling a read closes the stream. After an error there are no more bytes.

        Raises:
            StateError: after `close` or an error, and at once if another read has not ended.
            UpstreamIntegrityError: the content is wrong; its last piece is not returned.
            ContentChangedError: pieces returned before were wrong.
        """

    def read_parts(self) -> Future[list[bytes]]:
        """Return the next piece in parts of 64 to 256 KiB; [] at the end.

        The fewer transfers there are, the longer a piece, as `ByteReader.read_parts`. Raises as `read`.
        """

    def close(self) -> None:
        """Stop, now. Never fails."""

    @property
    def remaining(self) -> int:
        """Bytes still to come."""

    @property
    def proven(self) -> bool:
        """Whether all bytes were proven when the stream was opened."""

# mirror

@final
class Mirror:
    """Content of another Hub, fetched when it is first asked for and kept on disk, verified.

    Usable from any thread of the process that made it. Making one is blocking.

    Args:
        http: What it fetches with.
        root: The folder.
        max_bytes: Most bytes kept on disk.
        min_free_bytes: Bytes of the disk to leave free.

    Raises:
        ConfigError: `cache_in_use`: another process serves from the folder.
    """

    def __new__(
        cls,
        http: HttpClient,
        root: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        min_free_bytes: int = 1073741824,
    ) -> Mirror: ...
    def plan(
        self, file: Hash, size: int | None, start: int, end: int | None, credentials: Credentials | None
    ) -> Future[
        tuple[int, int, int, list[tuple[Hash, int, int, int]], list[tuple[Hash, list[tuple[int, int, int, int]]]]]
        | None
    ]:
        """Plan the reconstruction of content bytes [start, end), or to the end of the file.

        Without credentials only what is known is used.

        Args:
            file: The file.
            size: Bytes that the file is said to have, if anything is said.
            start: First byte.
            end: One past the last byte.
            credentials: What opens the store.

        Returns:
            Size of the file, its generation, and the parts of `XorbStore.plan`; None if `start` is
            past the end.

        Raises:
            NotCachedError: not known, and no credentials.
            RemoteError: the store refuses the file.
            UpstreamIntegrityError: the file has not `size` bytes.
        """

    def open_xorb(
        self, file: Hash, generation: int, xorb: Hash, start: int, end: int, session: str | None
    ) -> Future[ByteStream]:
        """Read serialized bytes [start, end) of a xorb, as a plan of `file` named them.

        Args:
            file: The file.
            generation: That of the plan.
            xorb: A xorb of the plan.
            start: First byte.
            end: One past the last byte.
            session: What tells the transfers of one client from others, if it says so.

        Raises:
            PlanLostError: the file has to be planned again.
            ContentChangedError: bytes sent before were wrong.
        """

    def open_file(
        self, file: Hash, size: int, start: int, end: int, credentials: Credentials | None
    ) -> Future[ByteStream]:
        """Read content bytes [start, end) of a file of `size` bytes. Without credentials only what is held is read.

        Raises:
            NotCachedError: not held, and no credentials.
            UpstreamIntegrityError: the file has not `size` bytes.
        """

    def open_plain(
        self,
        algorithm: Literal["sha256", "git-sha1"],
        digest: Buffer,
        size: int,
        start: int,
        end: int,
        url: str | None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> Future[ByteStream]:
        """Read bytes [start, end) of a file that is not in xorbs; fetched from `url` if not held.

        Raises:
            NotCachedError: not held, and no `url`.
            FormatError: `bad_digest`.
        """

    def prefetch(
        self,
        file: Hash,
        size: int,
        credentials: Credentials | None,
        progress: Callable[[int, int], object] | None = None,
    ) -> Future[None]:
        """Hold all of a file of `size` bytes, proven. `progress` is given bytes held and bytes in all.

        Raises: as `open_file`.
        """

    def prefetch_plain(
        self,
        algorithm: Literal["sha256", "git-sha1"],
        digest: Buffer,
        size: int,
        url: str | None,
        headers: Sequence[tuple[str, str]] = (),
        progress: Callable[[int, int], object] | None = None,
    ) -> Future[None]:
        """Hold all of a file that is not in xorbs, proven."""

    def known(self, file: Hash) -> tuple[int, int, bool] | None:
        """Return a file's size, how many bytes of it are held, whether it is proven. Blocking."""

    def known_plain(self, algorithm: Literal["sha256", "git-sha1"], digest: Buffer, size: int) -> tuple[int, bool]:
        """Return how many bytes of a plain file are held, and whether it is proven. Blocking."""

    def stats(self) -> dict[str, int]:
        """Return counters since the mirror was made, and what the cache holds."""

    def take_damage(self) -> list[str]:
        """Return what reading found damaged on disk, and dropped, since this was last asked; up to a bound."""

    def close(self) -> None:
        """Let go of the folder, once the streams in use have ended."""

# cache

@final
class Cache:
    """The cache folder of a mirror, for looking into it beside the server that uses it. Blocking.

    Args:
        root: The folder; it is made if there is none.
    """

    def __new__(cls, root: str | os.PathLike[str]) -> Cache: ...
    def entries(self) -> list[tuple[str, str, int, int, int, int]]:
        """List what is held.

        Returns:
            Kind (`xorb` or `plain`), name, bytes on disk, when it was last used (s since 1970), chunks
            held, and how many of them are proven.
        """

    def verify(self, on_damage: Callable[[str, str, str], object]) -> tuple[int, int, int, int, int]:
        """Check all bytes against their hashes, and remove what is damaged.

        Args:
            on_damage: Called with kind, name and what is wrong, as it is found.

        Returns:
            Xorbs, plain files and plans checked, bytes checked, how many of them were damaged.
        """

    def prune(self, max_bytes: int) -> tuple[int, int]:
        """Remove what was not used for the longest time until `max_bytes` are left.

        Returns:
            Entries removed, bytes made free.
        """

    def remove(self, names: set[str]) -> tuple[int, int]:
        """Remove the xorbs and plain files of these names.

        Returns:
            Entries removed, bytes made free.
        """

    def holding(self, file: Hash) -> tuple[int, list[str]] | None:
        """Say what is held of a file that is made of chunks.

        Returns:
            Bytes of it that are held, and the names of its xorbs, held or not; None if its plan is not known.
        """

    def usage(self) -> tuple[int, int | None, int, int, int]:
        """Return bytes on disk, the limit on them, bytes free on the disk, xorbs, plain files."""

# transfer

def download_file(
    http: HttpClient,
    file: Hash,
    path: str | os.PathLike[str],
    credentials: Credentials,
    *,
    size: int | None = None,
    start: int = 0,
    end: int | None = None,
    resume: bool = True,
    progress: Callable[[int, int, int], object] | None = None,
) -> Future[tuple[int, int, int]]:
    """Rebuild a file, or content bytes [start, end) of it, at `path`.

    What is there of an earlier try is used if `resume`. Nothing is at `path` before all is there and,
    of a whole file, proven. `progress` is given bytes written, bytes received, and bytes to write.

    Returns:
        Bytes at `path`, bytes received, bytes that an earlier try had left.

    Raises:
        UpstreamIntegrityError: the content is not that of `file`.
        RemoteError: the store refuses.
    """

def download_plain(
    http: HttpClient,
    url: str,
    headers: Sequence[tuple[str, str]],
    path: str | os.PathLike[str],
    *,
    size: int | None,
    algorithm: str | None,
    digest: Buffer | None,
    resume: bool = True,
    progress: Callable[[int, int, int], object] | None = None,
) -> Future[tuple[int, int, int]]:
    """Fetch a file as it is; as `download_file`, proven by `digest` of `algorithm` if they are given.

    `algorithm` is `sha256`, or `git-sha1` for git's blob SHA-1.
    """

def open_download(
    http: HttpClient,
    file: Hash,
    credentials: Credentials,
    *,
    size: int | None = None,
    start: int = 0,
    end: int | None = None,
) -> Future[ByteStream]:
    """Rebuild a file, or content bytes [start, end) of it, as bytes in order.

    Of a whole file the last piece is returned only when its hash agrees.
    """

@final
class Uploader:
    """Content on its way to a store: cut into chunks, deduplicated, packed and sent. One call at a time."""

    def __new__(cls, http: HttpClient, credentials: Credentials) -> Uploader: ...
    def add_file(
        self, path: str | os.PathLike[str], progress: Callable[[int, int, int], object] | None = None
    ) -> Future[tuple[Hash, int, bytes]]:
        """Send what the store lacks of a file; returns its hash, size and SHA-256.

        `progress` is given bytes read, bytes sent, and bytes in all.

        Raises:
            StateError: after `finish`, an error or a cancelled call, and at once if another call has not ended.
        """

    def finish(self) -> Future[tuple[int, int, int]]:
        """Make all files known to the store; returns new bytes, bytes it had already, new xorbs."""
