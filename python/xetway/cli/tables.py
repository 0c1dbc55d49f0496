"""What commands about a data folder's database share: opening it, and listing what it holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from xetway.errors import ConfigError

if TYPE_CHECKING:
    from xetway.db import Database

data_option = click.option("--data", metavar="DIR", help="The server's data folder.  [this user's data folder]")


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
