"""Every single setting: its path such as ``queue.max_size``, its variable, its default, and how it is read.

The settings of the gateway come from the structs in `gateway`, so nothing is listed twice. Tables of them
(``[queue]``) are taken apart; a list of tables (``[[models]]``) is one setting.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct, inspect

from xetway.errors import ConfigError
from xetway.settings.gateway import Gateway
from xetway.settings.options import MIRROR, SERVER, VARIABLE_PREFIX, parse_duration_s, parse_flag, parse_size_bytes

T = TypeVar("T", bound=Struct)

_OPTION_TABLES = {"server": SERVER, "mirror": MIRROR}
# What a setting without a value is called, where null cannot be written.
NONE = "none"


class Setting(Struct, frozen=True):
    """One setting. Those of the server itself are text here, and read by `options`."""

    path: str
    type: Any
    default: Any

    @property
    def variable(self) -> str:
        """The environment variable of this setting."""
        table, _, name = self.path.partition(".")
        return VARIABLE_PREFIX + (name if table in _OPTION_TABLES else self.path.replace(".", "_")).upper()

    @property
    def is_option(self) -> bool:
        """Whether it is an option of the server, not of the gateway."""
        return self.path.partition(".")[0] in _OPTION_TABLES

    @property
    def is_optional(self) -> bool:
        """Whether it may have no value."""
        return type(None) in get_args(self.type)

    @property
    def kind(self) -> Any:
        """The type of its value, if it has one."""
        return next(kind for kind in get_args(self.type) if kind is not type(None)) if self.is_optional else self.type

    @property
    def is_size(self) -> bool:
        """Whether it is a number of bytes."""
        return self.path.endswith("_bytes")

    @property
    def is_time(self) -> bool:
        """Whether it is a number of seconds."""
        return isinstance(inspect.type_info(self.kind), inspect.FloatType)

    @property
    def is_tables(self) -> bool:
        """Whether it is a list of tables."""
        return _row(self.kind) is not None

    @property
    def valid(self) -> str:
        """What its value may be, in words."""
        words = "a list of tables" if self.is_tables else _words(inspect.type_info(self.kind), self.is_size)
        return f"{words}, or {NONE}" if self.is_optional else words

    def read(self, value: Any, *, is_text: bool, folder: Path) -> Any:
        """Check a value: text as in a variable, or what a TOML file holds.

        Relative paths are relative to `folder`.

        Raises:
            ValueError: It cannot be used; the text says where inside it, if it has an inside.
        """
        if self.is_optional and isinstance(value, str) and value.lower() == NONE:
            return None
        if isinstance(value, str) and (is_text or self.is_size or self.is_time):
            value = self._from_text(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError
        if self.is_tables:
            _check_names(value, self.kind, self.path)

        def path(_kind: Any, text: Any) -> Path:
            return folder / Path(text).expanduser()

        try:
            return msgspec.convert(value, self.kind, dec_hook=path)
        except msgspec.ValidationError as error:
            reason, _, place = str(error).rpartition(" - at ")
            inside = place.replace("`", "").replace("$", self.path, 1)
            raise ValueError(f"{inside}: {reason}{_choice(self.kind, place)}" if reason else place) from None

    def _from_text(self, text: str) -> Any:
        if self.is_size:
            return parse_size_bytes(text, self.path)
        if self.is_tables:
            return _toml(text)
        read = _FROM_TEXT.get(type(inspect.type_info(self.kind)))
        return read(text) if read is not None else text


def _toml(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float(parse_duration_s(text, "time"))


def _list(text: str) -> Any:
    return _toml(text) if text.startswith("[") else [item for part in text.split(",") if (item := part.strip())]


# What is None in the end is nothing that was meant, and refused as a value of another type.
_FROM_TEXT: Mapping[type[inspect.Type], Callable[[str], Any]] = {
    inspect.BoolType: parse_flag,
    inspect.IntType: lambda text: int(text) if text.isascii() and text[-19:].removeprefix("-").isdigit() else None,
    inspect.FloatType: _seconds,
    inspect.LiteralType: str.lower,
    inspect.VarTupleType: _list,
}
_WORDS: Mapping[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.VarTupleType: "a list (in a variable with commas)",
    inspect.CustomType: "a path",
}


def _words(kind: inspect.Type, is_size: bool) -> str:
    if isinstance(kind, inspect.LiteralType):
        return " or ".join(map(str, kind.values))
    if not isinstance(kind, (inspect.IntType, inspect.FloatType)):
        return _WORDS.get(type(kind), "text")
    least = f"at least {kind.ge:g}" if kind.ge is not None else f"above {kind.gt:g}" if kind.gt is not None else ""
    most = f"at most {kind.le:g}" if kind.le is not None else ""
    bounds = " and ".join(filter(None, (least, most)))
    if is_size:
        return f"a number of bytes {bounds}, such as 10MiB"
    if isinstance(kind, inspect.FloatType):
        return f"a time {bounds} in seconds, such as 0.5, 90s or 5m"
    return f"a whole number {bounds}".rstrip()


def _choice(kind: Any, place: str) -> str:
    """What a word at a place such as `$[0].scopes[1]` may be; nothing if any text, or no text, belongs there."""
    for step in re.findall(r"\.(\w+)|\[\d+\]", place):
        if step:
            inner = struct_of(kind)
            kind = None if inner is None else get_type_hints(inner, include_extras=True).get(step)
        else:
            while get_origin(kind) is Annotated:
                kind = get_args(kind)[0]
            kind = get_args(kind)[0] if get_origin(kind) is tuple else None
    return f"; it must be {' or '.join(map(str, get_args(kind)))}" if get_origin(kind) is Literal else ""


def _row(kind: Any) -> type[Struct] | None:
    """The struct that a list of tables has in each place; None for anything else."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    row = get_args(kind)[0] if get_origin(kind) is tuple else None
    return row if isinstance(row, type) and issubclass(row, Struct) else None


