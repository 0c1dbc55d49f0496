"""Where settings come from: a TOML file, then the environment, then the command line. Each value knows its source.

Variables with names of other programs (`aliases`) stand between the file and our own variables. Generic ones count
only if there is a configuration file or a model, and two that say different things of one setting are refused.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from xetway.errors import ConfigError
from xetway.settings.aliases import ALIASES, HF_SERVER, WITHOUT_EFFECT, Alias, static_keys
from xetway.settings.options import VARIABLE_PREFIX, parse_flag
from xetway.settings.tree import SETTINGS, TABLES, unknown

_KEYS = "auth.keys"
_KEYS_VARIABLE = SETTINGS[_KEYS].variable
_MAX_FILE_BYTES = 4 << 20


class Given(Struct, frozen=True):
    """A value, and what it came from."""

    value: Any
    source: str


Values = dict[str, Given]


def collect(options: Mapping[str, Any], environment: Mapping[str, str]) -> Values:
    """Gather all that is set, by path. `options` are those of the command line; None means not given.

    Raises:
        ConfigError: A value or a name cannot be used; the message says from where, and what is valid.
    """
    file = options.get("config") or environment.get(VARIABLE_PREFIX + "CONFIG")
    found = _from_file(Path(file).expanduser()) if file else {}
    own = _from_environment(environment)
    told = _from_command_line(options)
    serves_models = bool(file or "models" in own or "models" in told)
    over = _from_aliases(environment, {**own, **told}, serves_models=serves_models)
    more_keys = (own.get(_KEYS) or over.get(_KEYS), found.get(_KEYS))
    merged = found | over | own | told
    if keys := [given for given in more_keys if given]:
        # Keys in variables come to those of the file: a file in a repository cannot hold them all.
        merged[_KEYS] = Given(
            tuple(key for given in keys for key in given.value), " and ".join(given.source for given in keys)
        )
    _check_switches(merged, environment, serves_models=serves_models)
    return merged


def without_effect(environment: Mapping[str, str]) -> list[str]:
    """Say which variables are set that other programs know and that mean nothing here."""
    return [f"{name} has no effect: {reason}" for name, reason in WITHOUT_EFFECT.items() if environment.get(name)]


def _read(path: str, value: Any, source: str, *, is_text: bool = True, folder: Path | None = None) -> Given:
    setting = SETTINGS[path]
    try:
        return Given(setting.read(value, is_text=is_text, folder=folder or Path.cwd()), source)
    except (ValueError, TypeError) as error:
        inside = "" if isinstance(error, ConfigError) else str(error)
        raise wrong(path, value, source, setting.valid, inside if setting.is_tables else "") from None


def wrong(path: str, value: Any, source: str, valid: str, inside: str = "") -> ConfigError:
    """The error for a value that cannot be used. What may be secret is not shown."""
    where = source if path in source else f"{source} ({path})"
    if inside:
        return ConfigError(f"{where}: {inside}")
    shown = "not usable" if SETTINGS[path].is_tables or "@" in str(value) else repr(value)
    return ConfigError(f"{where} is {shown}; it must be {valid}")


def _from_file(file: Path) -> Values:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES)
        document = tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError(
            f"--config (or XETWAY_CONFIG) is {str(file)!r}, which cannot be read: {error.strerror}"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{file.name} is not TOML: {error}") from None
    folder = file.absolute().parent
    found: Values = {}
    for path, value in _leaves(document, file.name):
        if isinstance(value, str) and "@" in value and "://" in value:
            variable = SETTINGS[path].variable
            raise ConfigError(f"{file.name}: {path} has a user name or a password in it; {variable} may hold it")
        text = _path_or_text(path, value, folder)
        found[path] = _read(path, text, f"{file.name}: {path}", is_text=False, folder=folder)
    return found


def _leaves(table: Mapping[str, Any], source: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        path = prefix + name
        if path in SETTINGS:
            yield path, value
        elif path not in TABLES:
            raise ConfigError(f"{source}: {unknown(path, (*SETTINGS, *TABLES))}")
        elif isinstance(value, dict):
            yield from _leaves(value, source, path + ".")
        else:
            raise ConfigError(f"{source}: {path} is a single value; it must be a table, [{path}]")


def _path_or_text(path: str, value: Any, folder: Path) -> Any:
    """An option of the server as text, which is how `options` reads it; relative paths are relative to the file."""
    if not SETTINGS[path].is_option or isinstance(value, (list, dict)):
        return value
    is_path = path in {"server.data", "mirror.ca_bundle"}
    return str(folder / Path(value).expanduser()) if is_path and isinstance(value, str) else str(value)


def _from_environment(environment: Mapping[str, str]) -> Values:
    known = {setting.variable: path for path, setting in SETTINGS.items()}
    tables = {table.partition(".")[0].upper() for table in TABLES}
    found: Values = {}
    for name, value in environment.items():
        if not name.startswith(VARIABLE_PREFIX) or not value.strip():
            continue
        path = known.get(name)
        if path == _KEYS:
            found[path] = Given(static_keys(value, name), name)
        elif path is not None:
            found[path] = _read(path, value.strip(), name)
        elif name.removeprefix(VARIABLE_PREFIX).partition("_")[0] in tables:
            raise ConfigError(unknown(name, known))
    return found


def _from_command_line(options: Mapping[str, Any]) -> Values:
    found: Values = {}
    for assignment in options.get("set") or ():
        path, equals, value = (part.strip() for part in assignment.partition("="))
        if path == _KEYS:
            raise ConfigError(
                f"--set {_KEYS}: keys would show in the list of processes; {_KEYS_VARIABLE} may hold them"
            )
        if path in SETTINGS and not equals:
            raise ConfigError(f"--set takes SETTING=VALUE, such as --set {path}=...; {path} has no value")
        if path not in SETTINGS:
            raise ConfigError(f"--set takes SETTING=VALUE: {unknown(path, SETTINGS)}")
        found[path] = _read(path, value, f"--set {path}")
    for path, setting in SETTINGS.items():
        name = path.rpartition(".")[2]
        if setting.is_option and options.get(name) is not None:
            found[path] = Given(str(options[name]).strip(), f"--{name.replace('_', '-')}")
    return found


def _from_aliases(environment: Mapping[str, str], better: Values, *, serves_models: bool) -> Values:
    found: Values = {}
    known = {alias.name: alias for alias in ALIASES}
    if serves_models:
        for name in environment:
            if name.startswith(HF_SERVER) and name not in known and name not in WITHOUT_EFFECT:
                raise ConfigError(unknown(name, known))
    for alias in ALIASES:
        text = environment.get(alias.name, "").strip()
        if not text or (alias.is_generic and not serves_models) or _is_switched_off(alias.name, environment):
            continue
        for path, given in _of_alias(alias, text):
            other = found.get(path)
            if path in better:
                continue
            if other is not None and path == _KEYS:
                given = Given(other.value + given.value, f"{other.source} and {given.source}")  # noqa: PLW2901
            elif other is not None and other.value != given.value:
                raise ConfigError(
                    f"{other.source} and {alias.name} say different things of {path}; "
                    f"{SETTINGS[path].variable} would decide"
                )
            found[path] = given
    return found


def _of_alias(alias: Alias, text: str) -> Iterator[tuple[str, Given]]:
    try:
        values = alias.read(text)
    except ValueError as error:
        raise wrong(alias.paths[0], text, alias.name, str(error)) from None
    for path, value in values.items():
        yield path, _read(path, value, alias.name) if isinstance(value, str) else Given(value, alias.name)


def _is_switched_off(name: str, environment: Mapping[str, str]) -> bool:
    """Whether a variable means nothing because of its switch."""
    switches = {"TLS_CERT_PATH": ("ENABLE_TLS", "true"), "TLS_KEY_PATH": ("ENABLE_TLS", "true")}
    switches["REDIS_URL"] = ("ENABLE_L2_CACHE", "false")
    if name not in switches:
        return False
    switch, default = switches[name]
    return parse_flag(environment.get(switch) or default) is False


def _check_switches(merged: Values, environment: Mapping[str, str], *, serves_models: bool) -> None:
    for switch, path, needed in (
        ("ENABLE_TLS", "tls.cert", "TLS_CERT_PATH and TLS_KEY_PATH"),
        ("ENABLE_L2_CACHE", "cache.url", "REDIS_URL"),
    ):
        if serves_models and parse_flag(environment.get(switch, "")) and path not in merged:
            raise ConfigError(f"{switch} is true and needs {needed}, or {path}")
