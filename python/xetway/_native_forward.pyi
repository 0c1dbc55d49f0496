# ruff: noqa: PYI021 - the stub is where the documentation of compiled code lives
"""The part of `xetway._native` that forwards requests to upstreams, whatever they are.

There is no module of this name but for type checkers: import from `xetway._native`.

All forwarding is done by one thread, which never waits for the interpreter. What it has for an event
loop is told by one callback for all that has come. Failures are `xetway.errors.TransportError` or
`TransportTimeoutError`; `retryable` says that nothing of an answer had come, so that another upstream may
be asked. Their codes: `dns_failure`, `connect_failed`, `connect_timed_out`, `tls_untrusted`,
`upstream_busy`, `connection_reset` and `first_byte_timed_out` before an answer; `connection_cut`, `stalled`,
`timed_out`, `bad_answer` and `head_too_large` in it.
"""

from asyncio import Future
from collections.abc import Sequence
from typing import Literal, final

# forward

@final
class Upstream:
    """An HTTP server, and the connections to it. Usable from any thread; a fork makes its own connections.

    Args:
        url: `http://` or `https://`, host and port; a path is put before that of each request.
        http: Which version; HTTP/2 without TLS is spoken without asking.
        ca_bundle: Certificates to trust, in PEM form, instead of those of the system.
        headers: Of every request, such as the upstream's key; never shown. Each takes the place of what
            a request has of its name.
        max_connections: Most requests at once. Others wait for `connect_timeout_s`: `upstream_busy`.
        connect_timeout_s: Most time to connect, TLS included.

    Raises:
        ConfigError: `bad_setting`.
        FormatError: `bad_header`.
    """

    def __new__(
        cls,
        url: str,
        *,
        http: Literal["1.1", "2"] = "1.1",
        ca_bundle: bytes | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        max_connections: int = 1024,
        connect_timeout_s: float = 5.0,
    ) -> Upstream: ...
    @property
    def idle_connections(self) -> int:
        """How many connections are open and unused; for HTTP/1.1 only."""

@final
class Answer:
    """What an upstream answered. Dropping it before its body was read ends the connection."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers for the client, names in lower case; a new list each time.

        Those of the connection are left out, and `content-length` unless it is true.
        """

    @property
    def until_close(self) -> bool:
        """Whether just the end of the connection ends the body: then nothing proves that it is complete."""

    @property
    def body(self) -> bytes | None:
        """The whole body, if it has at most 256 KiB and says so, or ended at once; else None: `read` it."""

    @property
    def first_byte_s(self) -> float | None:
        """Seconds from `send` to the first byte of the body, or to the head of an answer that is whole."""

    @property
    def events(self) -> int:
        """Server-sent events that came so far: empty lines after another line."""

    @property
    def tail(self) -> bytes:
        """The last bytes of the body that came so far, at most 4 KiB."""

    def read(self) -> Future[bytes]:
        """Return what has come since the last call, at most 64 KiB; waits for something, b"" at the true end.

        No more than some 128 KiB wait here; then nothing is read from the upstream. Cancelling the future
        ends the connection: nothing will come any more.

        Raises:
            TransportError: the body ended too early or is none; what came before was returned before.
            StateError: `body` is there, another `read` waits, or the answer is closed.
        """

    def close(self) -> None:
        """End the connection at once: `read` raises StateError, unless the body had come to its end."""

@final
class Forwarder:
    """Sends requests."""

    def __new__(cls) -> Forwarder: ...
    def send(
        self,
        upstream: Upstream,
        method: str,
        path_and_query: bytes,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        *,
        extra: list[tuple[bytes, bytes]] | None = None,
        first_byte_timeout_s: float,
        idle_timeout_s: float,
        total_timeout_s: float,
    ) -> Future[Answer]:
        """Send a request; the future has its answer once the head is there, and a short body with it.

        Cancelling the future ends the connection. A kept connection that turns out to be dead before
        anything of an answer came is replaced once. Needs a running event loop.

        Args:
            upstream: Whom to ask.
            method: Any but CONNECT.
            path_and_query: Begins with a slash; the path of the upstream's address is put before it.
            headers: Those of the client. Left out: those of its connection, and what it named in
                `connection`; `host`, `content-length`, `expect`; `authorization`, `x-api-key`, `cookie`
                and `proxy-*`, which were for us.
            body: Sent with its length.
            extra: Headers to set besides; each takes the place of the client's of its name.
            first_byte_timeout_s: Most time to the head of the answer, once connected.
            idle_timeout_s: Most time between two pieces of the body.
            total_timeout_s: Most time for all of it.

        Raises:
            TransportError: no answer.
            FormatError: `bad_header`, at once: a header, the method or the path is not one.
        """
