"""The server's own options, read from text: one function for each kind of value, one name for each option.

A value that cannot be used is a `ConfigError` that names the option and what it may be. The settings of the gateway are
the business of `tree`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

import msgspec

from xetway.errors import ConfigError

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

VARIABLE_PREFIX = "XETWAY_"
_DURATION = re.compile(r"([0-9]{1,9})([smhd]?)")
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) ?(?:([kmgtp])(i)?)?b?")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_MAX_WORKERS = 64


def default_data(environment: Mapping[str, str] = os.environ) -> Path:
    """The folder used when none is named: this user's data folder, as the platform has it."""
    home = Path(environment.get("HOME") or environment.get("USERPROFILE") or Path.home())
    if sys.platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local") / "xetway"
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "xetway"
    return Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share") / "xetway"


def data_folder(given: str | os.PathLike[str] | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The data folder: as given, or XETWAY_DATA, or the platform's place.

    Raises:
        ConfigError: The path cannot be a folder.
    """
    named = given or environment.get(VARIABLE_PREFIX + "DATA")
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


def parse_flag(text: str) -> bool | None:
    """Read a yes or no; None if it is neither."""
    lowered = text.strip().lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    return False if lowered in {"0", "false", "no", "off"} else None


def _host(value: str) -> str:
    if value == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(value.strip("[]")))
    except ValueError:
        raise _wrong("host", value, "an IP address, such as 127.0.0.1, ::1 or 0.0.0.0") from None


def _number(name: str, low: int, high: int, value: str) -> int:
    if not (value.isascii() and value.isdigit() and low <= int(value[:12]) <= high):
        raise _wrong(name, value, f"a whole number from {low} to {high}")
    return int(value)


def _flag(name: str, value: str) -> bool:
    flag = parse_flag(value)
    if flag is None:
        raise _wrong(name, value, "true or false")
    return flag


def _log_level(value: str) -> LogLevel:
    try:
        level: LogLevel = msgspec.convert(value.lower(), LogLevel)
    except msgspec.ValidationError:
        raise _wrong("log_level", value, "debug, info, warning or error") from None
    return level


def _address(name: str, example: str, value: str) -> str:
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


def _file(name: str, value: str) -> Path:
    path = Path(value).expanduser().absolute()
    if not path.is_file():
        raise _wrong(name, value, "a file of certificates in PEM form")
    return path


def _size(name: str, least: int, value: str) -> int:
    size = parse_size_bytes(value, name)
    if size < least:
        raise _wrong(name, value, f"at least {least} bytes")
    return size


def _wrong(name: str, value: str, valid: str) -> ConfigError:
    # Only the settings of a server have variables; other commands have options that are read here too.
    variable = f" (or {VARIABLE_PREFIX}{name.upper()})" if name in {*SERVER, *MIRROR} else ""
    return ConfigError(f"--{name.replace('_', '-')}{variable} is {value!r}; it must be {valid}")


# How each option is read; `data` besides, which depends on the environment.
READERS: dict[str, Callable[[str], Any]] = {
    "host": _host,
    "port": partial(_number, "port", 0, 65_535),
    "open": partial(_flag, "open"),
    "public_url": partial(_address, "public_url", "https://hub.example.org"),
    "workers": partial(_number, "workers", 1, _MAX_WORKERS),
    "log_level": _log_level,
    "upstream": partial(_address, "upstream", "https://huggingface.co"),
    "offline": partial(_flag, "offline"),
    "ca_bundle": partial(_file, "ca_bundle"),
    "cache_size": partial(_size, "cache_size", 1 << 20),
    "min_free": partial(_size, "min_free", 0),
    "max_stale": lambda value: parse_duration_s(value, "max_stale"),
    "upstream_concurrency": partial(_number, "upstream_concurrency", 1, 1024),
    "upstream_rate": partial(_size, "upstream_rate", 1024),
    "use_hf_token": partial(_flag, "use_hf_token"),
}
# The tables of a configuration file that they are in.
SERVER = ("host", "port", "data", "open", "public_url", "workers", "log_level")
MIRROR = tuple(name for name in READERS if name not in SERVER)
