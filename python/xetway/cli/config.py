"""What can be configured: the options of `xetway serve`, and commands that show and check what is set."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import reduce
from typing import Any

import click

_OPTIONS = (
    click.option("--config", metavar="FILE", help="A TOML file with models and all other settings."),
    click.option(
        "--set", "set", multiple=True, metavar="SETTING=VALUE", help="A setting of such a file; may be repeated."
    ),
    click.option("--host", metavar="ADDRESS", help="Address to listen on.  [127.0.0.1]"),
    click.option("--port", metavar="PORT", help="Port to listen on; 0 takes a free one and prints it.  [8080]"),
    click.option("--data", metavar="DIR", help="Folder that holds everything.  [this user's data folder]"),
    click.option("--open/--no-open", "open", default=None, help="Let anyone write, without a token."),
    click.option("--public-url", metavar="URL", help="How clients reach this server, if a proxy hides it."),
    click.option("--workers", metavar="N", help="Server processes.  [1]"),
    click.option("--log-level", metavar="LEVEL", help="debug, info, warning or error.  [info]"),
    click.option(
        "--upstream", metavar="URL", help="Mirror this hub: what is not here is fetched from there, and kept."
    ),
    click.option("--offline/--online", default=None, help="Never ask the upstream; serve what is cached."),
    click.option("--cache-size", metavar="SIZE", help="Most content to keep, such as 500GB.  [what the disk holds]"),
    click.option("--min-free", metavar="SIZE", help="Disk space to leave free.  [5 % of the disk, at least 1 GiB]"),
    click.option("--max-stale", metavar="TIME", help="How long answers serve while the upstream is away.  [7d]"),
    click.option("--upstream-concurrency", metavar="N", help="Transfers at a time.  [as many as get more through]"),
    click.option("--upstream-rate", metavar="SIZE", help="Most bytes per second from the upstream, such as 50MB."),
    click.option(
        "--use-hf-token/--no-use-hf-token", "use_hf_token", default=None, help="Callers without token use HF_TOKEN."
    ),
    click.option("--ca-bundle", metavar="FILE", help="Certificates (PEM) to trust besides the system's."),
)


def server_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a server; it gets them by name, for `settings.load`."""
    return reduce(lambda decorated, option: option(decorated), reversed(_OPTIONS), command)


@click.group()
def config() -> None:
    """Show and check how a server is configured, without starting it.

    \b
    Example:
      xetway config show --config gateway.toml
    """  # noqa: D301  (\b is for click: keep the lines below)


@config.command()
@server_options
def show(**options: Any) -> int:
    """Print all settings as `xetway serve` would have them with these options, as a TOML file.

    A comment tells where each comes from. Secrets are masked.

    \b
    Example:
      xetway config show --config gateway.toml --set queue.max_size=50
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import explain  # noqa: PLC0415
    from xetway.settings.shown import document  # noqa: PLC0415

    click.echo(document(*explain(options)), nl=False)
    return 0


@config.command()
@click.argument("file", metavar="FILE")
def check(file: str) -> int:
    """Check a configuration file, together with the variables that are set here. Exit code 2 if it is wrong.

    Variables that hold keys (`key_env`) are looked for when the server starts.

    \b
    Example:
      xetway config check gateway.toml
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.certificates import Certificates  # noqa: PLC0415
    from xetway.cli.sizes import count  # noqa: PLC0415
    from xetway.settings import load  # noqa: PLC0415
    from xetway.settings.sources import without_effect  # noqa: PLC0415

    gateway = load({"config": file}).gateway
    if gateway.tls is not None:
        Certificates(gateway.tls).check()
    for line in without_effect(os.environ):
        click.echo(f"xetway: {line}", err=True)
    click.echo(f"{file} is fine: {count(len(gateway.models), 'model')}, {count(len(gateway.auth.keys), 'key')}")
    return 0
