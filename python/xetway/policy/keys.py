"""Who calls: an API key, as ``Authorization: Bearer`` (RFC 6750) or ``x-api-key``, looked up in a table in memory.

The table holds the keys that are configured and those that were generated. A thread looks for changes that other
processes made, and writes down which keys were used; requests never wait for the database. Nothing is kept of keys
that nobody knows.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from xetway.errors import AuthError, ConfigError
from xetway.http.errors import describe
from xetway.policy.caller import Caller
from xetway.policy.key_store import KeyInfo, KeyStore
from xetway.settings.gateway import Auth, Limit, StaticKey, digest_of

logger = logging.getLogger("xetway")

# How soon a key that another process made or revoked is known here.
POLL_S = 0.5
USED_INTERVAL_S = 60.0
_MAX_KEY_BYTES = 512
_CHALLENGE = (("www-authenticate", "Bearer"),)


class _Entry:
    """A key in the table."""

    __slots__ = ("caller", "digest", "expires_at", "used_at")

    def __init__(self, digest: bytes, caller: Caller, expires_at: int | None = None) -> None:
        self.digest = digest
        self.caller = caller
        self.expires_at = expires_at
        self.used_at = 0.0


class Keys:
    """All keys that are valid here.

    Args:
        auth: The keys that are configured, and whether one is needed at all.
        store: Those that were generated.
        environment: Where `key_env` is looked up.
        clock: Unix time, for the thread.
        poll_s: How often it looks.

    Raises:
        ConfigError: A configured key is not where it should be.
    """

    def __init__(
        self,
        auth: Auth,
        store: KeyStore,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
        poll_s: float = POLL_S,
    ) -> None:
        self._store = store
        self._environment = environment
        self._clock = clock
        self._poll_s = poll_s
        self._changing = threading.Lock()
        self._generation = -1
        self._stored: dict[bytes, _Entry] = {}
        self._entries: dict[bytes, _Entry] = {}
        self._stopped = threading.Event()
        self._written_at = clock()
        self.configure(auth)
        self.refresh()

    def configure(self, auth: Auth) -> None:
        """Take the configured keys anew.

        Raises:
            ConfigError: One is not where it should be, or is there twice; then nothing changes.
        """
        static: dict[bytes, _Entry] = {}
        for key in auth.keys:
            entry = _configured(key, self._environment)
            if entry.digest in static:
                raise ConfigError(
                    f"auth.keys: {key.name!r} is the same key as {static[entry.digest].caller.key_name!r}"
                )
            static[entry.digest] = entry
        with self._changing:
            self._static = static
            self._is_needed = auth.enabled
            self._entries = {**self._stored, **static}

    def check(self, authorization: bytes | None, x_api_key: bytes | None, client: str, now: float) -> Caller:
        """Return who calls, by the values of the two headers; `now` is unix time.

        Where no key is needed, one that is not valid is as good as none.

        Raises:
            AuthError: `missing_api_key`, `invalid_api_key` or `expired_api_key`.
        """
        return self._check(authorization, x_api_key, now, None if self._is_needed else client)

    def check_admin(self, authorization: bytes | None, x_api_key: bytes | None, now: float) -> Caller:
        """Return who calls, who must be an administrator even where no key is needed.

        Raises:
            AuthError: As `check`.
            ForbiddenError: `insufficient_scope`.
        """
        caller = self._check(authorization, x_api_key, now, None)
        caller.require("admin")
        return caller

    def _check(self, authorization: bytes | None, x_api_key: bytes | None, now: float, anonymous: str | None) -> Caller:
        key = None if authorization is None else _bearer(authorization)
        differ = False
        if x_api_key:
            differ = key is not None and key != x_api_key
            key = x_api_key
        if not key:
            if anonymous is not None:
                return Caller(id=anonymous)
            raise AuthError(
                "this needs an API key, as Authorization: Bearer or x-api-key",
                code="missing_api_key",
                headers=_CHALLENGE,
            )
        entry = None
        if len(key) <= _MAX_KEY_BYTES and not differ:
            digest = hashlib.sha256(key).digest()
            entry = self._entries.get(digest)
            if (
                entry is not None
                and (entry.expires_at is None or now < entry.expires_at)
                and hmac.compare_digest(entry.digest, digest)
            ):
                entry.used_at = now
                return entry.caller
        if anonymous is not None:
            return Caller(id=anonymous)
        if entry is not None:
            raise AuthError("the API key has expired", code="expired_api_key", headers=_CHALLENGE)
        reason = "Authorization and x-api-key hold different keys" if differ else "the API key is not valid"
        raise AuthError(reason, code="invalid_api_key", headers=_CHALLENGE)

    def create(self, **values: Any) -> tuple[str, KeyInfo]:
        """Make a key, valid here at once; see `KeyStore.create`. Blocking."""
        made = self._store.create(**values)
        self.refresh()
        return made

    def list(self) -> list[KeyInfo]:
        """Return all generated keys, oldest first. Blocking."""
        return self._store.list()

    def revoke(self, key_id: str, *, who: str, client: str) -> bool:
        """Revoke a key, here at once; see `KeyStore.revoke`. Blocking."""
        revoked = self._store.revoke(key_id, who=who, client=client)
        self.refresh()
        return revoked

    def refresh(self) -> None:
        """Take in what was changed, by whatever process. Blocking."""
        with self._changing:
            generation = self._store.generation()
            if generation == self._generation:
                return
            stored = {digest: _generated(digest, info) for digest, info in self._store.digests() if not info.revoked_at}
            for digest, entry in stored.items():
                known = self._stored.get(digest)
                entry.used_at = 0.0 if known is None else known.used_at
            self._stored = stored
            self._entries = {**stored, **self._static}
            self._generation = generation

    def write_used(self) -> None:
        """Write down which keys were used since the last time. Blocking.

        Raises:
            sqlite3.OperationalError: Someone else is writing; it is kept for the next time.
        """
        used = [(entry, entry.used_at) for entry in self._stored.values() if entry.used_at]
        if used:
            self._store.note_used({entry.caller.id: at for entry, at in used})
            for entry, at in used:
                if entry.used_at == at:
                    entry.used_at = 0.0

    def start(self) -> None:
        """Begin to look for changes, in a thread."""
        threading.Thread(target=self._watch, name="xetway-keys", daemon=True).start()

    def close(self) -> None:
        """End the thread. Blocking, and it fails never."""
        self._stopped.set()
        self._try(self.write_used)

    def _watch(self) -> None:
        while not self._stopped.wait(self._poll_s):
            self.look()

    def look(self) -> None:
        """Do once what the thread does again and again. Blocking, and it fails never."""
        self._try(self.refresh)
        now = self._clock()
        if not 0 <= now - self._written_at < USED_INTERVAL_S:
            self._written_at = now
            self._try(self.write_used)

    @staticmethod
    def _try(step: Callable[[], None]) -> None:
        try:
            step()
        except (OSError, sqlite3.Error) as error:
            logger.warning("keys: what is known of them is older than it should be: %s", describe(error))


def _bearer(authorization: bytes) -> bytes | None:
    """The key of an Authorization header; None if it is of another kind."""
    if authorization[:7].lower() != b"bearer ":
        return None
    return authorization[7:].strip()


def _generated(digest: bytes, info: KeyInfo) -> _Entry:
    caller = Caller(
        id=info.id,
        key_name=info.name,
        scopes=frozenset(info.scopes),
        models=info.models,
        priority=info.priority,
        limit=_own(info.limit),
    )
    return _Entry(digest, caller, info.expires_at)


def _configured(key: StaticKey, environment: Mapping[str, str]) -> _Entry:
    caller = Caller(
        # Of the name, which is no secret and says the same in every process.
        id=hashlib.sha256(b"configured key " + key.name.encode()).hexdigest()[:16],
        key_name=key.name,
        scopes=frozenset(key.scopes),
        models=key.models,
        priority=key.priority,
        limit=_own(key.limit),
    )
    for text in _texts(key, environment):
        if text:
            return _Entry(digest_of(text), caller)
    where = f"the variable {key.key_env}" if key.key_env is not None else f"the file {key.key_file}"
    raise ConfigError(f"auth.keys: the key {key.name!r} has to be in {where}, which is not there or empty")


def _texts(key: StaticKey, environment: Mapping[str, str]) -> Iterator[str]:
    if key.key is not None:
        yield key.key
    elif key.key_env is not None:
        yield environment.get(key.key_env, "").strip()
    elif key.key_file is not None:
        try:
            yield key.key_file.read_text("utf-8").partition("\n")[0].strip()
        except (OSError, UnicodeDecodeError):
            return


def _own(limit: Limit) -> Limit | None:
    """The limit of a key; None if it has none of its own."""
    return None if limit == Limit() else limit