def struct_of(kind: Any) -> type[Struct] | None:
    """The struct that a table is read as, also where it may be left out; None for anything else."""
    kinds = get_args(kind) if get_origin(kind) in {Union, UnionType} else (kind,)
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Struct)), None)


def _take_apart(kind: type[Struct], default: Any, prefix: str) -> Iterator[Setting]:
    for field in msgspec.structs.fields(kind):
        path, value = prefix + field.name, getattr(default, field.name, None)
        inner = struct_of(field.type)
        if inner is None:
            yield Setting(path, field.type, value)
        else:
            yield from _take_apart(inner, value, path + ".")


SETTINGS: Mapping[str, Setting] = {
    setting.path: setting
    for setting in (
        *(Setting(f"{table}.{name}", str | None, None) for table, names in _OPTION_TABLES.items() for name in names),
        *_take_apart(Gateway, Gateway(), ""),
    )
}
TABLES: frozenset[str] = frozenset(
    ".".join(parts[:count]) for path in SETTINGS for parts in [path.split(".")] for count in range(1, len(parts))
)


def make(kind: type[T], default: T | None, values: Mapping[str, Any], prefix: str = "") -> T | None:
    """Build a struct of the values of its settings, and of its default for all others.

    Raises:
        ConfigError: A table that may be left out is there in part.
    """
    changed: dict[str, Any] = {}
    missing = []
    for field in msgspec.structs.fields(kind):
        path, inner = prefix + field.name, struct_of(field.type)
        if inner is not None:
            changed[field.name] = make(inner, getattr(default, field.name), values, path + ".")
        elif path in values:
            changed[field.name] = values[path]
        if default is None and field.required and changed.get(field.name) is None:
            missing.append(path)
    if default is not None:
        return msgspec.structs.replace(default, **changed)
    given = [name for name, value in changed.items() if value is not None]
    if given and missing:
        raise ConfigError(f"{prefix}{given[0]} is set, and {' and '.join(missing)} is missing")
    return kind(**changed) if given else None


def values_of(table: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Take a struct apart into its settings: what `make` puts together. A table that is left out has none."""
    for field in msgspec.structs.fields(table):
        value = getattr(table, field.name)
        if struct_of(field.type) is None:
            yield prefix + field.name, value
        elif value is not None:
            yield from values_of(value, f"{prefix}{field.name}.")


def unknown(name: str, known: Iterable[str], shown: str | None = None) -> str:
    """Say that a name is not known, and which one is like it."""
    names = sorted(known)
    last = name.rpartition(".")[2]
    like = difflib.get_close_matches(name, names, 1) or [path for path in names if path.rpartition(".")[2] == last]
    meant = f"; did you mean {like[0]}?" if like else ""
    return f"{shown or name} is no setting{meant}"


def _check_names(value: Any, kind: Any, place: str) -> None:
    """Refuse names that are not known, anywhere inside a list of tables; what else is wrong is told by msgspec."""
    row, table = _row(kind), struct_of(kind)
    if row is not None and isinstance(value, list):
        for index, item in enumerate(value):
            _check_names(item, row, f"{place}[{index}]")
    elif table is not None and isinstance(value, dict):
        fields = {field.name: field.type for field in msgspec.structs.fields(table)}
        for name, inner in value.items():
            if name not in fields:
                raise ValueError(unknown(name, fields, f"{place}.{name}"))
            _check_names(inner, fields[name], f"{place}.{name}")
