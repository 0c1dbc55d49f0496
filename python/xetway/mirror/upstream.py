"""Questions to the upstream Hub: addresses, headers, one attempt or two, and whether it is down.

It keeps nothing. What the upstream answers, refusals too, is returned; only what is no answer is raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit

import msgspec

from xetway.errors import RequestError
from xetway.mirror.callers import Caller
from xetway.mirror.counters import Counters
from xetway.mirror.ports import Http

MAX_ANSWER_BYTES = 64 * 1024 * 1024
# Clients wait 10 s for an answer about a file; past this, what is kept is still in time to be of use.
TIMEOUT_S = 20.0
TIMEOUT_WITH_KEPT_S = 6.0
# After a failure to reach it, the upstream is left alone for so long by those that have another answer.
REST_S = 5.0
MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Its troubles, not the caller's: an answer that is kept is better.
TROUBLE = frozenset({408, 425, 429, 500, 502, 503, 504, 508, 520, 521, 522, 523, 524, 529})


class Answer(msgspec.Struct, frozen=True):
    """What the upstream said. Names of headers in lower case, repeated ones joined."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str


class Upstream:
    """The Hub that is mirrored.

    Args:
        http: Sends requests.
        url: The address of the Hub, without a slash at its end.
        offline: Never ask it anything.
    """

    def __init__(
        self,
        http: Http,
        url: str,
        *,
        offline: bool = False,
        counters: Counters | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self.url = url
        self.offline = offline
        self._counters = counters or Counters()
        self._monotonic = monotonic
        self._rest_until = 0.0
        parts = urlsplit(url)
        self._origin = (parts.scheme, parts.netloc.lower())
        self._base_path = parts.path

    @property
    def is_down(self) -> bool:
        """Whether it could not be reached a moment ago."""
        return self._monotonic() < self._rest_until

    async def ask(
        self,
        caller: Caller,
        method: str,
        target: str,
        *,
        body: bytes = b"",
        headers: tuple[tuple[str, str], ...] = (),
        has_kept: bool = False,
        follow: bool = True,
    ) -> Answer:
        """Ask for `target`, a path (and query) below the Hub's address; redirects within its origin are followed.

        `has_kept` says that another answer is at hand, so that it is not worth waiting long.

        Raises:
            ConnectionError: it cannot be reached, or TimeoutError: it does not answer (both `TransportError`).
            RequestError: `not_cached` when offline.
        """
        if self.offline:
            raise not_cached(f"{method} {target.partition('?')[0]}")
        try:
            answer = await self._send(
                method,
                self.url + target,
                [*caller.headers(), ("accept-encoding", "identity"), *headers],
                body,
                attempts=1 if has_kept else 2,
                timeout_s=TIMEOUT_WITH_KEPT_S if has_kept else TIMEOUT_S,
                follow=follow,
            )
        except (ConnectionError, TimeoutError) as error:
            self._counters.add("upstream_unreachable")
            # What answers too much is there.
            if getattr(error, "code", "") != "bad_answer":
                self._rest_until = self._monotonic() + REST_S
            raise
        self._rest_until = 0.0
        return answer

    async def ask_elsewhere(
        self, method: str, url: str, headers: tuple[tuple[str, str], ...] = (), *, base: str | None = None
    ) -> Answer:
        """Ask at an address that the upstream gave, without the caller's token; raises as `ask`.

        Relative addresses are taken from `base`, the address that gave them. Other hosts that cannot be reached say
        nothing about the upstream.
        """
        try:
            address = urljoin(base or self.url, url)
            scheme = urlsplit(address).scheme
        except ValueError:
            address = scheme = ""
        if scheme not in {"http", "https"}:
            raise bad_answer("an address that leads nowhere")
        return await self._send(method, address, list(headers), b"", attempts=2, timeout_s=TIMEOUT_S, follow=True)

    async def _send(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        *,
        attempts: int,
        timeout_s: float,
        follow: bool,
    ) -> Answer:
        self._counters.add("upstream_requests", method)
        status, pairs, content, final = await self._http.request(
            method,
            url,
            headers,
            body,
            attempts=attempts,
            timeout_s=timeout_s,
            max_body_bytes=MAX_ANSWER_BYTES,
            follow=follow,
        )
        joined: dict[str, str] = {}
        for name, value in pairs:
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
        return Answer(status, joined, content, final)

    def below(self, url: str, base: str | None = None) -> str | None:
        """Return the path and query of an address below the Hub's own, None if it leads elsewhere.

        Relative addresses are taken from `base`, the address that gave them.
        """
        try:
            parts = urlsplit(urljoin(base or self.url, url))
        except ValueError:
            return None
        inside = parts.path == self._base_path or parts.path.startswith(self._base_path + "/")
        if (parts.scheme, parts.netloc.lower()) != self._origin or not inside:
            return None
        path = parts.path.removeprefix(self._base_path) or "/"
        return f"{path}?{parts.query}" if parts.query else path


def bad_answer(what: str) -> RequestError:
    """The error for an answer that no Hub gives."""
    return RequestError(f"the upstream's answer cannot be used: {what}", code="bad_upstream_answer", status=502)


def not_cached(what: str) -> RequestError:
    """The refusal of what is not here while the upstream may not be asked."""
    return RequestError(
        f"not cached: {what} was never fetched through this mirror, which is offline (--offline)",
        code="not_cached",
        hub_code="NotCached",
        status=504,
    )
