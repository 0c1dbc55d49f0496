"""What the transferring commands share: their options, how results and failures are told, how Ctrl-C is taken."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xetway.errors import XetwayError

if TYPE_CHECKING:
    from xetway.transfer.hub import HubClient

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def repo_options(command: F) -> F:
    """The options that say where a repository is."""
    for option in (
        click.option("--endpoint", metavar="URL", help="The Hub.  [HF_ENDPOINT, or https://huggingface.co]"),
        click.option("--revision", default="main", show_default=True, help="A branch, a tag or a commit."),
        click.option(
            "--repo-type",
            type=click.Choice(["model", "dataset", "space", "kernel"]),
            help="What it is; the same as a prefix such as datasets/.  [model]",
        ),
    ):
        command = option(command)
    return command


def pattern_options(command: F) -> F:
    """The options that choose files."""
    for option in (
        click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out files that match; may be repeated."),
        click.option("--include", multiple=True, metavar="GLOB", help="Only files that match; may be repeated.  [all]"),
    ):
        command = option(command)
    return command


def network_options(command: F) -> F:
    """The options that limit the use of the network."""
    for option in (
        click.option("--ca-bundle", metavar="FILE", help="Certificates to trust besides the system's."),
        click.option("--rate", metavar="SIZE", help="At most so many bytes a second, such as 50MB.  [no limit]"),
        click.option(
            "--concurrency",
            type=click.IntRange(1, 256),
            metavar="N",
            help="Connections for content at once.  [as many as help]",
        ),
    ):
        command = option(command)
    return command


def output_options(command: F) -> F:
    """The options that say what is printed."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object."),
        click.option("-q", "--quiet", is_flag=True, help="Print nothing but the result."),
        click.option(
            "--progress/--no-progress",
            default=None,
            help="Show bars on stderr, or do not.  [if it is a terminal]",
        ),
    ):
        command = option(command)
    return command


def open_hub(
    endpoint: str | None, *, concurrency: int | None = None, rate: str | None = None, ca_bundle: str | None = None
) -> HubClient:
    """The Hub that the options and the environment name."""
    from xetway.errors import ConfigError  # noqa: PLC0415
    from xetway.settings import parse_size_bytes  # noqa: PLC0415
    from xetway.transfer import environment  # noqa: PLC0415
    from xetway.transfer.hub import HubClient  # noqa: PLC0415
    from xetway.transfer.wire import NativeWire, TransferOptions  # noqa: PLC0415

    url, token = environment.endpoint(endpoint), environment.token()
    limit = None if rate is None else parse_size_bytes(rate, "rate")
    if limit == 0:
        raise ConfigError("--rate is 0; it must be more")
    options = TransferOptions(concurrency=concurrency, rate_limit_bytes_s=limit, ca_bundle=ca_bundle)
    return HubClient(NativeWire(options), url, token)


def users_umask() -> None:
    """Files that are downloaded are as open to others as the user's other files: put back the umask of the shell."""
    previous = click.get_current_context().find_root().obj
    if isinstance(previous, int):
        os.umask(previous)


@contextmanager
def told(*, as_json: bool, resumable: str) -> Iterator[None]:
    """Tell of a failure in JSON too, and of an interruption what a rerun does."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nxetway: interrupted; {resumable}", file=sys.stderr)
        raise
    except XetwayError as error:
        if as_json:
            print_json({"error": error.message, "code": error.code})
        raise


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine; Ctrl-C cancels it, and it has stopped when KeyboardInterrupt comes out."""
    import asyncio  # noqa: PLC0415  (help must not load it)

    return asyncio.run(_main(work))


async def _main(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await work()


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object, on one line."""
    import msgspec  # noqa: PLC0415

    click.echo(msgspec.json.encode(value, enc_hook=str).decode())
