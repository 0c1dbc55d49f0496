"""`xetway upload`: a folder or a file into a repository."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    from xetway.transfer.uploads import Uploaded

RESUME = "nothing was committed; the same command again sends only what is not there yet"


@click.command()
@click.argument("repo")
@click.argument("local", required=False)
@click.argument("path_in_repo", required=False)
@repo_options
@pattern_options
@click.option(
    "--delete", multiple=True, metavar="GLOB", help="Delete files of the repository that match and are not uploaded."
)
@click.option("--message", metavar="TEXT", help="The commit's message.")
@click.option("--private", is_flag=True, default=None, help="Make the repository private, if it is created.")
@click.option("--create-pr", is_flag=True, help="Propose the change as a pull request.")
@network_options
@output_options
def upload(
    repo: str,
    local: str | None,
    path_in_repo: str | None,
    repo_type: str | None,
    revision: str,
    endpoint: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    delete: tuple[str, ...],
    message: str | None,
    private: bool | None,
    create_pr: bool,
    concurrency: int | None,
    rate: str | None,
    ca_bundle: str | None,
    quiet: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Upload a folder or a file, and print the address of the commit.

    LOCAL is by default what is called as the repository is. PATH_IN_REPO is where it goes there: by default the top,
    or the file's own name. The repository is created if it is not there. Unchanged files are skipped, and of changed
    ones only chunks that the Hub does not have are sent. The token is taken from HF_TOKEN, or from `hf auth login`.

    \b
    Examples:
      xetway upload me/model ./model
      xetway upload me/model ./model.safetensors weights/model.safetensors --message "Better weights"
      xetway upload datasets/me/texts ./texts --include '*.parquet' --delete '*.parquet'
    """  # noqa: D301  (\b is for click: keep the lines below)
    with told(as_json=as_json, resumable=RESUME):
        from xetway.cli.progress import observer  # noqa: PLC0415
        from xetway.errors import ConfigError  # noqa: PLC0415
        from xetway.transfer.local_files import clean_path, find_files, gitignore  # noqa: PLC0415
        from xetway.transfer.names import check_revision, parse_repo  # noqa: PLC0415
        from xetway.transfer.uploads import Upload, default_local, upload_files  # noqa: PLC0415

        name = parse_repo(repo, repo_type)
        check_revision(revision)
        source = default_local(name) if local is None else Path(local).expanduser()
        files = find_files(source, path_in_repo, include, exclude)
        if not files and not delete:
            which = " that fit the patterns (* matches slashes too)" if include or exclude else ""
            raise ConfigError(f"there are no files to upload in {source}{which}", code="no_files")
        hub = open_hub(endpoint, concurrency=concurrency, rate=rate, ca_bundle=ca_bundle)
        wanted = Upload(
            repo=name,
            files=files,
            revision=revision,
            message=message,
            create_pr=create_pr,
            ignore=gitignore(source),
            delete=delete,
            prefix=clean_path(path_in_repo) if source.is_dir() else "",
        )

        async def work() -> Uploaded:
            await hub.create(name, private=private, sdk="static" if name.kind == "space" else None)
            with observer("Uploading", quiet=quiet or as_json, show=progress) as shown:
                return await upload_files(hub, wanted, shown)

        began = time.monotonic()
        done = run(work)
    _tell(done, time.monotonic() - began, quiet=quiet, as_json=as_json)
    return 0


def _tell(done: Uploaded, took_s: float, *, quiet: bool, as_json: bool) -> None:
    from xetway.cli.sizes import count, size_text  # noqa: PLC0415

    if as_json:
        import msgspec  # noqa: PLC0415

        print_json({**msgspec.structs.asdict(done), "seconds": round(took_s, 3)})
        return
    if not quiet:
        parts = [f"{count(done.uploaded_files, 'file')} uploaded"]
        if done.new_bytes or done.dedup_bytes:
            parts.append(f"{size_text(done.new_bytes)} new, {size_text(done.dedup_bytes)} known already")
        if done.unchanged_files:
            parts.append(f"{done.unchanged_files} unchanged")
        if done.ignored_files:
            parts.append(f"{done.ignored_files} left out")
        if done.deleted_files:
            parts.append(f"{done.deleted_files} deleted")
        if not done.committed:
            parts.append("nothing to commit")
        click.echo(f"{', '.join(parts)}, in {took_s:.1f} s", err=True)
    click.echo(printable(done.pull_request_url or done.commit_url))
