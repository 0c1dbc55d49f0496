"""The keys that were generated: made, listed, revoked. Only SHA-256 digests are stored.

A key is ``xwk_`` and 43 characters of base64url (256 random bits), so a fast digest is enough: there is nothing to
guess. Each change is counted, for other processes to see, and logged, for people.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from xetway.db import Database
from xetway.errors import ConfigError, NotFoundError
from xetway.settings.gateway import Limit, Priority, Scope

PREFIX = "xwk_"
MAX_LOG_LINES = 10_000
_RANDOM_BYTES = 32
_END_OF_TIME = 253_402_300_800  # what dates can be written for
_COLUMNS = "id, name, scopes, models, priority, limits, created_at, expires_at, last_used_at, revoked_at"


class KeyInfo(Struct, frozen=True):
    """A key without its secret. Times in unix seconds."""

    id: str
    name: str
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]
    priority: Priority
    limit: Limit
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    revoked_at: int | None

    def is_active(self, now: float) -> bool:
        """Whether it opens anything now."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class LogLine(Struct, frozen=True):
    """Something that was done to a key: by whom, from which address."""

    at: int
    who: str
    what: str
    key_id: str
    client: str


class KeyStore:
    """The generated keys of one installation. Blocking.

    Args:
        db: The database of the data folder.
        now: Unix time.
        max_log_lines: How much of the log is kept.
    """

    def __init__(
        self, db: Database, now: Callable[[], float] = time.time, *, max_log_lines: int = MAX_LOG_LINES
    ) -> None:
        self._db = db
        self._now = now
        self._max_log_lines = max_log_lines

    def create(
        self,
        *,
        name: str,
        scopes: Sequence[Scope] = ("infer",),
        models: Sequence[str] = ("*",),
        priority: Priority = "normal",
        limit: Limit | None = None,
        expires_at: int | None = None,
        who: str,
        client: str,
    ) -> tuple[str, KeyInfo]:
        """Make a key and return it; it cannot be shown again.

        Args:
            name: What people call the key.
            scopes: What it is for.
            models: Patterns of the models it may use.
            priority: Its place in the queue.
            limit: What it may, instead of what all keys may.
            expires_at: Unix seconds, or None for never.
            who: Who made it, and
            client: from which address, for the log.

        Raises:
            ConfigError: It has no name, no scope or no model, or expires too late.
        """
        if not (0 < len(name) <= 256 and name.isprintable() and scopes and models and all(models)):
            raise ConfigError("a key needs a name of at most 256 characters, a scope and a pattern of models")
        if expires_at is not None and expires_at >= _END_OF_TIME:
            raise ConfigError("a key that expires does so before the year 10000")
        limit = limit or Limit()
        key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        info = KeyInfo(
            secrets.token_hex(8), name, tuple(dict.fromkeys(scopes)), tuple(models), priority, limit,
            int(self._now()), expires_at, None, None,
        )  # fmt: skip
        limits = {name: value for name, value in msgspec.structs.asdict(limit).items() if value is not None}
        with self._db.write() as tx:
            tx.execute(
                f"INSERT INTO api_keys ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    info.id, name, _json(info.scopes), _json(info.models), priority, _json(limits),
                    info.created_at, expires_at, None, None, hashlib.sha256(key.encode()).digest(),
                ),
            )  # fmt: skip
            self._log(tx, who, "generate", info.id, client)
        return key, info

    def digests(self) -> list[tuple[bytes, KeyInfo]]:
        """Return all keys with their digests, oldest first."""
        with self._db.read() as tx:
            rows = tx.execute(f"SELECT digest, {_COLUMNS} FROM api_keys ORDER BY rowid").fetchall()
        return [(bytes(row[0]), _info(row[1:])) for row in rows]

    def list(self) -> list[KeyInfo]:
        """Return all keys, revoked ones too, oldest first."""
        return [info for _, info in self.digests()]

    def revoke(self, key_id: str, *, who: str, client: str) -> bool:
        """Revoke a key for good; False if it was revoked before.

        Raises:
            NotFoundError: `key_not_found`.
        """
        with self._db.write() as tx:
            row = tx.execute("SELECT revoked_at FROM api_keys WHERE id = ?", (key_id,)).fetchone()
            if row is None:
                raise NotFoundError("there is no key with this id", code="key_not_found")
            if row[0] is not None:
                return False
            tx.execute("UPDATE api_keys SET revoked_at = ? WHERE id = ?", (int(self._now()), key_id))
            self._log(tx, who, "revoke", key_id, client)
        return True

    def generation(self) -> int:
        """How often keys were changed: another number than before means that `list` says something else."""
        with self._db.read() as tx:
            generation: int = tx.execute("SELECT generation FROM api_keys_generation").fetchone()[0]
        return generation

    def note_used(self, used_at: Mapping[str, float]) -> None:
        """Write down when keys were used last, by id.

        Raises:
            sqlite3.OperationalError: Someone else is writing; it is not waited for.
        """
        with self._db.write(wait=False) as tx:
            tx.executemany(
                "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE id = ?",
                [(int(at), key_id) for key_id, at in used_at.items()],
            )

    def log(self) -> Iterable[LogLine]:
        """Return what was done to keys, the newest first."""
        with self._db.read() as tx:
            return [
                LogLine(*row)
                for row in tx.execute("SELECT at, who, what, key_id, client FROM api_keys_log ORDER BY id DESC")
            ]

    def _log(self, tx: Any, who: str, what: str, key_id: str, client: str) -> None:
        """Count a change and write its line, inside its transaction."""
        tx.execute("UPDATE api_keys_generation SET generation = generation + 1")
        cursor = tx.execute(
            "INSERT INTO api_keys_log (at, who, what, key_id, client) VALUES (?, ?, ?, ?, ?)",
            (int(self._now()), who, what, key_id, client),
        )
        tx.execute("DELETE FROM api_keys_log WHERE id <= ?", (cursor.lastrowid - self._max_log_lines,))


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _info(row: Sequence[Any]) -> KeyInfo:
    names = KeyInfo.__struct_fields__
    values = dict(zip(names, row, strict=True))
    for name in ("scopes", "models", "limit"):
        values[name] = msgspec.json.decode(values[name])
    return msgspec.convert(values, KeyInfo)
