"""What can be set: command line over environment variables over a configuration file over defaults.

Each option of `xetway serve` has a variable: ``--public-url`` is ``XETWAY_PUBLIC_URL``, and so on. So has each setting
of the gateway, by its path: ``queue.max_size`` is ``XETWAY_QUEUE_MAX_SIZE``. A value that cannot be used is a
`ConfigError` that names the setting and what it may be.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from xetway.errors import ConfigError
from xetway.settings.checks import check, digested
from xetway.settings.gateway import Gateway
from xetway.settings.options import (
    READERS,
    LogLevel,
    data_folder,
    default_data,
    parse_duration_s,
    parse_size_bytes,
)
from xetway.settings.sources import Given, Values, collect
from xetway.settings.tree import SETTINGS, make

__all__ = [
    "LogLevel",
    "Settings",
    "check_upstream",
    "data_folder",
    "default_data",
    "explain",
    "load",
    "parse_duration_s",
    "parse_size_bytes",
]

DOWNLOAD_DRAIN_S = 3.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a server, checked."""

    host: str = "127.0.0.1"
    port: int = 8080
    data: Path
    # Whether writing needs no token.
    open: bool = False
    # How clients reach this server, when that is not what their Host header says (behind a proxy).
    public_url: str | None = None
    workers: int = 1
    log_level: LogLevel = "info"
    # The Hub to mirror, without a slash at its end; None for no mirror. The rest is about the mirror alone.
    upstream: str | None = None
    offline: bool = False
    ca_bundle: Path | None = None
    # Bytes of content kept on disk, and bytes of the disk left free; None: no bound of our own, 5 % of the disk.
    cache_size: int | None = None
    min_free: int | None = None
    max_stale: int = 7 * 86_400
    upstream_concurrency: int | None = None
    upstream_rate: int | None = None
    # Whether callers without a token of the upstream's use the HF_TOKEN of this process.
    use_hf_token: bool = False
    # The models that run elsewhere, and who may use them how much.
    gateway: Gateway = Gateway()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def drain_s(self) -> float:
        """How long requests may go on when the server is told to stop: downloads can be resumed, answers cannot."""
        return self.gateway.http.drain if self.gateway.models else DOWNLOAD_DRAIN_S


def load(options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings. `options` holds what the command line gave; None means not given.

    Besides the options of the server, `options` may have ``config``, the path of a TOML file, and ``set``, a list of
    ``path=value``.

    Raises:
        ConfigError: A value cannot be used; the message names the setting and the valid range.
    """
    return explain(options, environment)[0]


def explain(
    options: Mapping[str, Any], environment: Mapping[str, str] = os.environ
) -> tuple[Settings, Mapping[str, str]]:
    """Build the settings as `load`, and tell where those that are set come from, by path.

    Raises:
        ConfigError: As `load`.
    """
    values = collect(options, environment)
    read: dict[str, Any] = {}
    for path, given in values.items():
        if SETTINGS[path].is_option:
            name = path.rpartition(".")[2]
            read[name] = _option(path, given, environment)
    read.setdefault("data", data_folder(None, environment))
    gateway = _gateway(values)
    settings = Settings(**read, gateway=gateway)
    _check_mirror(settings)
    check(gateway)
    return settings, {path: given.source for path, given in values.items()}


def _option(path: str, given: Given, environment: Mapping[str, str]) -> Any:
    name = path.rpartition(".")[2]
    try:
        return data_folder(given.value, environment) if name == "data" else READERS[name](given.value)
    except ConfigError as error:
        # The message names the option and its variable.
        if given.source in {SETTINGS[path].variable, f"--{name.replace('_', '-')}"}:
            raise
        raise ConfigError(f"{given.source}: {error.message}") from None


def _gateway(values: Values) -> Gateway:
    given = {path: digested(path, value.value) for path, value in values.items() if not SETTINGS[path].is_option}
    if given.get("auth.keys") and "auth.enabled" not in given:
        values["auth.enabled"] = Given(value=True, source="auth.keys")
        given["auth.enabled"] = True
    gateway = make(Gateway, Gateway(), given)
    assert gateway is not None
    return gateway


def _check_mirror(settings: Settings) -> None:
    if settings.upstream is None:
        if settings.offline:
            raise ConfigError("--offline (or XETWAY_OFFLINE) needs --upstream, the hub whose cached files are served")
        return
    if settings.workers > 1:
        raise ConfigError("--workers must be 1 with --upstream: one process owns the mirror's cache")
    check_upstream(settings)


def check_upstream(settings: Settings) -> None:
    """Refuse an upstream that is this very server, as far as its address says so.

    Raises:
        ConfigError: It is.
    """
    if settings.upstream is None:
        return
    parts = urlsplit(settings.upstream)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    own_names = {settings.host}
    if settings.is_loopback or ipaddress.ip_address(settings.host).is_unspecified:
        own_names |= {"localhost", "127.0.0.1", "::1"}
    # Port 0 is none yet; the server looks again when it has one.
    is_own = parts.scheme == "http" and parts.hostname in own_names and port == settings.port != 0
    if is_own or settings.upstream == settings.public_url:
        raise ConfigError(f"--upstream (or XETWAY_UPSTREAM) is {settings.upstream}, which is this server itself")
