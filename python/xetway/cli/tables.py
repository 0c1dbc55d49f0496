"""What commands about a data folder's database share: opening it, and listing what it holds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from xetway.errors import ConfigError

if TYPE_CHECKING:
    from xetway.db import Database

_CONFIG = "xetway.cli.tables.config"


def _note_config(context: click.Context, _option: click.Parameter, value: str | None) -> None:
    context.meta[_CONFIG] = value


def _find_data(context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    config = context.meta.get(_CONFIG) or os.environ.get("XETWAY_CONFIG")
    if value is not None or not config:
        return value
    from xetway.settings import load  # noqa: PLC0415

    return str(load({"config": config}).data)


def data_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the data folder as `data`: named by --data, or by the file that configures the server."""
    data = click.option(
        "--data", metavar="DIR", callback=_find_data, help="The server's data folder.  [this user's data folder]"
    )
    config = click.option(
        "--config",
        metavar="FILE",
        is_eager=True,
        expose_value=False,
        callback=_note_config,
        help="The server's configuration file, which may name its data folder.",
    )
    return data(config(command))


def database(data: str | None, *, make: bool) -> Database:
    """The database of a data folder, which is made only if asked for.

    Raises:
        ConfigError: There is none.
    """
    from xetway.db import Database  # noqa: PLC0415
    from xetway.settings import data_folder  # noqa: PLC0415

    folder = data_folder(data)
    if not make and not (folder / "xetway.db").is_file():
        raise ConfigError(f"there is no xetway store in {folder}; name one with --data")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Database(folder / "xetway.db")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def day(unix_s: int | None) -> str:
    """A time as this machine's clock shows it."""
    return "-" if unix_s is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(unix_s))
