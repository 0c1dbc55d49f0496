"""The `xetway` command and its plain subcommands."""

from __future__ import annotations

import click

from xetway import __version__
from xetway.cli.store import fsck, gc
from xetway.cli.token import token


class _Ordered(click.Group):
    """Lists commands in the order they were added, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All commands, in that order."""
        return list(self.commands)


@click.group(cls=_Ordered, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="xetway %(version)s")
def xetway() -> None:
    """A hub for models, datasets and spaces that hf, transformers and datasets use unmodified.

    \b
    Start one, make a token, use it:
      xetway serve
      export HF_ENDPOINT=http://127.0.0.1:8080
      export HF_TOKEN=$(xetway token create --name laptop --scope write --repo 'me/*')
      hf upload me/model ./folder
      hf download me/model

    Options have environment variables too: --data is XETWAY_DATA, and so on.
    """  # noqa: D301  (\b is for click: keep the lines below)


@xetway.command()
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [127.0.0.1]")
@click.option("--port", metavar="PORT", help="Port to listen on; 0 takes a free one and prints it.  [8080]")
@click.option("--data", metavar="DIR", help="Folder that holds everything.  [this user's data folder]")
@click.option("--open/--no-open", "open_", default=None, help="Let anyone write, without a token.")
@click.option("--public-url", metavar="URL", help="How clients reach this server, if a proxy hides it.")
@click.option("--workers", metavar="N", help="Server processes.  [1]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]")
def serve(open_: bool | None, **options: str | None) -> None:
    """Run the server until it is interrupted.

    It prints one line when it answers: "xetway listening on http://ADDRESS:PORT". The log goes to stderr.
    Reading is free to everyone who reaches the address; writing needs a token, or --open.

    \b
    Examples:
      xetway serve
      xetway serve --port 0 --data /tmp/try --open
      xetway serve --host 0.0.0.0 --data /srv/xetway --public-url https://hub.example.org
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import load  # noqa: PLC0415

    settings = load({**options, "open": open_})
    from xetway.serve import leave, run  # noqa: PLC0415

    leave(run(settings))


xetway.add_command(token)
xetway.add_command(fsck)
xetway.add_command(gc)


@xetway.command("hash")
@click.argument("files", nargs=-1, required=True, type=click.Path())
def hash_(files: tuple[str, ...]) -> int:
    """Print the xet hash, the size and the name of each file.

    \b
    Example:
      xetway hash model.safetensors
    """  # noqa: D301  (\b is for click: keep the lines below)
    import xetway as library  # noqa: PLC0415

    for name in files:
        result = library.hash_file(name)
        click.echo(f"{result.hash}  {result.size:>14}  {name}")
    return 0


@xetway.command()
def version() -> int:
    """Print the version."""
    click.echo(__version__)
    return 0
