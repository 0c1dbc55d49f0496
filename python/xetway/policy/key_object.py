"""What administrators are told over HTTP: a key as they see it, and that something was done."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import asdict

from xetway.policy.key_store import KeyInfo
from xetway.settings.gateway import Priority, Scope


class KeyObject(Struct, frozen=True, kw_only=True):
    """A key without its secret. Times as in 2026-02-12T04:00:00Z; `rate_limit` is requests per minute."""

    key_id: str
    name: str
    rate_limit: int | None
    created_at: str | None
    last_used_at: str | None
    is_active: bool
    expires_at: str | None
    revoked_at: str | None
    scopes: tuple[Scope, ...]
    models: tuple[str, ...]
    priority: Priority
    tokens_per_minute: int | None
    burst: int | None
    concurrency: int | None


class GeneratedKey(KeyObject, frozen=True, kw_only=True):
    """A key that was just made, with its secret, which is not shown again."""

    api_key: str


class KeyList(Struct, frozen=True):
    """All keys, revoked ones too."""

    keys: list[KeyObject]


class Done(Struct, frozen=True):
    """Something was done, or had been done before."""

    message: str
    success: bool = True


def described(info: KeyInfo, now: float) -> KeyObject:
    """What is told of a key at a moment, unix time."""
    return KeyObject(
        key_id=info.id,
        name=info.name,
        rate_limit=info.limit.requests_per_minute,
        created_at=_time(info.created_at),
        last_used_at=_time(info.last_used_at),
        is_active=info.is_active(now),
        expires_at=_time(info.expires_at),
        revoked_at=_time(info.revoked_at),
        scopes=info.scopes,
        models=info.models,
        priority=info.priority,
        tokens_per_minute=info.limit.tokens_per_minute,
        burst=info.limit.burst,
        concurrency=info.limit.concurrency,
    )


def generated(key: str, info: KeyInfo, now: float) -> GeneratedKey:
    """What is told of a key when it is made."""
    return GeneratedKey(api_key=key, **asdict(described(info, now)))


def _time(unix_s: int | None) -> str | None:
    return None if unix_s is None else datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
