"""Commands that make, list and revoke Hub tokens. They work beside a running server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import click

from xetway.cli.tables import data_option, database, day, print_table
from xetway.errors import ConfigError

if TYPE_CHECKING:
    from xetway.hub.tokens import TokenStore


@click.group()
def token() -> None:
    """Make, list and revoke the tokens that clients send as HF_TOKEN.

    \b
    Example:
      xetway token create --name laptop --scope write --repo 'me/*'
    """  # noqa: D301  (\b is for click: keep the lines below)


def _tokens(data: str | None, *, make: bool = False) -> TokenStore:
    """The tokens of a data folder; only `create` makes a folder that is not there."""
    from xetway.hub.tokens import TokenStore  # noqa: PLC0415

    return TokenStore(database(data, make=make))


@token.command()
@data_option
@click.option("--name", required=True, help="What the token is called, to tell it from others.")
@click.option("--user", help="Who its owner is: author of commits, own namespace.  [the token's name]")
@click.option(
    "--scope", type=click.Choice(["read", "write"]), default="read", show_default=True, help="Write includes read."
)
@click.option(
    "--repo",
    "--repos",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Repositories it opens, such as 'org/*' or 'datasets/org/name'; may be repeated.  [*]",
)
@click.option("--expires", metavar="TIME", help="How long it lives, such as 12h or 30d.  [for ever]")
def create(
    data: str | None,
    name: str,
    user: str | None,
    scope: Literal["read", "write"],
    patterns: tuple[str, ...],
    expires: str | None,
) -> int:
    """Make a token and print it, and nothing else, on stdout. It is shown this once; only its digest is kept.

    \b
    Examples:
      export HF_TOKEN=$(xetway token create --name laptop --scope write --repo 'me/*')
      xetway token create --name ci --scope read --repo 'org/*' --repo 'datasets/org/*' --expires 30d
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import parse_duration_s  # noqa: PLC0415

    expires_at = None if expires is None else int(time.time()) + parse_duration_s(expires, "expires")
    made = _tokens(data, make=True).create(
        name=name, scope=scope, patterns=patterns or ("*",), user=user, expires_at=expires_at
    )
    click.echo(made)
    until = "" if expires_at is None else f", until {day(expires_at)}"
    click.echo(f"token {name!r} may {scope} {', '.join(patterns or ('every repository',))}{until}", err=True)
    return 0


@token.command("list")
@data_option
def list_(data: str | None) -> int:
    """List all tokens, without their secrets, which nobody has but their owners."""
    rows = [("id", "name", "user", "scope", "repositories", "made", "expires", "last used", "")]
    now = time.time()
    for info in _tokens(data).list():
        state = "revoked" if info.revoked_at else "expired" if info.expires_at and info.expires_at <= now else ""
        rows.append((
            str(info.id), info.name, info.user, info.scope, " ".join(info.patterns),
            day(info.created_at), day(info.expires_at), day(info.last_used_at), state,
        ))  # fmt: skip
    print_table(rows)
    return 0


@token.command()
@data_option
@click.argument("token_id", metavar="ID")
def revoke(data: str | None, token_id: str) -> int:
    """Revoke the token with this ID (see `xetway token list`), at once and for good."""
    tokens = _tokens(data)
    if not (token_id.isascii() and token_id.isdigit()):
        known = [str(info.id) for info in tokens.list() if info.name == token_id and not info.revoked_at]
        called = f"{token_id!r} has the id {' and '.join(known)}" if known else "`xetway token list` shows the ids"
        raise ConfigError(f"a token is revoked by its id, because names need not differ: {called}")
    if not tokens.revoke(int(token_id[:18])):
        click.echo(f"xetway: no token {token_id} that could be revoked", err=True)
        return 1
    click.echo(f"token {token_id} is revoked", err=True)
    return 0
