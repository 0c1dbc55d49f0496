"""Variables that other model servers and proxies are configured with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.unit.settings_driver import SMALLEST, Loader, loader, refused
from xetway.settings import load
from xetway.settings.aliases import ALIASES, WITHOUT_EFFECT
from xetway.settings.sources import without_effect
from xetway.settings.tree import values_of

_REQUESTS = ("limits.key.requests_per_minute", "limits.anonymous.requests_per_minute")
SAMPLES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "SERVER_ADDRESS": ("[::1]:99", {"host": "::1", "port": 99}),
    "HOST": ("192.0.2.1", {"host": "192.0.2.1"}),
    "PORT": ("99", {"port": 99}),
    "LOG_LEVEL": ("WARN", {"log_level": "warning"}),
    "SERVER_TIMEOUT_SECONDS": ("31", {"http.timeout": 31.0}),
    "MAX_REQUEST_SIZE": ("1000", {"http.max_body_bytes": 1000}),
    "AUTH_ENABLED": ("true", {"auth.enabled": True}),
    "API_KEYS": ("k", {"auth.enabled": True}),
    "AUTH_HEALTH_CHECK": ("true", {"auth.public": ("/openapi.json",)}),
    "RATE_LIMIT_ENABLED": ("1", {"limits.enabled": True}),
    "RATE_LIMIT_RPM": ("7", dict.fromkeys(_REQUESTS, 7)),
    "RATE_LIMIT_BURST": ("7", {"limits.key.burst": 7, "limits.anonymous.burst": 7}),
    "ENABLE_TRACING": ("false", {"telemetry.traces": False}),
    "ENABLE_METRICS": ("false", {"telemetry.metrics": False}),
    "OTLP_ENDPOINT": ("http://h:4318", {"telemetry.otlp_endpoint": "http://h:4318"}),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("http://h:4318", {"telemetry.otlp_endpoint": "http://h:4318"}),
    "OTEL_METRIC_EXPORT_INTERVAL": ("500", {"telemetry.otlp_interval": 0.5}),
    "OTEL_SERVICE_NAME": ("n", {"telemetry.service_name": "n"}),
    "HF_SERVER_HOST": ("192.0.2.1", {"host": "192.0.2.1"}),
    "HF_SERVER_PORT": ("99", {"port": 99}),
    "HF_SERVER_WORKERS": ("2", {"workers": 2}),
    "HF_SERVER_LOG_LEVEL": ("INFO", {"log_level": "info"}),
    "HF_SERVER_LOG_FORMAT": ("json", {"telemetry.log_format": "json"}),
    "HF_SERVER_ENABLE_AUTH": ("true", {"auth.enabled": True}),
    "HF_SERVER_REQUIRE_AUTH": ("true", {"auth.enabled": True}),
    "HF_SERVER_API_KEY": ("k", {"auth.enabled": True}),
    "HF_SERVER_ADMIN_API_KEY": ("k", {"auth.enabled": True}),
    "HF_SERVER_ENABLE_RATE_LIMITING": ("true", {"limits.enabled": True}),
    "HF_SERVER_DEFAULT_RATE_LIMIT": ("7", {"limits.key.requests_per_minute": 7}),
    "HF_SERVER_ENABLE_REQUEST_QUEUE": ("no", {"queue.enabled": False}),
    "HF_SERVER_MAX_QUEUE_SIZE": ("7", {"queue.max_size": 7}),
    "HF_SERVER_QUEUE_TIMEOUT_SECONDS": ("7", {"queue.timeout": 7.0}),
    "HF_SERVER_ENABLE_BATCHING": ("yes", {"batching.enabled": True}),
    "HF_SERVER_BATCH_MAX_SIZE": ("7", {"batching.max_size": 7}),
    "HF_SERVER_BATCH_TIMEOUT_MS": ("100", {"batching.window": 0.1}),
    "HF_SERVER_ENABLE_CACHING": ("true", {"cache.enabled": True}),
    "HF_SERVER_CACHE_TTL_SECONDS": ("7", {"cache.ttl": 7.0}),
    "HF_SERVER_ENABLE_CIRCUIT_BREAKER": ("false", {"breaker.enabled": False}),
    "HF_SERVER_CIRCUIT_BREAKER_THRESHOLD": ("7", {"breaker.failures": 7}),
    "HF_SERVER_CIRCUIT_BREAKER_TIMEOUT_SECONDS": ("7", {"breaker.open_for": 7.0}),
    "HF_SERVER_ENABLE_METRICS": ("false", {"telemetry.metrics": False}),
    "HF_SERVER_ENABLE_CORS": ("false", {"cors.origins": ()}),
    "HF_SERVER_CORS_ORIGINS": ("*", {"cors.origins": ("*",)}),
}  # fmt: skip
TOGETHER = {"ENABLE_TLS", "TLS_CERT_PATH", "TLS_KEY_PATH", "ENABLE_L2_CACHE", "REDIS_URL"}


@pytest.fixture
def loaded(tmp_path: Path) -> Loader:
    return loader(tmp_path)


def test_every_other_name_is_shown_here() -> None:
    assert {alias.name for alias in ALIASES} == {*SAMPLES, *TOGETHER}


@pytest.mark.parametrize("name", SAMPLES)
def test_other_names(loaded: Loader, name: str) -> None:
    text, expected = SAMPLES[name]
    settings = loaded(SMALLEST + '[cors]\norigins = ["https://a.test"]\n', {name: text})
    values = dict(values_of(settings.gateway)) | {field: getattr(settings, field) for field in ("host", "port")}
    values |= {"log_level": settings.log_level, "workers": settings.workers}
    assert expected.items() <= values.items()


@pytest.mark.parametrize("name", sorted({*SAMPLES, *TOGETHER} - {"API_KEYS", "HF_SERVER_API_KEY", "TLS_KEY_PATH"}))
def test_a_wrong_value_of_another_name(loaded: Loader, name: str) -> None:
    if name in {"HF_SERVER_CORS_ORIGINS", "TLS_CERT_PATH", "REDIS_URL", "HF_SERVER_ADMIN_API_KEY"}:
        return  # any text, or checked with others
    if name in {"OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SERVICE_NAME"}:
        return
    assert name in refused(loaded, SMALLEST, {name: "?"})


def test_generic_names_do_not_change_a_hub() -> None:
    stray = {name: text for name, (text, _) in SAMPLES.items() if not name.startswith("HF_SERVER_")}
    assert load({}, stray | {"ENABLE_TLS": "true", "ENABLE_L2_CACHE": "1"}) == load({}, {})
    assert load({}, {"HF_SERVER_PORT": "99"}).port == 99
    models = '[{name = "n", upstreams = [{url = "http://u/v1"}]}]'
    assert load({"set": [f"models={models}"]}, {"PORT": "99"}).port == 99


def test_names_that_disagree(loaded: Loader) -> None:
    pair = {"PORT": "1", "HF_SERVER_PORT": "2"}
    assert refused(loaded, SMALLEST, pair) == (
        "PORT and HF_SERVER_PORT say different things of server.port; XETWAY_PORT would decide"
    )
    assert loaded(SMALLEST, pair | {"XETWAY_PORT": "3"}).port == 3
    assert loaded(SMALLEST, {"PORT": "1", "SERVER_ADDRESS": "127.0.0.1:1"}).port == 1


def test_tls_and_the_second_cache_have_switches(loaded: Loader, tmp_path: Path) -> None:
    for name in ("cert", "key"):
        (tmp_path / name).touch()
    paths = {"TLS_CERT_PATH": str(tmp_path / "cert"), "TLS_KEY_PATH": str(tmp_path / "key")}
    tls = loaded(SMALLEST, paths | {"ENABLE_TLS": "true"}).gateway.tls
    assert tls is not None
    assert (tls.cert, tls.key) == (tmp_path / "cert", tmp_path / "key")
    assert loaded(SMALLEST, paths).gateway.tls == tls
    assert loaded(SMALLEST, paths | {"ENABLE_TLS": "false"}).gateway.tls is None
    in_file = SMALLEST + '[tls]\ncert = "cert"\nkey = "key"\n'
    assert loaded(in_file).gateway.tls == tls
    assert loaded(in_file, {"ENABLE_TLS": "false"}).gateway.tls is None
    assert "needs TLS_CERT_PATH and TLS_KEY_PATH" in refused(loaded, SMALLEST, {"ENABLE_TLS": "true"})
    redis = {"REDIS_URL": "redis://user:hidden@h:6379/1"}
    assert loaded(SMALLEST, redis).gateway.cache.url is None
    cache = loaded(SMALLEST, redis | {"ENABLE_L2_CACHE": "true"}).gateway.cache
    assert (cache.enabled, cache.url) == (True, redis["REDIS_URL"])
    assert "needs REDIS_URL" in refused(loaded, SMALLEST, {"ENABLE_L2_CACHE": "true"})
    wrong = {"REDIS_URL": "http://user:hidden@h", "ENABLE_L2_CACHE": "true"}
    assert "hidden" not in refused(loaded, SMALLEST, wrong)


def test_variables_that_mean_nothing_here_are_told() -> None:
    assert without_effect({"METRICS_PORT": "9090", "PORT": "1"}) == [
        "METRICS_PORT has no effect: /metrics is on the server's own port"
    ]
    assert not set(WITHOUT_EFFECT) & {alias.name for alias in ALIASES}
