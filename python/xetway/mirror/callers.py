"""Who asks, as far as the upstream is concerned.

A caller's token goes to the upstream and nowhere else, and is in no file: what is kept for a caller is kept under an
HMAC of the token. What this server gives out (`xetway_...`, `xet_...`, `xetm_...`) means nothing upstream
and is never sent there.

A request that came through this very server before is refused: the upstream leads back here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from xetway.errors import ConfigError, RequestError
from xetway.http.request import Request
from xetway.hub.access import bearer
from xetway.hub.tokens import PREFIX

VIA_HEADER = "x-xetway-via"
PUBLIC = "public"
ANONYMOUS = "anonymous"
_MAX_HOPS = 8
# What a server of this kind calls itself; anything else in the header is no hop, and is not passed on.
_HOP = re.compile(r"[0-9a-f]{16}")
# What this server gives out: tokens, and those of its content stores.
_OUR_TOKENS = (PREFIX, "xet_", "xetm_")
_MAX_TOKEN_CHARS = 8 * 1024


class Caller:
    """Someone who asks: the token for the upstream (a secret) and the name that answers are kept under."""

    __slots__ = ("audience", "token", "via")

    def __init__(self, token: str | None, audience: str, via: str) -> None:
        self.token = token
        self.audience = audience
        self.via = via

    def __repr__(self) -> str:
        return f"Caller({self.audience})"

    def headers(self) -> list[tuple[str, str]]:
        """What goes to the upstream with each request of this caller. Holds the token."""
        found = [(VIA_HEADER, self.via)]
        if self.token is not None:
            found.append(("authorization", f"Bearer {self.token}"))
        return found

    def lasting_headers(self) -> list[tuple[str, str]]:
        """The same for what is used again for other requests: without the way that this one came."""
        return [(VIA_HEADER, self.via.rpartition(", ")[2]), *self.headers()[1:]]


class Callers:
    """Recognises callers.

    Args:
        key: 32 secret bytes of this installation.
        fallback: The token for callers that bring none of the upstream's.
    """

    def __init__(self, key: bytes, fallback: str | None = None) -> None:
        self._key = key
        self._fallback = fallback
        self.identity = self._digest("identity")[:16]

    def of(self, request: Request) -> Caller:
        """Return the caller of a request.

        Raises:
            RequestError: `loop_detected` (508).
        """
        named = map(str.strip, (request.header(VIA_HEADER) or "").split(","))
        hops = [hop for hop in named if _HOP.fullmatch(hop)]
        if self.identity in hops or len(hops) >= _MAX_HOPS:
            raise RequestError(
                "the request came through this server before: its --upstream leads back here",
                code="loop_detected",
                status=508,
            )
        return self._caller(own_token(request), [*hops, self.identity])

    def again(self, token: str | None) -> Caller:
        """Return the caller that brought `token` earlier, for what is asked without one of its requests."""
        return self._caller(token, [self.identity])

    def _caller(self, token: str | None, hops: list[str]) -> Caller:
        token = token or self._fallback
        audience = ANONYMOUS if token is None else self._digest("token", token)[:40]
        return Caller(token, audience, ", ".join(hops))

    def _digest(self, label: str, text: str = "") -> str:
        return hmac.new(self._key, f"{label}\0{text}".encode(), hashlib.sha256).hexdigest()


def own_token(request: Request) -> str | None:
    """The token of the upstream that a request brings itself, if any."""
    token = bearer(request)
    if token is None or token.startswith(_OUR_TOKENS) or len(token) > _MAX_TOKEN_CHARS:
        return None
    return token if _can_be_sent(token) else None


def fallback_token(environment: Mapping[str, str], *, use_hf_token: bool) -> str | None:
    """The token for callers without one, where it is configured: only ever from the environment.

    Raises:
        ConfigError: HF_TOKEN is to be used and is not set, or what is set cannot be a token.
    """
    name = "XETWAY_UPSTREAM_TOKEN"
    token = environment.get(name, "").strip()
    if use_hf_token and not token:
        name = "HF_TOKEN"
        token = environment.get(name, "").strip()
        if not token:
            raise ConfigError("--use-hf-token (or XETWAY_USE_HF_TOKEN) is set, and HF_TOKEN is not")
    if not _can_be_sent(token):
        raise ConfigError(
            f"{name} is no token: it may hold only ASCII letters, digits and signs, no spaces or newlines"
        )
    return token or None


def _can_be_sent(token: str) -> bool:
    return all("!" <= character <= "~" for character in token)
