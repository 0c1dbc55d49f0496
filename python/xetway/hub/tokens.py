"""Hub tokens: made, listed, revoked and recognised. Only SHA-256 digests are stored.

A token is ``xetway_`` and 43 random base62 characters (256 bits), so a fast digest is enough: there is
nothing to guess. Which repositories a token opens is in its patterns; see `matches`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import sqlite3
import string
import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from xetway.db import Database
from xetway.errors import ConfigError
from xetway.hub.names import PLURALS, RepoType, is_name

Scope = Literal["read", "write"]

PREFIX = "xetway_"
_ALPHABET = string.ascii_letters + string.digits
_RANDOM_CHARACTERS = 43
# `last_used_at` is for people; writing it on each request would cost a disk flush each time.
_USED_INTERVAL_S = 600


class TokenInfo(msgspec.Struct, frozen=True):
    """A token without its secret. Times in unix seconds."""

    id: int
    name: str
    user: str
    scope: Scope
    patterns: tuple[str, ...]
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None

    def allows(self, scope: Scope, kind: RepoType, namespace: str, name: str) -> bool:
        """Whether the token may read or write this repository. Writing includes reading."""
        return (scope == "read" or self.scope == "write") and any(
            matches(pattern, kind, namespace, name) for pattern in self.patterns
        )


def check_pattern(pattern: str) -> str:
    """Check a repository pattern.

    Raises:
        ConfigError: It is none of ``*``, ``namespace/name``, ``datasets/*``, ``datasets/namespace/name``.
    """
    parts = pattern.split("/")
    typed = parts[0] in PLURALS.values()
    if pattern != "*" and not (all(parts) and len(parts) in ((2, 3) if typed else (2,))):
        raise ConfigError(
            f"the repository pattern {pattern!r} is none of '*', 'namespace/name', 'datasets/*' or "
            "'datasets/namespace/name' (models, datasets, spaces, kernels; * and ? match within one part)"
        )
    return pattern


def matches(pattern: str, kind: RepoType, namespace: str, name: str) -> bool:
    """Whether a pattern covers a repository; part by part, so ``*`` never reaches across a slash."""
    if pattern == "*":
        return True
    parts = pattern.lower().split("/")
    if parts[0] in PLURALS.values():
        if parts[0] != PLURALS[kind]:
            return False
        if parts[1:] == ["*"]:
            return True
        parts = parts[1:]
    values = (namespace.lower(), name.lower())
    return len(parts) == 2 and all(fnmatchcase(value, part) for value, part in zip(values, parts, strict=True))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class TokenStore:
    """The tokens of one installation. Blocking."""

    def __init__(self, db: Database, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._now = now

    def create(
        self,
        *,
        name: str,
        scope: Scope,
        patterns: Sequence[str] = ("*",),
        user: str | None = None,
        expires_at: int | None = None,
    ) -> str:
        """Make a token and return it; it cannot be shown again.

        Args:
            name: What people call the token.
            scope: `read` or `write`.
            patterns: The repositories it opens; see `check_pattern`.
            user: Who its owner is: the author of commits, and the namespace of repositories created without
                one. The token's name if None.
            expires_at: Unix seconds, or None for never.

        Raises:
            ConfigError: A pattern or the user name is malformed.
        """
        user = name if user is None else user
        if not is_name(user):
            raise ConfigError(f"{user!r} cannot be a user name: letters, digits, '_', '-' and '.', at most 96")
        if scope not in {"read", "write"} or not patterns or not name.isprintable():
            raise ConfigError("a token needs a name, the scope read or write, and at least one repository pattern")
        token = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_CHARACTERS))
        text = msgspec.json.encode([check_pattern(pattern) for pattern in patterns]).decode()
        with self._db.write() as tx:
            tx.execute(
                "INSERT INTO tokens (name, user, scope, patterns, digest, created_at, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (name, user, scope, text, _digest(token), int(self._now()), expires_at),
            )
        return token

    def list(self) -> list[TokenInfo]:
        """Return all tokens, revoked ones too, oldest first."""
        with self._db.read() as tx:
            return [_info(row) for row in tx.execute(f"SELECT {_COLUMNS} FROM tokens ORDER BY id")]

    def revoke(self, token_id: int) -> bool:
        """Revoke a token for good; False if there is none with this id, or it was revoked before."""
        with self._db.write() as tx:
            return bool(
                tx.execute(
                    "UPDATE tokens SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (int(self._now()), token_id)
                ).rowcount
            )

    def authenticate(self, token: str) -> TokenInfo | None:
        """Return what a token is, or None if it is unknown, revoked or expired."""
        if not token.startswith(PREFIX):
            return None
        digest, now = _digest(token), int(self._now())
        with self._db.read() as tx:
            row = tx.execute(f"SELECT {_COLUMNS}, digest FROM tokens WHERE digest = ?", (digest,)).fetchone()
        if row is None or not hmac.compare_digest(row["digest"], digest):
            return None
        info = _info(row)
        if info.revoked_at is not None or (info.expires_at is not None and info.expires_at <= now):
            return None
        if (info.last_used_at or 0) < now - _USED_INTERVAL_S:
            # Reading must go on while someone else writes, or when the disk is full.
            with contextlib.suppress(sqlite3.OperationalError), self._db.write(wait=False) as tx:
                tx.execute("UPDATE tokens SET last_used_at = ? WHERE id = ?", (now, info.id))
        return info


_COLUMNS = "id, name, user, scope, patterns, created_at, expires_at, last_used_at, revoked_at"


def _info(row: Sequence[object]) -> TokenInfo:
    values = list(row)[: len(TokenInfo.__struct_fields__)]
    values[4] = msgspec.json.decode(str(values[4]), type=tuple[str, ...])
    return TokenInfo(*values)  # type: ignore[arg-type]
