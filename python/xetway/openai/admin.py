"""Routes for administrators: keys are generated, listed and revoked, cached answers are forgotten.

Each needs a key with the scope admin.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from xetway.errors import ConfigError, RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.policy.caller import Caller
from xetway.policy.clearing import Clearing
from xetway.policy.key_object import Done, KeyList, described, generated
from xetway.policy.keys import Keys
from xetway.ports import Catalog
from xetway.settings.gateway import Limit, Name, Positive, Priority, Scope

T = TypeVar("T", bound=Struct)

_MAX_BODY_BYTES = 64 * 1024
_MAX_FIELDS = 100
_LISTS = ("scopes", "models")
_NO_STORE = (("cache-control", "no-store"),)


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key that is asked for may. `rate_limit` is requests per minute, `expires_in` seconds from now."""

    name: Name
    rate_limit: Positive | None = None
    tokens_per_minute: Positive | None = None
    burst: Positive | None = None
    concurrency: Positive | None = None
    scopes: tuple[Scope, ...] = ("infer",)
    models: tuple[Name, ...] = ("*",)
    priority: Priority = "normal"
    expires_in: Positive | None = None


async def _to_nobody() -> None:
    """Tell no other process."""


class WhatToClear(Struct, frozen=True, forbid_unknown_fields=True):
    """Whose answers are to be forgotten: those of a model by name, alias or number, or of all."""

    model: Name | None = None


def routes(
    keys: Keys,
    catalog: Catalog,
    clearing: Clearing,
    now: Callable[[], float] = time.time,
    tell: Callable[[], Awaitable[None]] = _to_nobody,
) -> Iterable[Route]:
    """The routes of this module. `tell` has the other workers look at the keys again, before a change is answered."""
    admin = _Admin(keys, catalog, clearing, now, tell)
    yield "POST", "/admin/keys/generate", admin.generate
    yield "GET", "/admin/keys/list", admin.list
    yield "POST", "/admin/keys/{key_id}/revoke", admin.revoke
    yield "POST", "/admin/cache/clear", admin.clear


class _Admin:
    def __init__(
        self,
        keys: Keys,
        catalog: Catalog,
        clearing: Clearing,
        now: Callable[[], float],
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        self._keys = keys
        self._catalog = catalog
        self._clearing = clearing
        self._now = now
        self._tell = tell

    async def generate(self, request: Request) -> Response:
        """Make a key; the answer shows it, this once."""
        who = self._who(request)
        wanted = await _wanted(request, NewKey, code="bad_key")
        now = self._now()
        make = partial(
            self._keys.create,
            name=wanted.name,
            scopes=wanted.scopes,
            models=wanted.models,
            priority=wanted.priority,
            limit=Limit(
                requests_per_minute=wanted.rate_limit,
                tokens_per_minute=wanted.tokens_per_minute,
                burst=wanted.burst,
                concurrency=wanted.concurrency,
            ),
            expires_at=None if wanted.expires_in is None else int(now) + wanted.expires_in,
            who=who.id,
            client=request.client,
        )
        try:
            key, info = await run(make)
        except ConfigError as error:
            raise RequestError(error.message, code="bad_key") from None
        await self._tell()
        return json_response(generated(key, info, now), headers=_NO_STORE)

    def list(self, request: Request) -> Response:
        """All keys without their secrets, revoked ones too. When one was last used may be a minute late."""
        self._who(request)
        now = self._now()
        return json_response(KeyList([described(info, now) for info in self._keys.list()]), headers=_NO_STORE)

    async def revoke(self, request: Request) -> Response:
        """Revoke a key; 404 if there is none."""
        who, key_id = self._who(request), request.params["key_id"]
        revoked = await run(partial(self._keys.revoke, key_id, who=who.id, client=request.client))
        await self._tell()
        message = f"key {key_id} is revoked" if revoked else f"key {key_id} was revoked before"
        return json_response(Done(message=message))

    async def clear(self, request: Request) -> Response:
        """Forget the cached answers of a model, or all."""
        who = self._who(request)
        wanted = await _wanted(request, WhatToClear, code="bad_clear")
        model = None if wanted.model is None else self._catalog.find(wanted.model).name
        done = await self._clearing.clear(model, who=who.id, client=request.client)
        of = "all models" if model is None else model
        later = "" if done else " as soon as the cache's server can be reached"
        return json_response(Done(message=f"the answers of {of} are forgotten{later}"))

    def _who(self, request: Request) -> Caller:
        authorization, x_api_key = (
            None if value is None else value.encode("latin-1", "replace")
            for value in (request.header("authorization"), request.header("x-api-key"))
        )
        return self._keys.check_admin(authorization, x_api_key, self._now())


async def _wanted(request: Request, kind: type[T], *, code: str) -> T:
    """Read what is asked for: JSON, or a form. `curl -d` calls everything a form."""
    body = await request.read(_MAX_BODY_BYTES)
    try:
        if "json" in (request.header("content-type") or "") or body.lstrip()[:1] == b"{":
            return msgspec.json.decode(body or b"{}", type=kind)
        return msgspec.convert(_form(body), kind, strict=False)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body does not say what is wanted: {error}", code=code) from None


def _form(body: bytes) -> dict[str, Any]:
    """The fields of a form. Lists are repeated fields, or have commas."""
    fields: dict[str, Any] = {}
    for name, value in parse_qsl(body.decode(), errors="strict", max_num_fields=_MAX_FIELDS):
        if name in _LISTS:
            fields.setdefault(name, []).extend(filter(None, value.split(",")))
        else:
            fields[name] = value
    return fields
