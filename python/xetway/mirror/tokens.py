"""Xet tokens: the upstream's, kept in memory only, and ours, which carry one of the upstream's sealed.

A client gets ``xetm_`` and a sealed record; only this installation can open it, so the upstream's token, its content
store's address and the repository travel with the client and are nowhere on our disk. A token of ours is good as long
as the upstream's inside it. Clients take a 401 of a content store as final and renew a token by its expiry alone.

While the upstream gives no token, ours holds what to ask for one with as soon as content is missing: the revision, and
the hub token that the same client sent.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from xetway.errors import AuthError, RequestError
from xetway.hub.names import RepoType
from xetway.mirror.callers import Caller
from xetway.mirror.flights import Flights
from xetway.mirror.names import RepoKey, segment
from xetway.mirror.ports import CredentialsMaker, Seal, Unseal
from xetway.mirror.refusals import Refused
from xetway.mirror.upstream import Upstream

PREFIX = "xetm_"
_LABEL = b"xetway mirror token 2"
# Clients renew a token in its last minute; one that lives no longer would be renewed for ever.
SHORTEST_LIFE_S = 120
# An upstream's token is handed out again only while this much of it is left, and for so long at all: by then the
# upstream is to say again whether the caller may read.
_SHARE_LEFT_S = 300
_SHARE_S = 300
LEEWAY_S = 3600
# The life of a token without one of the upstream's inside, given out while the upstream is away.
AWAY_LIFE_S = 900
_MOST_KEPT = 4096
_TOKEN = re.compile(r"[!-~]{1,16384}")
# Past it no clock of ours counts.
_LATEST = 1 << 53


class Sealed(msgspec.Struct, frozen=True, array_like=True):
    """What a token of ours holds: the upstream's `token`, or what to ask for one with, and then no `token`.

    `hub_token` is the one that the client itself sent, if any: never one of this server's settings.
    """

    kind: RepoType
    name: str
    audience: str
    exp: int
    cas_url: str
    token: str
    revision: str = ""
    hub_token: str | None = None

    @property
    def repo(self) -> RepoKey:
        """The repository that it is for."""
        return RepoKey(self.kind, self.name)

    def __repr__(self) -> str:
        return f"Sealed({self.repo.text}, exp={self.exp})"


class UpstreamToken(msgspec.Struct, frozen=True):
    """The upstream's answer: a token for its content store. `asked_at` and `exp` in unix seconds."""

    cas_url: str
    token: str
    exp: int
    asked_at: int

    def __repr__(self) -> str:
        return f"UpstreamToken(exp={self.exp})"


class _Body(msgspec.Struct, rename="camel"):
    cas_url: str
    access_token: str
    exp: int


