"""`xetway cache`: what a mirror keeps on disk. Works beside a running server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import click

from xetway.cli.sizes import count, size_text
from xetway.cli.transfer import print_json
from xetway.errors import ConfigError

if TYPE_CHECKING:
    from xetway._native import Cache


class Entry(NamedTuple):
    """What `Cache.entries` tells of one xorb or plain file."""

    kind: str
    name: str
    bytes: int
    last_used_s: int
    chunks: int
    proven_chunks: int


@click.group()
def cache() -> None:
    """List, check and shrink what a mirror (`xetway serve --upstream`) keeps in its data folder.

    \b
    Example:
      xetway cache ls --data /srv/xetway
    """  # noqa: D301  (\b is for click: keep the lines below)


_data = click.option("--data", metavar="DIR", help="The server's data folder.  [this user's data folder]")


def _open(data: str | None) -> Cache:
    """Open an existing cache; looking into a mistyped folder must not make one there."""
    from xetway.settings import data_folder  # noqa: PLC0415

    folder = data_folder(data)
    if not (folder / "mirror").is_dir():
        raise ConfigError(f"there is no mirror's cache in {folder}; name the server's folder with --data")
    from xetway._native import Cache  # noqa: PLC0415

    return Cache(str(folder / "mirror"))


@cache.command("ls")
@_data
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_(data: str | None, as_json: bool) -> int:
    """List what is kept, the least recently used first: it goes first when room is needed.

    Proven is content whose hash was checked as a whole, not only chunk by chunk.
    """
    entries = sorted((Entry(*entry) for entry in _open(data).entries()), key=lambda entry: entry.last_used_s)
    total = sum(entry.bytes for entry in entries)
    if as_json:
        print_json({"entries": [entry._asdict() for entry in entries], "bytes": total})
        return 0
    now = time.time()
    for entry in entries:
        used, proven = _ago(now - entry.last_used_s), f"{entry.proven_chunks}/{entry.chunks} proven"
        click.echo(f"{entry.kind:5}  {size_text(entry.bytes):>10}  {used:>5}  {proven:>19}  {entry.name}")
    xorbs = sum(entry.kind == "xorb" for entry in entries)
    click.echo(f"{count(xorbs, 'xorb')}, {count(len(entries) - xorbs, 'plain file')}, {size_text(total)}", err=True)
    return 0


@cache.command()
@_data
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(data: str | None, as_json: bool) -> int:
    """Read everything and check it against its hashes. Exit code 1 if anything is damaged.

    What is damaged is removed, and fetched again when it is next asked for.
    """
    damage: list[dict[str, str]] = []

    def on_damage(kind: str, name: str, what: str) -> None:
        damage.append({"kind": kind, "name": name, "what": what})
        if not as_json:
            click.echo(f"{kind} {name}: {what}")

    checked, checked_bytes, damaged = _open(data).verify(on_damage)
    if as_json:
        print_json({"checked": checked, "bytes": checked_bytes, "damaged": damaged, "damage": damage})
    else:
        found = f"{damaged} damaged, and removed" if damaged else "all sound"
        click.echo(f"checked {count(checked, 'entry')}, {size_text(checked_bytes)}: {found}", err=True)
    return 1 if damaged else 0


@cache.command()
@_data
@click.option("--to", metavar="SIZE", help="Remove the least recently used until it is no larger, such as 200GB.")
@click.option("--older", metavar="TIME", help="Remove what was not used for so long, such as 30d.")
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def prune(data: str | None, to: str | None, older: str | None, everything: bool) -> int:
    """Remove content from the cache. What is removed is fetched again when it is next asked for.

    \b
    Examples:
      xetway cache prune --to 200GB
      xetway cache prune --older 30d --data /srv/xetway
    """  # noqa: D301  (\b is for click: keep the lines below)
    if (to is not None) + (older is not None) + everything != 1:
        raise ConfigError("say what to remove: one of --to SIZE, --older TIME, --all")
    from xetway.settings import parse_duration_s, parse_size_bytes  # noqa: PLC0415

    limit = 0 if to is None else parse_size_bytes(to, "to")
    oldest_s = None if older is None else time.time() - parse_duration_s(older, "older")
    opened = _open(data)
    if oldest_s is not None:
        # The least recently used go first, so what is too old says how far to go.
        too_old = sum(entry.bytes for entry in map(Entry._make, opened.entries()) if entry.last_used_s < oldest_s)
        limit = max(0, opened.usage()[0] - too_old)
        if not too_old:
            click.echo("removed nothing: all of it was used since", err=True)
            return 0
    entries, freed = opened.prune(limit)
    click.echo(f"removed {count(entries, 'entry')}, {size_text(freed)}", err=True)
    return 0


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
