"""The settings in effect as a TOML document, each with where it comes from, and without secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from xetway.settings import Settings
from xetway.settings.tree import SETTINGS, values_of

MASK = "***"
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"(?:^|[_-])(?:key|token|secret|password|authorization|cookie)s?$", re.IGNORECASE)
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def document(settings: Settings, sources: Mapping[str, str]) -> str:
    """Write all settings as `xetway serve --config` reads them; `sources` is what `explain` tells."""
    values = dict(values_of(settings.gateway))
    for path, setting in SETTINGS.items():
        if setting.is_option:
            values[path] = getattr(settings, path.rpartition(".")[2])
    # Lists of tables come last, and tables in a table after its own values: what follows would belong to them.
    tables = list(dict.fromkeys(path.partition(".")[0] for path in SETTINGS))
    order = sorted(
        SETTINGS,
        key=lambda path: (SETTINGS[path].is_tables, tables.index(path.partition(".")[0]), path.count(".")),
    )
    lines: list[str] = []
    table = ""
    for path in order:
        source = sources.get(path, "default")
        parent, _, name = path.rpartition(".")
        if SETTINGS[path].is_tables:
            for row in values[path]:
                lines += ["", f"[[{path}]]  # {source}", *_table(row, path)]
            continue
        if parent != table:
            table = parent
            lines += ["", f"[{table}]"]
        value = values.get(path)
        shown = "none" if value is None else _shown(name, value)
        lines.append(f"{'# ' if value is None else ''}{name} = {shown}  # {source}")
    return "\n".join(lines).strip() + "\n"


def _table(row: msgspec.Struct, path: str) -> Iterator[str]:
    """The lines of one table in a list; what is not set is left out."""
    inner = []
    for field in msgspec.structs.fields(row):
        value = getattr(row, field.name)
        if value is None or value in ((), {}):
            continue
        if isinstance(value, tuple) and isinstance(value[0], msgspec.Struct):
            inner.append((field.name, value))
        elif isinstance(value, msgspec.Struct):
            plain = {name: limit for name, limit in values_of(value) if limit is not None}
            if plain:
                yield f"{field.name} = {_shown(field.name, plain)}"
        elif field.name == "set_headers":
            yield f"{field.name} = {_shown(field.name, dict.fromkeys(value, MASK))}"
        else:
            yield f"{field.name} = {_shown(field.name, value)}"
    for name, rows in inner:
        for item in rows:
            yield ""
            yield f"[[{path}.{name}]]"
            yield from _table(item, f"{path}.{name}")


def _shown(name: str, value: Any) -> str:
    """A value as TOML has it, masked if its name or itself says that it is a secret."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_name(key)} = {_shown(key, item)}" for key, item in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_shown(name, item) for item in value) + "]"
    if isinstance(value, str) and _SECRET.search(name):
        return _text(MASK)
    if isinstance(value, (str, Path)):
        return _text(_without_user(str(value)))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _without_user(text: str) -> str:
    if "@" not in text or "://" not in text:
        return text
    try:
        host = urlsplit(text).netloc.rpartition("@")
    except ValueError:
        return MASK
    return text.replace(host[0] + "@", MASK + "@", 1) if host[1] else text


def _name(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _text(value: str) -> str:
    escaped = (_ESCAPES.get(char) or (char if char.isprintable() else f"\\U{ord(char):08x}") for char in value)
    return '"' + "".join(escaped) + '"'
