"""What can be set: command line options over environment variables over defaults.

Each option of `xetway serve` has a variable: ``--public-url`` is ``XETWAY_PUBLIC_URL``, and so on. A value that
cannot be used is a `ConfigError` that names the setting and what it may be.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from xetway.errors import ConfigError

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_VARIABLE_PREFIX = "XETWAY_"
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?(?:([kmgtp])(i)?)?b?")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_WORKERS = 64


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

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self.host).is_loopback


def default_data(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder used when none is named: this user's data folder, as the platform has it."""
    home = Path(environment.get("HOME") or environment.get("USERPROFILE") or Path.home())
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "xetway"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "xetway"
    return Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "xetway"


def load(options: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Settings:
    """Build the settings. `options` holds what the command line gave; None means not given.

    Raises:
        ConfigError: A value cannot be used; the message names the setting and the valid range.
    """
    values: dict[str, str] = {}
    for name in Settings.__struct_fields__:
        given = options.get(name)
        if given is None:
            given = environment.get(_VARIABLE_PREFIX + name.upper()) or None
        if given is not None:
            values[name] = str(given).strip()
    settings = Settings(
        host=_host(values.get("host", "127.0.0.1")),
        port=_number("port", values.get("port", "8080"), 0, 65_535),
        data=data_folder(values.get("data"), environment),
        open=_flag("open", values.get("open", "false")),
        public_url=_address("public_url", values.get("public_url"), "https://hub.example.org"),
        workers=_number("workers", values.get("workers", "1"), 1, _MAX_WORKERS),
        log_level=_log_level(values.get("log_level", "info")),
        upstream=_address("upstream", values.get("upstream"), "https://huggingface.co"),
        offline=_flag("offline", values.get("offline", "false")),
        ca_bundle=_file("ca_bundle", values.get("ca_bundle")),
        cache_size=_size("cache_size", values.get("cache_size"), 1 << 20),
        min_free=_size("min_free", values.get("min_free"), 0),
        max_stale=parse_duration_s(values.get("max_stale", "7d"), "max_stale"),
        upstream_concurrency=_optional_number("upstream_concurrency", values.get("upstream_concurrency"), 1, 1024),
        upstream_rate=_size("upstream_rate", values.get("upstream_rate"), 1024),
        use_hf_token=_flag("use_hf_token", values.get("use_hf_token", "false")),
    )
    _check_mirror(settings)
    return settings


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


def data_folder(given: str | os.PathLike[str] | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The data folder: as given, or XETWAY_DATA, or the platform's place.

    Raises:
        ConfigError: The path cannot be a folder.
    """
    named = given or environment.get(_VARIABLE_PREFIX + "DATA")
    path = Path(named).expanduser().absolute() if named else default_data(environment)
    if path.exists() and not path.is_dir():
        raise _wrong("data", str(path), "a folder, which is made if it is not there")
    return path


def parse_duration_s(text: str, name: str) -> int:
    """Read a time such as ``90``, ``90s``, ``15m``, ``12h`` or ``30d`` into seconds.

    Raises:
        ConfigError: It is none; `name` says in the message which option was wrong.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise _wrong(name, text, "a number with s, m, h or d, such as 30d")
    return int(match[1]) * _SECONDS[match[2]]


def parse_size_bytes(text: str, name: str) -> int:
    """Read a size such as ``500GB``, ``1.5 TiB`` or ``1000000`` into bytes: powers of 1000, with an ``i`` of 1024.

    Raises:
        ConfigError: It is none; `name` says in the message which option was wrong.
    """
    match = _SIZE.fullmatch(text.strip().lower())
    if match is None:
        raise _wrong(name, text, "a size such as 500GB, 2TiB or a number of bytes")
    power = " kmgtp".index(match[2] or " ")
    return int(Decimal(match[1]) * (1024 if match[3] else 1000) ** power)


def _host(value: str) -> str:
    if value == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        raise _wrong("host", value, "an IP address, such as 127.0.0.1, ::1 or 0.0.0.0") from None


def _number(name: str, value: str, low: int, high: int) -> int:
    if not (value.isascii() and value.isdigit() and low <= int(value[:12]) <= high):
        raise _wrong(name, value, f"a whole number from {low} to {high}")
    return int(value)


def _flag(name: str, value: str) -> bool:
    lowered = value.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise _wrong(name, value, "true or false")


def _log_level(value: str) -> LogLevel:
    try:
        level: LogLevel = msgspec.convert(value.lower(), LogLevel)
    except msgspec.ValidationError:
        raise _wrong("log_level", value, "debug, info, warning or error") from None
    return level


def _address(name: str, value: str | None, example: str) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    has_user = parts.username is not None or parts.password is not None
    if not usable or parts.query or parts.fragment or has_user or not value.isascii() or not value.isprintable():
        # A password in it must not be shown again.
        shown = "an address with a user name" if "@" in value else value
        raise _wrong(name, shown, f"an http:// or https:// address without query or user, such as {example}")
    return value.rstrip("/")


def _file(name: str, value: str | None) -> Path | None:
    if value is None:
        return None
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise _wrong(name, value, "a file of certificates in PEM form")
    return path


def _size(name: str, value: str | None, least: int) -> int | None:
    if value is None:
        return None
    size = parse_size_bytes(value, name)
    if size < least:
        raise _wrong(name, value, f"at least {least} bytes")
    return size


def _optional_number(name: str, value: str | None, low: int, high: int) -> int | None:
    return None if value is None else _number(name, value, low, high)


def _wrong(name: str, value: str, valid: str) -> ConfigError:
    # Only the settings of a server have variables; other commands have options that are read here too.
    variable = f" (or {_VARIABLE_PREFIX}{name.upper()})" if name in Settings.__struct_fields__ else ""
    return ConfigError(f"--{name.replace('_', '-')}{variable} is {value!r}; it must be {valid}")
