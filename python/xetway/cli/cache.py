"""`xetway cache`: what a mirror keeps on disk, and answers of models. Works beside a running server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from xetway.cli.printable import printable
from xetway.cli.sizes import count, size_text
from xetway.cli.tables import data_option, database
from xetway.cli.transfer import print_json
from xetway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xetway._native import Cache
    from xetway.mirror.holdings import Entry, HeldFile, Holdings

_MOST_REVISIONS = 3


@click.group()
def cache() -> None:
    """List, check and shrink what a mirror (`xetway serve --upstream`) keeps in its data folder; clear cached answers.

    \b
    Example:
      xetway cache ls --data /srv/xetway
    """  # noqa: D301  (\b is for click: keep the lines below)


def _open(data: str | None) -> tuple[Cache, Holdings]:
    """Open an existing cache; looking into a mistyped folder must not make one there."""
    from xetway.settings import data_folder  # noqa: PLC0415

    folder = data_folder(data)
    if not (folder / "mirror").is_dir():
        raise ConfigError(f"there is no mirror's cache in {folder}; name the server's folder with --data")
    from xetway._native import Cache  # noqa: PLC0415
    from xetway.mirror.holdings import Holdings  # noqa: PLC0415

    opened = Cache(str(folder / "mirror"))
    return opened, Holdings(opened, folder / "mirror")


def _entries(cache: Cache) -> list[Entry]:
    from xetway.mirror.holdings import Entry  # noqa: PLC0415

    return sorted((Entry(*entry) for entry in cache.entries()), key=lambda entry: entry.last_used_s)


@cache.command("ls")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: files, and the xorbs that hold them.")
def list_(data: str | None, as_json: bool) -> int:
    """List what is kept, the least recently used first: it goes first when room is needed.

    Each line is a file: how much of it is here, how large it is, when it was last used, its repository, its name, its
    revisions. Files share xorbs, so what they take on the disk together is less, and is told at the end.
    """
    opened, holdings = _open(data)
    entries = _entries(opened)
    files = holdings.files(entries)
    total = sum(entry.bytes for entry in entries)
    if as_json:
        print_json({"files": files, "entries": [entry._asdict() for entry in entries], "bytes": total})
        return 0
    named = {name for file in files for name in file.entries}
    lines = [(file.last_used_s, _file_line(file)) for file in files]
    lines += [(entry.last_used_s, _entry_line(entry)) for entry in entries if entry.name not in named]
    for _, line in sorted(lines, key=lambda line: line[0]):
        click.echo(line)
    if not holdings.has_names and entries:
        click.echo("which files these are is not known: answers.db is not there, or cannot be read", err=True)
    kinds = [entry.kind for entry in entries]
    held = _held_text(kinds.count("xorb"), kinds.count("plain"), total)
    click.echo(f"{count(len(files), 'file')}, in {held} on the disk", err=True)
    return 0


def _file_line(file: HeldFile) -> str:
    size = "?" if file.size is None else size_text(file.size)
    revisions = ", ".join(file.revisions[:_MOST_REVISIONS])
    if len(file.revisions) > _MOST_REVISIONS:
        revisions += f" and {len(file.revisions) - _MOST_REVISIONS} more"
    name = file.path or "a file without a name"
    return printable(
        f"{size_text(file.held_bytes):>10} of {size:>10}  {_ago(file.last_used_s):>4}  {file.repo}  {name}  {revisions}"
    ).rstrip()


def _entry_line(entry: Entry) -> str:
    return f"{size_text(entry.bytes):>10} {'':13}  {_ago(entry.last_used_s):>4}  {entry.kind} {entry.name}"


def _held_text(xorbs: int, plain_files: int, held_bytes: int) -> str:
    return f"{count(xorbs, 'xorb')}, {count(plain_files, 'plain file')}, {size_text(held_bytes)}"


@cache.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(data: str | None, as_json: bool) -> int:
    """Read everything and check it against its hashes. Exit code 1 if anything is damaged.

    What is damaged is removed, and fetched again when it is next asked for.
    """
    damage: list[dict[str, Any]] = []
    opened, holdings = _open(data)

    def on_damage(kind: str, name: str, what: str) -> None:
        users = holdings.users(name)
        damage.append({"kind": kind, "name": name, "what": what, "files": users})
        if not as_json:
            for line in (f"{kind} {name}: {what}", *(f"  of {user}" for user in users)):
                click.echo(printable(line))

    xorbs, plain_files, plans, checked_bytes, damaged = opened.verify(on_damage)
    if as_json:
        print_json({
            "checked": xorbs + plain_files, "xorbs": xorbs, "plain_files": plain_files, "plans": plans,
            "bytes": checked_bytes, "damaged": damaged, "damage": damage,
        })  # fmt: skip
    else:
        found = f"{damaged} damaged, and removed" if damaged else "all sound"
        held = _held_text(xorbs, plain_files, checked_bytes)
        click.echo(f"checked {held}, and {count(plans, 'plan')} of how files are made of xorbs: {found}", err=True)
    return 1 if damaged else 0


@cache.command()
@data_option
@click.option("--to", metavar="SIZE", help="Remove the least recently used until it is no larger, such as 200GB.")
@click.option("--older", metavar="TIME", help="Remove what was not used for so long, such as 30d.")
@click.option("--repo", metavar="NAME", help="Remove the files of a repository.")
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def prune(data: str | None, to: str | None, older: str | None, repo: str | None, everything: bool) -> int:
    """Remove content from the cache. What is removed is fetched again when it is next asked for.

    With --repo, what the mirror knows other repositories to use stays.

    \b
    Examples:
      xetway cache prune --to 200GB
      xetway cache prune --older 30d --data /srv/xetway
      xetway cache prune --repo datasets/org/texts
    """  # noqa: D301  (\b is for click: keep the lines below)
    if (to is not None) + (older is not None) + (repo is not None) + everything != 1:
        raise ConfigError("say what to remove: one of --to SIZE, --older TIME, --repo NAME, --all")
    from xetway.settings import parse_duration_s, parse_size_bytes  # noqa: PLC0415

    limit = 0 if to is None else parse_size_bytes(to, "to")
    oldest_s = None if older is None else time.time() - parse_duration_s(older, "older")
    opened, holdings = _open(data)
    if repo is not None:
        return _prune_repo(opened, holdings, repo)
    if oldest_s is not None:
        # The least recently used go first, so what is too old says how far to go.
        too_old = sum(entry.bytes for entry in _entries(opened) if entry.last_used_s < oldest_s)
        limit = max(0, opened.usage()[0] - too_old)
        if not too_old:
            click.echo("removed nothing: all of it was used since", err=True)
            return 0
    entries, freed = opened.prune(limit)
    click.echo(f"removed {count(entries, 'entry')}, {size_text(freed)}", err=True)
    return 0


def _prune_repo(opened: Cache, holdings: Holdings, repo: str) -> int:
    from xetway.transfer.names import parse_repo  # noqa: PLC0415

    wanted = str(parse_repo(repo, None))
    files = holdings.files(_entries(opened))
    kept = _names(file for file in files if file.repo != wanted)
    names = _names(file for file in files if file.repo == wanted)
    if not names:
        click.echo(f"xetway: nothing here is known to be of {wanted}", err=True)
        return 1
    entries, freed = opened.remove(names - kept)
    shared = f"; {count(len(names & kept), 'entry')} shared with others stayed" if names & kept else ""
    click.echo(f"removed {count(entries, 'entry')}, {size_text(freed)}{shared}", err=True)
    return 0


@cache.command("clear-answers")
@data_option
@click.option("--model", metavar="NAME", help="Only those of one model, by the name it is configured with.")
def clear_answers(data: str | None, model: str | None) -> int:
    """Let the server of this data folder forget the answers of models that it keeps (its setting cache.enabled).

    It does so within a second; one that does not run, when it starts.

    \b
    Example:
      xetway cache clear-answers --model llama
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.policy.clearing import ClearStore  # noqa: PLC0415

    ClearStore(database(data, make=False)).add(model, who="command line", client="-")
    click.echo(f"the answers of {'all models' if model is None else printable(model)} are to be forgotten", err=True)
    return 0


def _names(files: Iterable[HeldFile]) -> set[str]:
    return {name for file in files for name in file.entries}


def _ago(last_used_s: int) -> str:
    seconds = time.time() - last_used_s
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"
