"""Which settings take effect in a server that runs, and which need it to start again."""

from __future__ import annotations

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
    "tls.",
    "telemetry.",
)
_LIVE = frozenset({"server.log_level"})


def reloadable(old: Settings, new: Settings) -> tuple[Settings, list[str]]:
    """Return the new settings as far as a running server can take them, and the paths of those that need a restart.

    The latter are as in `old` in the settings returned.
    """
    before, after = dict(values_of(old.gateway)), dict(values_of(new.gateway))
    waiting = []
    options = {}
    for path, setting in SETTINGS.items():
        name = path.rpartition(".")[2]
        was = getattr(old, name) if setting.is_option else before.get(path)
        now = getattr(new, name) if setting.is_option else after.get(path)
        if was == now or path in _LIVE or not path.startswith(_AT_START):
            continue
        waiting.append(path)
        if setting.is_option:
            options[name] = was
        else:
            after[path] = was
    gateway = make(Gateway, Gateway(), after)
    return msgspec.structs.replace(new, **options, gateway=gateway), waiting
