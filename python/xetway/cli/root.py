"""The `xetway` command and its plain subcommands."""

from __future__ import annotations

import click

from xetway import __version__
from xetway.cli.bench import bench
from xetway.cli.cache import cache
from xetway.cli.download import download
from xetway.cli.download_hash import download_hash
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
@click.option("--host", metavar="ADDRESS", help="Address to listen on.  [127.0.0.1]")
@click.option("--port", metavar="PORT", help="Port to listen on; 0 takes a free one and prints it.  [8080]")
@click.option("--data", metavar="DIR", help="Folder that holds everything.  [this user's data folder]")
@click.option("--open/--no-open", "open_", default=None, help="Let anyone write, without a token.")
@click.option("--public-url", metavar="URL", help="How clients reach this server, if a proxy hides it.")
@click.option("--workers", metavar="N", help="Server processes.  [1]")
@click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]")
@click.option("--upstream", metavar="URL", help="Mirror this hub: what is not here is fetched from there, and kept.")
@click.option("--offline/--online", default=None, help="Never ask the upstream; serve what is cached.")
@click.option("--cache-size", metavar="SIZE", help="Most content to keep, such as 500GB.  [what the disk holds]")
@click.option("--min-free", metavar="SIZE", help="Disk space to leave free.  [5 % of the disk, at least 1 GiB]")
@click.option("--max-stale", metavar="TIME", help="How long answers serve while the upstream is away.  [7d]")
@click.option("--upstream-concurrency", metavar="N", help="Transfers at a time.  [as many as get more through]")
@click.option("--upstream-rate", metavar="SIZE", help="Most bytes per second from the upstream, such as 50MB.")
@click.option(
    "--use-hf-token/--no-use-hf-token", "use_hf_token", default=None, help="Callers without token use HF_TOKEN."
)
@click.option("--ca-bundle", metavar="FILE", help="Certificates (PEM) to trust besides the system's.")
def serve(open_: bool | None, **options: str | bool | None) -> None:
    """Run the server until it is interrupted.

    It prints one line when it answers: "xetway listening on http://ADDRESS:PORT". The log goes to stderr.
    Reading is free to everyone who reaches the address; writing needs a token, or --open.

    With --upstream it is a mirror too: repositories that are not here come from that hub, verified and cached. Callers'
    own tokens go there with their requests. For callers without one, the variable XETWAY_UPSTREAM_TOKEN may hold a
    token, which gives all of them what it may read.

    \b
    Examples:
      xetway serve
      xetway serve --upstream https://huggingface.co --cache-size 500GB
      xetway serve --port 0 --data /tmp/try --open
      xetway serve --host 0.0.0.0 --data /srv/xetway --public-url https://hub.example.org
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import load  # noqa: PLC0415

    settings = load({**options, "open": open_})
    from xetway.serve import leave, run  # noqa: PLC0415

    leave(run(settings))


for command in (token, download, download_hash, upload, prefetch, cache, fsck, gc, bench):
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
