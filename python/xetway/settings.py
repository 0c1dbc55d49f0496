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
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from xetway.errors import ConfigError

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_VARIABLE_PREFIX = "XETWAY_"
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
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
    return Settings(
        host=_host(values.get("host", "127.0.0.1")),
        port=_number("port", values.get("port", "8080"), 0, 65_535),
        data=data_folder(values.get("data"), environment),
        open=_flag("open", values.get("open", "false")),
        public_url=_public_url(values.get("public_url")),
        workers=_number("workers", values.get("workers", "1"), 1, _MAX_WORKERS),
        log_level=_log_level(values.get("log_level", "info")),
    )


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


def _public_url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable or parts.query or parts.fragment or parts.username or not value.isascii() or not value.isprintable():
        raise _wrong(
            "public_url", value, "an http:// or https:// address without query, such as https://hub.example.org"
        )
    return value.rstrip("/")


def _wrong(name: str, value: str, valid: str) -> ConfigError:
    option = "--" + name.replace("_", "-")
    return ConfigError(f"{option} (or {_VARIABLE_PREFIX}{name.upper()}) is {value!r}; it must be {valid}")