class MirrorTokens:
    """Seals and opens tokens, and gets the upstream's."""

    def __init__(
        self,
        upstream: Upstream,
        credentials: CredentialsMaker,
        key: bytes,
        seal: Seal,
        unseal: Unseal,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._upstream = upstream
        self._credentials = credentials
        self._key = key
        self._seal = seal
        self._unseal = unseal
        self._now = now
        self._flights: Flights[UpstreamToken] = Flights()
        self._kept: dict[tuple[str, str, str], UpstreamToken] = {}
        self._renewing: dict[tuple[str, str, str], tuple[Any, float]] = {}

    async def upstream_token(self, caller: Caller, repo: RepoKey, revision: str) -> UpstreamToken:
        """Return a token that opens the repository at the upstream's content store for this caller.

        Raises:
            Refused: the upstream's no.
            ConnectionError: it cannot be reached; or TimeoutError.
            RequestError: `not_cached` when offline; `bad_upstream_answer`.
        """
        key = (caller.audience, repo.text, revision)
        kept, now = self._kept.get(key), self._now()
        if kept is not None and kept.exp - now > _SHARE_LEFT_S and now - kept.asked_at < _SHARE_S:
            return kept
        token = await self._flights.run(key, lambda: self._ask(caller, repo, revision))
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = token
        return token

    def kept_token(self, caller: Caller, repo: RepoKey, revision: str) -> UpstreamToken | None:
        """A token of the upstream's that is still good, for when it cannot be asked."""
        kept = self._kept.get((caller.audience, repo.text, revision))
        return kept if kept is not None and kept.exp - self._now() > SHORTEST_LIFE_S else None

    async def _ask(self, caller: Caller, repo: RepoKey, revision: str) -> UpstreamToken:
        answer = await self._upstream.ask(caller, "GET", _route(repo, revision))
        if answer.status != 200:
            self._kept.pop((caller.audience, repo.text, revision), None)
            raise Refused(answer)
        try:
            body = msgspec.json.decode(answer.body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _bad_answer() from None
        if not _is_address(body.cas_url) or not _TOKEN.fullmatch(body.access_token) or not 0 <= body.exp < _LATEST:
            raise _bad_answer()
        return UpstreamToken(body.cas_url.rstrip("/"), body.access_token, body.exp, int(self._now()))

    def credentials(self, caller: Caller, repo: RepoKey, revision: str) -> Any:
        """Return what fetches content of a repository for this caller; None when offline.

        It asks for tokens itself when it needs one. The same one is returned for some minutes.
        """
        if self._upstream.offline:
            return None
        key, now = (caller.audience, repo.text, revision), self._now()
        kept = self._renewing.get(key)
        if kept is not None and now - kept[1] < _SHARE_S:
            return kept[0]
        made = self._credentials.refresh(self._upstream.url + _route(repo, revision), caller.lasting_headers())
        if len(self._renewing) >= _MOST_KEPT:
            self._renewing.clear()
        self._renewing[key] = (made, now)
        return made

    def credentials_in(self, sealed: Sealed, caller: Caller) -> Any:
        """Return what fetches content for the bearer of a token of ours, who is `caller`; None when offline."""
        if self._upstream.offline or not sealed.token:
            return self.credentials(caller, sealed.repo, sealed.revision)
        return self._credentials.fixed(sealed.cas_url, sealed.token)

    def issue(self, repo: RepoKey, audience: str, token: UpstreamToken) -> tuple[str, int]:
        """Make a token of ours; returns it and its expiry in unix seconds."""
        exp = max(token.exp, int(self._now()) + SHORTEST_LIFE_S)
        return self._sealed(Sealed(repo.kind, repo.name, audience, exp, token.cas_url, token.token)), exp

    def issue_for_later(self, repo: RepoKey, audience: str, revision: str, hub_token: str | None) -> tuple[str, int]:
        """Make a token of ours while the upstream gives none: for what is cached, and for when it is back."""
        exp = int(self._now()) + AWAY_LIFE_S
        return self._sealed(Sealed(repo.kind, repo.name, audience, exp, "", "", revision, hub_token)), exp

    def _sealed(self, inside: Sealed) -> str:
        plain = msgspec.msgpack.encode(inside)
        sealed = base64.urlsafe_b64encode(self._seal(self._key, _LABEL, plain)).rstrip(b"=")
        return PREFIX + sealed.decode("ascii")

    def open(self, authorization: str | None) -> Sealed:
        """Open the token of an Authorization header.

        Raises:
            AuthError: `invalid_token` or `expired_token` (401).
        """
        text = bearer_token(authorization).removeprefix(PREFIX)
        try:
            raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raw = b""
        plain = self._unseal(self._key, _LABEL, raw) if raw else None
        if plain is None:
            raise AuthError("the xet token was not issued by this server", code="invalid_token")
        sealed = msgspec.msgpack.decode(plain, type=Sealed)
        if sealed.exp + LEEWAY_S < self._now():
            raise AuthError("the xet token has expired", code="expired_token")
        return sealed


def bearer_token(authorization: str | None) -> str:
    """The token in an Authorization header; nothing if there is none."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def is_ours(authorization: str | None) -> bool:
    """Whether an Authorization header has a token that the mirror gave out."""
    return bearer_token(authorization).startswith(PREFIX)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and text.isascii() and text.isprintable()


def _route(repo: RepoKey, revision: str) -> str:
    return f"{repo.api}/xet-read-token/{segment(revision)}"


def _bad_answer() -> RequestError:
    return RequestError("the upstream's xet token cannot be used", code="bad_upstream_answer", status=502)
