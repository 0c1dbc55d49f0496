"""Which settings take effect in a server that runs, and which need it to start again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from xetway.settings import Settings
from xetway.settings.gateway import Gateway
from xetway.settings.tree import SETTINGS, make, values_of

# What sockets, connections to other servers and memory depend on that are made once, at start.
_AT_START = (
    "server.",
    "mirror.",
    "limits.url",
    "cache.url",
    "cache.max_bytes",
    "http.max_header_bytes",
    "http.max_connections",
    "http.header_timeout",
    "http.body_timeout",
    "http.drain",
    "tls.",
    "telemetry.",
)
_LIVE = frozenset({"server.log_level"})


def changed(old: Settings, new: Settings) -> list[str]:
    """Return the paths of all settings that differ."""
    before, after = dict(values_of(old.gateway)), dict(values_of(new.gateway))
    return [path for path in SETTINGS if _value(old, before, path) != _value(new, after, path)]


def reloadable(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return the new settings as far as a running server can take them, and the paths of those that need a restart.

    The latter are as in `old` in the settings returned.
    """
    before, after = dict(values_of(old.gateway)), dict(values_of(new.gateway))
    waiting = []
    options = {}
    for path in changed(old, new):
        setting = SETTINGS[path]
        # A server that began without models has no gateway.
        if path in _LIVE or not (path.startswith(_AT_START) or (not old.gateway.models and not setting.is_option)):
            continue
        waiting.append(path)
        if setting.is_option:
            name = path.rpartition(".")[2]
            options[name] = getattr(old, name)
        else:
            after[path] = before.get(path)
    gateway = make(Gateway, Gateway(), after)
    return msgspec.structs.replace(new, **options, gateway=gateway), waiting


def _value(settings: Settings, of_gateway: Mapping[str, Any], path: str) -> Any:
    return getattr(settings, path.rpartition(".")[2]) if SETTINGS[path].is_option else of_gateway.get(path)
