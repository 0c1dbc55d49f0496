"""The `xetway` command and its plain subcommands."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import click

from xetway import __version__
from xetway.cli.bench import bench
from xetway.cli.cache import cache
from xetway.cli.config import config, server_options
from xetway.cli.download import download
from xetway.cli.download_hash import download_hash
from xetway.cli.key import key
from xetway.cli.prefetch import prefetch
from xetway.cli.store import fsck, gc
from xetway.cli.token import token
from xetway.cli.upload import upload


class _Ordered(click.Group):
    """Lists commands in the order they were added, the most used first."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All commands, in that order."""
        return list(self.commands)


@click.group(cls=_Ordered, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "--version", message="xetway %(version)s")
def xetway() -> None:
    """A hub for models, datasets and spaces that hf, transformers and datasets use unmodified, and a client of any.

    \b
    Start one, make a token, use it:
      xetway serve
      export HF_ENDPOINT=http://127.0.0.1:8080
      export HF_TOKEN=$(xetway token create --name laptop --scope write --repo 'me/*')
      hf upload me/model ./folder       (or: xetway upload)
      hf download me/model              (or: xetway download)

    The options of serve have environment variables too: --data is XETWAY_DATA, for all commands, and so on.
    """  # noqa: D301  (\b is for click: keep the lines below)


@xetway.command()
@server_options
@click.option("--fd", type=int, metavar="N", help="Listen on the bound TCP socket with this file descriptor.")
def serve(fd: int | None, **options: Any) -> None:
    """Run the server until it is interrupted.

    It prints one line when it answers: "xetway listening on http://ADDRESS:PORT". The log goes to stderr.
    Reading is free to everyone who reaches the address; writing needs a token, or --open.

    With --upstream it is a mirror too: repositories that are not here come from that hub, verified and cached. Callers'
    own tokens go there with their requests. For callers without one, the variable XETWAY_UPSTREAM_TOKEN may hold a
    token, which gives all of them what it may read.

    It may be started with its socket: by --fd, or by systemd socket activation. SIGTERM ends it when running requests
    are answered, or have had the time of http.drain (without models, 3 seconds); a second one ends it at once.

    With models in --config it answers clients of the OpenAI API for them; docs/configuration.md tells all settings.

    \b
    Examples:
      xetway serve
      xetway serve --upstream https://huggingface.co --cache-size 500GB
      xetway serve --port 0 --data /tmp/try --open
      xetway serve --config gateway.toml --set queue.max_size=50
      xetway serve --host 0.0.0.0 --data /srv/xetway --public-url https://hub.example.org
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import load  # noqa: PLC0415
    from xetway.settings.sources import without_effect  # noqa: PLC0415

    settings = load(options)
    for line in without_effect(os.environ) if settings.gateway.models else ():
        click.echo(f"xetway: {line}", err=True)
    from xetway.serve import leave, run  # noqa: PLC0415

    leave(run(settings, fd, partial(load, options)))


for command in (token, key, download, download_hash, upload, prefetch, cache, fsck, gc, config, bench):
    xetway.add_command(command)


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
