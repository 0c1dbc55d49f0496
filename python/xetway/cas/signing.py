"""Keys of this installation, and the two things they sign: xet tokens and xorb addresses.

Keys are 32 random bytes in the database, made once. A signature is HMAC-SHA256 (RFC 2104) over a
label and the fields, so that no signed thing can be presented as another kind.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from xetway.db import Database
from xetway.errors import AuthError, ForbiddenError

Scope = Literal["read", "write"]
Clock = Callable[[], float]
# Byte ranges of a xorb, half-open.
Spans = tuple[tuple[int, int], ...]

TOKEN_LIFE_S = 12 * 3600
# Clients refresh by `exp` alone and treat a 401 as fatal, so a token lives on a little after it.
TOKEN_LEEWAY_S = 3600
URL_LIFE_S = 6 * 3600


def installation_key(db: Database, name: str) -> bytes:
    """Return the key called `name`, making it if this is its first use."""
    with db.write() as tx:
        tx.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES (?, ?)", (name, secrets.token_bytes(32)))
        return bytes(tx.execute("SELECT value FROM secrets WHERE name = ?", (name,)).fetchone()[0])


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _sign(key: bytes, label: str, message: bytes) -> bytes:
    return hmac.new(key, label.encode("ascii") + b"\0" + message, hashlib.sha256).digest()


class XetGrant(msgspec.Struct, frozen=True, array_like=True):
    """What a xet token allows: reading or writing the content of one repository until `exp` (unix seconds).

    `token_id` is the Hub token it was given for, 0 if there was none.
    """

    repo_id: int
    scope: Scope
    user: str
    exp: int
    token_id: int


def check_right(db: Database, repo_id: int, token_id: int) -> None:
    """Check that what was signed for a Hub token (0: for nobody) still opens the repository.

    Raises:
        AuthError: the token was revoked, the repository was hidden from those without one, or it is gone.
    """
    with db.read() as tx:
        repo = tx.execute("SELECT private FROM repos WHERE id = ?", (repo_id,)).fetchone()
        # Not its expiry: what was given out before it must last for the transfer.
        token = tx.execute("SELECT 1 FROM tokens WHERE id = ? AND revoked_at IS NULL", (token_id,)).fetchone()
    if repo is None or (token is None and (token_id or repo[0])):
        raise AuthError("the right that this was given for has been withdrawn", code="right_withdrawn")


class XetTokens:
    """Issues and checks the bearer tokens of the CAS routes."""

    def __init__(self, db: Database, now: Clock = time.time) -> None:
        self._db = db
        self._key = installation_key(db, "xet-token")
        self._now = now

    def issue(self, repo_id: int, scope: Scope, user: str, token_id: int = 0) -> tuple[str, int]:
        """Make a token; returns it with its expiry in unix seconds. It ends with the Hub token `token_id`."""
        exp = int(self._now()) + TOKEN_LIFE_S
        payload = msgspec.json.encode(XetGrant(repo_id, scope, user, exp, token_id))
        return f"xet_{_encode(payload)}.{_encode(_sign(self._key, 'token', payload))}", exp

    def check(self, authorization: str | None) -> XetGrant:
        """Check an Authorization header. Blocking.

        Raises:
            AuthError: 401 when there is no such header, the token is not ours, changed or expired, or the
                right it was given for was withdrawn.
        """
        scheme, _, token = (authorization or "").partition(" ")
        payload_text, _, signature_text = token.strip().removeprefix("xet_").partition(".")
        if scheme.lower() != "bearer" or not signature_text:
            raise AuthError("this route needs the xet token of the hub's xet-read-token or xet-write-token route")
        try:
            payload, signature = _decode(payload_text), _decode(signature_text)
        except ValueError:
            raise AuthError("the xet token is malformed", code="invalid_token") from None
        if not hmac.compare_digest(signature, _sign(self._key, "token", payload)):
            raise AuthError("the xet token was not issued by this server", code="invalid_token")
        grant = msgspec.json.decode(payload, type=XetGrant)
        if grant.exp + TOKEN_LEEWAY_S < self._now():
            raise AuthError("the xet token has expired", code="expired_token")
        check_right(self._db, grant.repo_id, grant.token_id)
        return grant

    def check_write(self, authorization: str | None) -> XetGrant:
        """Check an Authorization header for the right to store content; 403 for a read token."""
        grant = self.check(authorization)
        if grant.scope != "write":
            raise ForbiddenError(
                "this xet token can only read; ask the hub's xet-write-token route for one that writes"
            )
        return grant


class UrlSigner:
    """Signs xorb addresses for some byte ranges each, so an address opens nothing else in the xorb."""

    def __init__(self, db: Database, now: Clock = time.time) -> None:
        self._key = installation_key(db, "xorb-url")
        self._now = now

    def query(self, xorb: str, spans: Spans) -> str:
        """Return the query string that opens bytes [start, end) of `xorb`, for each of `spans`, for some hours.

        The expiry is rounded up to a full hour so that addresses repeat and caches can use them.
        """
        expires = str((int(self._now()) + URL_LIFE_S) // 3600 * 3600 + 3600)
        opened = ",".join(f"{start}-{end}" for start, end in spans)
        return f"b={opened}&e={expires}&s={self._signature(xorb, opened, expires)}"

    def _signature(self, xorb: str, opened: str, expires: str) -> str:
        return _encode(_sign(self._key, "xorb", f"{xorb} {opened} {expires}".encode("ascii"))[:24])

    def check(self, xorb: str, opened: str | None, expires: str | None, signature: str | None) -> Spans:
        """Return the [start, end) that the query allows.

        Raises:
            ForbiddenError: 403, on which clients ask for a new reconstruction.
        """
        if not (opened and expires and opened.isascii() and expires.isascii()):
            raise ForbiddenError("this address is not signed", code="bad_signature")
        if not hmac.compare_digest((signature or "").encode(), self._signature(xorb, opened, expires).encode()):
            raise ForbiddenError("the signature of this address is wrong", code="bad_signature")
        if int(expires) < self._now():
            raise ForbiddenError("this address has expired; ask for the reconstruction again", code="expired_url")
        pairs = (span.partition("-") for span in opened.split(","))
        return tuple((int(start), int(end)) for start, _, end in pairs)
