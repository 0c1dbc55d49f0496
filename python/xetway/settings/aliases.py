"""The variables that other model servers and proxies are configured with, and what they are called here.

A name that any program may use (``PORT``) counts only where models are served, so that it does not change a hub by
accident; see `sources`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from xetway.settings.gateway import Scope, StaticKey, digest_of
from xetway.settings.options import parse_flag

# Tells what the variable says of which settings: text as in their own variables, or a value.
Reader = Callable[[str], Mapping[str, Any]]

_LEVELS = {"trace": "debug", "warn": "warning", "critical": "error", "fatal": "error"}
_ALL_SCOPES: tuple[Scope, ...] = ("infer", "load", "admin")
HF_SERVER = "HF_SERVER_"


class Alias(Struct, frozen=True):
    """A variable: the settings it is about, and how it is read. `note` is for people."""

    name: str
    paths: tuple[str, ...]
    read: Reader
    note: str = ""

    @property
    def is_generic(self) -> bool:
        """Whether other programs may use a variable of this name."""
        return not self.name.startswith(HF_SERVER)


def static_keys(text: str, variable: str) -> tuple[StaticKey, ...]:
    """Read keys with commas between them; they are named after the variable. Only their digests are kept."""
    keys = [key for part in text.split(",") if (key := part.strip())]
    return tuple(
        StaticKey(name=f"{variable.lower()}-{number}", key=digest_of(key).hex()) for number, key in enumerate(keys, 1)
    )


def _to(name: str, *paths: str, note: str = "") -> Alias:
    return Alias(name, paths, lambda text: dict.fromkeys(paths, text), note)


def _flag(text: str) -> bool:
    flag = parse_flag(text)
    if flag is None:
        raise ValueError("true or false")
    return flag


def _switch(name: str, path: str, *, on: Any = None, off: Any = None, note: str = "") -> Alias:
    """A variable that says nothing of a setting when it is true, or nothing when it is false."""

    def read(text: str) -> Mapping[str, Any]:
        value = on if _flag(text) else off
        return {} if value is None else {path: value}

    return Alias(name, (path,), read, note)


def _address(text: str) -> Mapping[str, Any]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port):
        raise ValueError("an address and a port, such as 127.0.0.1:8080")
    return {"server.host": host, "server.port": port}


def _level(text: str) -> Mapping[str, Any]:
    return {"server.log_level": _LEVELS.get(text.lower(), text)}


def _milliseconds(name: str, path: str) -> Alias:
    def read(text: str) -> Mapping[str, Any]:
        try:
            return {path: str(float(text) / 1000)}
        except ValueError:
            raise ValueError("a number of milliseconds") from None

    return Alias(name, (path,), read, "in milliseconds")


def _admin(text: str) -> Mapping[str, Any]:
    name = HF_SERVER + "ADMIN_API_KEY"
    return {"auth.keys": (StaticKey(name=name.lower(), key=digest_of(text).hex(), scopes=_ALL_SCOPES),)}


def _keys(name: str, note: str) -> Alias:
    return Alias(name, ("auth.keys",), lambda text: {"auth.keys": static_keys(text, name)}, note)


def _tls(text: str) -> Mapping[str, Any]:
    return {} if _flag(text) else dict.fromkeys(("tls.cert", "tls.key", "tls.client_ca"))


_REQUESTS = ("limits.key.requests_per_minute", "limits.anonymous.requests_per_minute")
_TLS_NOTE = "`false` turns TLS off, and then TLS_CERT_PATH and TLS_KEY_PATH mean nothing; `true` needs both"

ALIASES: tuple[Alias, ...] = (
    Alias("SERVER_ADDRESS", ("server.host", "server.port"), _address, "`ADDRESS:PORT`"),
    _to("HOST", "server.host"),
    _to("PORT", "server.port"),
    Alias("LOG_LEVEL", ("server.log_level",), _level, "also `trace`, `warn`, `critical`"),
    _to("SERVER_TIMEOUT_SECONDS", "http.timeout"),
    _to("MAX_REQUEST_SIZE", "http.max_body_bytes"),
    Alias("ENABLE_TLS", ("tls.cert", "tls.key"), _tls, _TLS_NOTE),
    _to("TLS_CERT_PATH", "tls.cert"),
    _to("TLS_KEY_PATH", "tls.key"),
    _to("AUTH_ENABLED", "auth.enabled"),
    _keys("API_KEYS", "keys with commas between them, each as it is or as its SHA-256 in lower-case hexadecimal"),
    _switch(
        "AUTH_HEALTH_CHECK",
        "auth.public",
        on=("/openapi.json",),
        note="`true`: health checks and /metrics need a key too",
    ),
    _to("RATE_LIMIT_ENABLED", "limits.enabled"),
    _to("RATE_LIMIT_RPM", *_REQUESTS),
    _to("RATE_LIMIT_BURST", "limits.key.burst", "limits.anonymous.burst"),
    _to("ENABLE_TRACING", "telemetry.traces"),
    _to("ENABLE_METRICS", "telemetry.metrics"),
    _to("OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    _to("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    _milliseconds("OTEL_METRIC_EXPORT_INTERVAL", "telemetry.otlp_interval"),
    _to("OTEL_SERVICE_NAME", "telemetry.service_name"),
    _switch("ENABLE_L2_CACHE", "cache.enabled", on=True, note="`true` needs REDIS_URL or `cache.url`"),
    _to("REDIS_URL", "cache.url", note="only with ENABLE_L2_CACHE"),
    _to("HF_SERVER_HOST", "server.host"),
    _to("HF_SERVER_PORT", "server.port"),
    _to("HF_SERVER_WORKERS", "server.workers"),
    Alias("HF_SERVER_LOG_LEVEL", ("server.log_level",), _level),
    _to("HF_SERVER_LOG_FORMAT", "telemetry.log_format"),
    _to("HF_SERVER_ENABLE_AUTH", "auth.enabled"),
    _to("HF_SERVER_REQUIRE_AUTH", "auth.enabled"),
    _keys("HF_SERVER_API_KEY", "as API_KEYS"),
    Alias("HF_SERVER_ADMIN_API_KEY", ("auth.keys",), _admin, "a key with all scopes, as it is or as its SHA-256"),
    _to("HF_SERVER_ENABLE_RATE_LIMITING", "limits.enabled"),
    _to("HF_SERVER_DEFAULT_RATE_LIMIT", *_REQUESTS),
    _to("HF_SERVER_ENABLE_REQUEST_QUEUE", "queue.enabled", note="nothing waits unless `queue.concurrency` is set"),
    _to("HF_SERVER_MAX_QUEUE_SIZE", "queue.max_size"),
    _to("HF_SERVER_QUEUE_TIMEOUT_SECONDS", "queue.timeout"),
    _to("HF_SERVER_ENABLE_BATCHING", "batching.enabled"),
    _to("HF_SERVER_BATCH_MAX_SIZE", "batching.max_size"),
    _milliseconds("HF_SERVER_BATCH_TIMEOUT_MS", "batching.window"),
    _to("HF_SERVER_ENABLE_CACHING", "cache.enabled"),
    _to("HF_SERVER_CACHE_TTL_SECONDS", "cache.ttl"),
    _to("HF_SERVER_ENABLE_CIRCUIT_BREAKER", "breaker.enabled"),
    _to("HF_SERVER_CIRCUIT_BREAKER_THRESHOLD", "breaker.failures"),
    _to("HF_SERVER_CIRCUIT_BREAKER_TIMEOUT_SECONDS", "breaker.open_for"),
    _to("HF_SERVER_ENABLE_METRICS", "telemetry.metrics"),
    _switch("HF_SERVER_ENABLE_CORS", "cors.origins", off=(), note="`true` needs origins"),
    _to("HF_SERVER_CORS_ORIGINS", "cors.origins"),
)

# Accepted, and told to mean nothing here.
WITHOUT_EFFECT: Mapping[str, str] = {
    "METRICS_PORT": "/metrics is on the server's own port",
    "HF_SERVER_METRICS_PORT": "/metrics is on the server's own port",
    "HF_SERVER_ENABLE_HEALTH_CHECKS": "there always are",
    "HF_SERVER_CACHE_MAX_SIZE": "the cache is bounded in bytes, by cache.max_bytes",
    "HF_SERVER_AUTO_DISCOVER": "models are configured",
    "HF_SERVER_SKILL_DIRECTORIES": "models are configured",
    "HF_SERVER_SKILL_PATTERN": "models are configured",
    "HF_SERVER_MAX_LOADED_MODELS": "models run elsewhere",
    "HF_SERVER_MODEL_LOAD_TIMEOUT_SECONDS": "models run elsewhere",
    "HF_SERVER_ENABLE_MODEL_CACHING": "models run elsewhere",
    "HF_SERVER_PREFERRED_HARDWARE": "models run elsewhere",
    "HF_SERVER_ENABLE_HARDWARE_DETECTION": "models run elsewhere",
    "ENABLE_IPFS_KIT": "there is no IPFS",
    "IPFS_BACKEND": "there is no IPFS",
    "ENABLE_HF_CACHE": "`xetway serve --upstream` is a cache of a hub",
}
