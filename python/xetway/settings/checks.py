"""What no single setting can tell: that settings fit each other, and that no secret is where it would be seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from xetway.errors import ConfigError
from xetway.settings.gateway import Gateway, Model, StaticKey, Upstream, digest_of

# As a browser writes it: without the scheme's own port, and nothing after it.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?")
_OWN_PORT = re.compile(r"http://.*:80|https://.*:443")
# What uploads to the content store begin with.
OF_THE_STORE = re.compile(r"/v1/(?:shards|telemetry|xorbs|xorb-grants)(?:/.*)?")


def digested(path: str, value: Any) -> Any:
    """Replace keys by their digests, so that nothing that has the settings has a key."""
    if path != "auth.keys":
        return value
    return tuple(
        key if key.key is None else msgspec.structs.replace(key, key=digest_of(key.key).hex()) for key in value
    )


def check(gateway: Gateway) -> None:
    """Refuse settings that contradict each other.

    Raises:
        ConfigError: They do; the message names them.
    """
    for place, problem in _problems(gateway):
        raise ConfigError(f"{place} {problem}")


def _problems(gateway: Gateway) -> Iterator[tuple[str, str]]:
    names: dict[str, str] = {}
    for index, model in enumerate(gateway.models):
        yield from _of_model(model, f"models[{index}]", names)
    for index, key in enumerate(gateway.auth.keys):
        yield from _of_key(key, f"auth.keys[{index}]", names)
    for path, url in (
        ("limits.url", gateway.limits.url),
        ("cache.url", gateway.cache.url),
        ("telemetry.otlp_endpoint", gateway.telemetry.otlp_endpoint),
    ):
        if url is not None:
            yield from _of_url(path, url)
    yield from _of_origins(gateway.cors.origins)
    for path in filter(OF_THE_STORE.fullmatch, gateway.http.paths):
        yield "http.paths", f"has {path!r}, where this server takes uploads itself"
    if gateway.tls is not None:
        for name in ("cert", "key", "client_ca"):
            yield from _of_file(f"tls.{name}", getattr(gateway.tls, name))
    if gateway.cache.max_answer_bytes > gateway.cache.max_bytes:
        yield "cache.max_answer_bytes", f"is more than cache.max_bytes, which is {gateway.cache.max_bytes}"


def _of_model(model: Model, place: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    called = [("name", model.name), *(("aliases", alias) for alias in model.aliases)]
    if model.id is not None:
        called.append(("id", str(model.id)))
    for field, name in called:
        other = names.setdefault("model " + name, place)
        if other != place or (field == "aliases" and name == model.name):
            yield f"{place}.{field}", f"is {name!r}, which is a name of {other} already"
    if not any(upstream.weight for upstream in model.upstreams):
        yield f"{place}.upstreams", "have no weight above 0"
    if both := sorted({*model.set, *model.defaults} & {*model.remove}):
        yield f"{place}.remove", f"has {both[0]!r}, which is set too"
    for name in ("model", "stream"):
        if name in model.set or name in model.defaults or name in model.remove:
            yield place, f"sets or removes {name!r}, which only the client may"
    for index, upstream in enumerate(model.upstreams):
        yield from _of_upstream(upstream, f"{place}.upstreams[{index}]")


def _of_upstream(upstream: Upstream, place: str) -> Iterator[tuple[str, str]]:
    if upstream.key_env is not None and upstream.key_file is not None:
        yield f"{place}.key_file", "and key_env are both set; one names the key"
    try:
        parts = urlsplit(upstream.url)
        is_plain = upstream.url.isascii() and upstream.url.isprintable() and not set(upstream.url) & set(" ?#")
        is_http = upstream.url.startswith(("http://", "https://"))
        is_usable = is_http and is_plain and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    else:
        if "@" in parts.netloc:
            yield f"{place}.url", "has a user name in it; key_env or key_file names a key"
    if not is_usable:
        yield f"{place}.url", "must be an http:// or https:// address without a query, such as http://127.0.0.1:9000/v1"
    yield from _of_file(f"{place}.ca_bundle", upstream.ca_bundle)
    yield from _of_file(f"{place}.key_file", upstream.key_file)


def _of_key(key: StaticKey, place: str, names: dict[str, str]) -> Iterator[tuple[str, str]]:
    if sum(value is not None for value in (key.key, key.key_env, key.key_file)) != 1:
        yield place, "needs one of key, key_env and key_file"
    if (other := names.setdefault("key " + key.name, place)) != place:
        yield f"{place}.name", f"is {key.name!r}, which is the name of {other} already"
    if key.key is not None and (other := names.setdefault("digest " + key.key, place)) != place:
        yield f"{place}.key", f"is the same as that of {other}"
    yield from _of_file(f"{place}.key_file", key.key_file)


def _of_url(path: str, url: str) -> Iterator[tuple[str, str]]:
    schemes = {"http", "https"} if path == "telemetry.otlp_endpoint" else {"redis", "rediss", "valkey", "valkeys"}
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable:
        yield path, f"must be an address that begins with {' or '.join(f'{scheme}://' for scheme in sorted(schemes))}"


def _of_origins(origins: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for origin in () if origins == ("*",) else origins:
        if not _ORIGIN.fullmatch(origin) or _OWN_PORT.fullmatch(origin):
            yield "cors.origins", f'has {origin!r}, not an origin such as https://app.example.org, nor "*" alone'


def _of_file(path: str, file: Path | None) -> Iterator[tuple[str, str]]:
    try:
        if file is not None and not file.is_file():
            yield path, f"is {str(file)!r}, which is no file"
    except OSError as error:
        yield path, f"is {str(file)!r}, which cannot be read: {error.strerror}"
