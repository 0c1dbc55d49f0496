"""`xetway download`: files of a repository."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xetway.cli.printable import printable
from xetway.cli.transfer import (
    network_options,
    open_hub,
    output_options,
    pattern_options,
    print_json,
    repo_options,
    run,
    told,
    users_umask,
)
from xetway.errors import ConfigError

if TYPE_CHECKING:
    from xetway.transfer.downloads import Chosen
    from xetway.transfer.hub import HubClient
    from xetway.transfer.results import Outcome
    from xetway.transfer.targets import Target

RESUME = "what has arrived is kept, and the same command again resumes from it"
_RANGE = re.compile(r"([0-9]{1,18})-([0-9]{0,18})")


@click.command()
@click.argument("repo")
@click.argument("files", nargs=-1)
@repo_options
@pattern_options
@click.option("--local-dir", metavar="DIR", help="Write plain files into this folder.")
@click.option(
    "--cache", "cache_dir", is_flag=False, flag_value="", metavar="[DIR]", help="Write into this Hub cache.  [default]"
)
@click.option("-o", "--output", metavar="FILE", help="Write a single file here; - is stdout.")
@click.option("--range", "range_", metavar="A-B", help="Only bytes A to B of a single file, B included, as in curl.")
@network_options
@click.option("--max-workers", type=click.IntRange(1, 256), default=8, show_default=True, help="Files at once.")
@click.option("--force", is_flag=True, help="Fetch files even if they are there.")
@click.option("--verify", is_flag=True, help="Read what is there already, and fetch it again if it is damaged.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be downloaded.")
@output_options
def download(repo: str, files: tuple[str, ...], **options: Any) -> int:
    """Download files of a repository: all, those named, or those that patterns choose.

    They go to the cache that all Hub clients share (HF_HOME), where transformers and others find them, also with
    HF_HUB_OFFLINE=1; their folder is printed. Every file is verified. An interrupted download goes on where it was.
    Private repositories need a token in HF_TOKEN, or from `hf auth login`.

    \b
    Examples:
      xetway download org/model
      xetway download org/model config.json
      xetway download datasets/org/texts --include '*.parquet' --local-dir ./texts
      xetway download org/model model.safetensors --range 0-1023 -o head.bin
    """  # noqa: D301  (\b is for click: keep the lines below)
    users_umask()
    with told(as_json=options["as_json"], resumable=RESUME):
        return _download(repo, files, **options)


def _download(
    repo: str,
    files: tuple[str, ...],
    *,
    repo_type: str | None,
    revision: str,
    endpoint: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    local_dir: str | None,
    cache_dir: str | None,
    output: str | None,
    range_: str | None,
    concurrency: int | None,
    rate: str | None,
    ca_bundle: str | None,
    max_workers: int,
    force: bool,
    verify: bool,
    dry_run: bool,
    quiet: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    from xetway.cli.progress import observer  # noqa: PLC0415
    from xetway.transfer.downloads import Selection, choose  # noqa: PLC0415
    from xetway.transfer.names import parse_repo  # noqa: PLC0415

    if sum(option is not None for option in (local_dir, cache_dir, output)) > 1:
        raise ConfigError("--local-dir, --cache and -o are three different places; give one")
    if (range_ is not None or output is not None) and len(files) != 1:
        raise ConfigError("--range and -o are for a single file; name it after the repository")
    if range_ is not None and (local_dir is not None or cache_dir is not None):
        raise ConfigError("a part of a file goes to -o FILE or to stdout, not to a folder or cache")
    if dry_run and (range_ is not None or output == "-"):
        raise ConfigError("--dry-run tells which whole files would be written; it goes with neither --range nor -o -")
    name, window = parse_repo(repo, repo_type), None if range_ is None else _window(range_)
    hub = open_hub(endpoint, concurrency=concurrency, rate=rate, ca_bundle=ca_bundle)
    selection = Selection(paths=files, include=include, exclude=exclude)

    async def work() -> int:
        began = time.monotonic()
        chosen = await choose(hub, name, revision, selection)
        if dry_run:
            target = _target(chosen, revision, local_dir, cache_dir, output)
            return await _foresee(chosen, target, as_json=as_json, verify=verify, force=force)
        if output == "-" or (window is not None and output is None):
            return await _to_stdout(hub, chosen, window)
        if window is not None:
            return await _part(hub, chosen, Path(str(output)), window, as_json)
        from xetway.transfer.downloads import download_files  # noqa: PLC0415

        target = _target(chosen, revision, local_dir, cache_dir, output)
        with observer("Downloading", quiet=quiet or as_json, show=progress) as shown:
            outcome = await download_files(
                hub, chosen, target, force=force, verify=verify, workers=max_workers, observer=shown
            )
        _tell(chosen, outcome, time.monotonic() - began, single=len(files) == 1, quiet=quiet, as_json=as_json)
        return 0

    return run(work)


def _window(text: str) -> tuple[int, int | None]:
    """Read `A-B`, both included, or `A-`, into a half-open range."""
    match = _RANGE.fullmatch(text)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        raise ConfigError(f"--range is {text!r}; it must be A-B with B not below A, or A- to the end", code="bad_range")
    return int(match[1]), int(match[2]) + 1 if match[2] else None


def _target(chosen: Chosen, revision: str, local_dir: str | None, cache_dir: str | None, output: str | None) -> Target:
    from xetway.transfer.environment import cache_folder  # noqa: PLC0415
    from xetway.transfer.hub_cache import HubCache  # noqa: PLC0415
    from xetway.transfer.plain_folder import OneFile, PlainFolder  # noqa: PLC0415

    if output is not None:
        return OneFile(Path(output).expanduser())
    if local_dir is not None:
        return PlainFolder(Path(local_dir).expanduser(), chosen.commit)
    root = Path(cache_dir).expanduser().absolute() if cache_dir else cache_folder()
    return HubCache(root, chosen.repo, revision, chosen.commit)


async def _foresee(chosen: Chosen, target: Target, *, as_json: bool, verify: bool, force: bool) -> int:
    from xetway.cli.sizes import count, size_text  # noqa: PLC0415
    from xetway.transfer.downloads import find_present  # noqa: PLC0415

    there = await find_present(target, chosen.files, verify=verify)
    wanted = [file for file in chosen.files if force or file.path not in there]
    if as_json:
        print_json({
            "repo": str(chosen.repo), "commit": chosen.commit, "folder": target.folder,
            "files": [
                {"path": file.path, "size": file.size, "hash": file.xet_hash, "present": file.path in there}
                for file in chosen.files
            ],
            "missing_bytes": sum(file.size for file in chosen.files if file.path not in there),
            "download_bytes": sum(file.size for file in wanted),
        })  # fmt: skip
        return 0
    for file in chosen.files:
        state = "missing" if file.path not in there else "again" if force else "present"
        click.echo(f"{state:8}  {size_text(file.size):>10}  {printable(file.path)}")
    total = size_text(sum(file.size for file in wanted))
    click.echo(f"{count(len(wanted), 'file')} to download, {total}", err=True)
    return 0


async def _to_stdout(hub: HubClient, chosen: Chosen, window: tuple[int, int | None] | None) -> int:
    from contextlib import aclosing  # noqa: PLC0415

    from xetway.transfer.streams import clip, pieces  # noqa: PLC0415

    file = chosen.files[0]
    start, end = clip(file.size, *(window or (0, None)))
    out = sys.stdout.buffer
    async with aclosing(pieces(hub, chosen.repo, chosen.commit, file, start, end)) as parts:
        async for piece in parts:
            out.write(piece)
    out.flush()
    return 0


async def _part(hub: HubClient, chosen: Chosen, output: Path, window: tuple[int, int | None], as_json: bool) -> int:
    from xetway.transfer.parts import download_part  # noqa: PLC0415

    done = await download_part(hub, chosen, output, *window)
    if as_json:
        print_json({
            "path": done.path, "size": done.size, "hash": done.hash, "commit": done.commit, "verified": False,
            "received_bytes": done.received_bytes, "resumed_bytes": done.resumed_bytes,
        })  # fmt: skip
    else:
        click.echo(done.path)
    return 0


def _tell(chosen: Chosen, outcome: Outcome, took_s: float, *, single: bool, quiet: bool, as_json: bool) -> None:
    from xetway.cli.sizes import count, size_text  # noqa: PLC0415

    fetched = [file for file in outcome.files.values() if file.state == "downloaded"]
    place = next(iter(outcome.files.values())).path if single else outcome.folder
    if as_json:
        print_json({
            "repo": str(chosen.repo), "commit": outcome.commit, "path": place,
            "files": [
                {
                    "path": path, "file": file.path, "size": file.size, "hash": file.hash, "state": file.state,
                    "received_bytes": file.received_bytes, "resumed_bytes": file.resumed_bytes,
                }
                for path, file in outcome.files.items()
            ],
            "size": outcome.size, "received_bytes": outcome.received_bytes, "resumed_bytes": outcome.resumed_bytes,
            "seconds": round(took_s, 3),
        })  # fmt: skip
        return
    if not quiet:
        size = sum(file.size for file in fetched)
        text = f"{count(len(fetched), 'file')} downloaded and verified, {size_text(size)} in {took_s:.1f} s"
        if outcome.resumed_bytes:
            text += f", of which {size_text(outcome.resumed_bytes)} were here and checked"
        there = len(outcome.files) - len(fetched)
        if there:
            text += f"; {there} already there"
        click.echo(text, err=True)
    click.echo(place)
