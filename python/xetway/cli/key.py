"""Commands that make, list and revoke API keys for models. They work beside a running server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from xetway.cli.printable import printable
from xetway.cli.tables import data_option, database, day, print_table

if TYPE_CHECKING:
    from xetway.policy.key_store import KeyStore
    from xetway.settings.gateway import Priority, Scope

_WHO = "command line"


@click.group()
def key() -> None:
    """Make, list and revoke the API keys of those who use models.

    \b
    Example:
      xetway key create --name app --model 'llama-*' --requests-per-minute 60
    """  # noqa: D301  (\b is for click: keep the lines below)


def _keys(data: str | None, *, make: bool = False) -> KeyStore:
    from xetway.policy.key_store import KeyStore  # noqa: PLC0415

    return KeyStore(database(data, make=make))


_count = click.IntRange(min=1)


@key.command()
@data_option
@click.option("--name", required=True, help="What the key is called, to tell it from others.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    default=("infer",),
    show_default=True,
    type=click.Choice(["infer", "load", "admin"]),
    help="What it is for; may be repeated.",
)
@click.option("--model", "models", multiple=True, metavar="PATTERN", help="Models it may use; may be repeated.  [*]")
@click.option(
    "--priority",
    type=click.Choice(["low", "normal", "high", "critical"]),
    default="normal",
    show_default=True,
    help="Its place in the queue.",
)
@click.option("--requests-per-minute", type=_count, metavar="N", help="Its own limits, instead of those of all keys.")
@click.option("--tokens-per-minute", type=_count, metavar="N")
@click.option("--burst", type=_count, metavar="N")
@click.option("--concurrency", type=_count, metavar="N")
@click.option("--expires", metavar="TIME", help="How long it lives, such as 12h or 30d.  [for ever]")
def create(
    data: str | None,
    name: str,
    scopes: tuple[Scope, ...],
    models: tuple[str, ...],
    priority: Priority,
    expires: str | None,
    **limits: int | None,
) -> int:
    """Make a key and print it, and nothing else, on stdout. It is shown this once; only its digest is kept.

    A server that runs knows it within a second. Whether it lets in who brings no key is up to its `auth.enabled`.

    \b
    Examples:
      export OPENAI_API_KEY=$(xetway key create --name app)
      xetway key create --name operator --scope infer --scope admin --expires 30d
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import parse_duration_s  # noqa: PLC0415
    from xetway.settings.gateway import Limit  # noqa: PLC0415

    expires_at = None if expires is None else int(time.time()) + parse_duration_s(expires, "expires")
    made, info = _keys(data, make=True).create(
        name=name,
        scopes=scopes,
        models=models or ("*",),
        priority=priority,
        limit=Limit(**limits),
        expires_at=expires_at,
        who=_WHO,
        client="-",
    )
    click.echo(made)
    until = "" if expires_at is None else f", until {day(expires_at)}"
    click.echo(f"key {info.id} may {', '.join(info.scopes)} with {printable(' '.join(info.models))}{until}", err=True)
    return 0


@key.command("list")
@data_option
def list_(data: str | None) -> int:
    """List all generated keys, without their secrets, which nobody has but their owners."""
    rows = [("id", "name", "scopes", "models", "priority", "per minute", "made", "expires", "last used", "")]
    now = time.time()
    for info in _keys(data).list():
        state = "revoked" if info.revoked_at else "" if info.is_active(now) else "expired"
        rows.append((
            info.id, printable(info.name), " ".join(info.scopes), printable(" ".join(info.models)), info.priority,
            str(info.limit.requests_per_minute or "-"),
            day(info.created_at), day(info.expires_at), day(info.last_used_at), state,
        ))  # fmt: skip
    print_table(rows)
    return 0


@key.command()
@data_option
@click.argument("key_id", metavar="ID")
def revoke(data: str | None, key_id: str) -> int:
    """Revoke the key with this ID (see `xetway key list`), at once and for good."""
    revoked = _keys(data).revoke(key_id, who=_WHO, client="-")
    click.echo(f"key {key_id} {'is' if revoked else 'was'} revoked{'' if revoked else ' before'}", err=True)
    return 0


@key.command()
@data_option
def log(data: str | None) -> int:
    """Print what was done to keys, the newest first: when, by whom, what, to which key, from which address."""
    for line in _keys(data).log():
        click.echo(f"{day(line.at)}  {line.who}  {line.what}  {line.key_id}  {line.client}")
    return 0
