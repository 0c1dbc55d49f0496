"""`xetway prefetch`: have a running mirror fetch a repository before anyone asks for it."""

from __future__ import annotations

import click

from xetway.cli.transfer import output_options, pattern_options, print_json, repo_options, told

RESUME = "the mirror keeps what it has; the same command again fetches the rest"


@click.command()
@click.argument("repo")
@repo_options
@pattern_options
@click.option("--ca-bundle", metavar="FILE", help="Certificates to trust besides the system's.")
@output_options
def prefetch(
    repo: str,
    repo_type: str | None,
    revision: str,
    endpoint: str | None,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    ca_bundle: str | None,
    quiet: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Have the mirror at --endpoint (or HF_ENDPOINT) fetch a repository, verified, into its cache.

    Nothing comes to this machine. The mirror uses your token (HF_TOKEN) upstream.

    \b
    Examples:
      xetway prefetch org/model --endpoint http://127.0.0.1:8080
      xetway prefetch datasets/org/texts --include '*.parquet'
    """  # noqa: D301  (\b is for click: keep the lines below)
    with told(as_json=as_json, resumable=RESUME):
        from xetway.cli.progress import observer  # noqa: PLC0415
        from xetway.transfer import environment  # noqa: PLC0415
        from xetway.transfer.names import check_revision, expand, parse_repo  # noqa: PLC0415
        from xetway.transfer.prefetching import Prefetch, run_prefetch  # noqa: PLC0415

        name = parse_repo(repo, repo_type)
        wanted = Prefetch(
            repo=name.name,
            type=name.kind,
            revision=check_revision(revision),
            include=tuple(expand(include)),
            exclude=tuple(expand(exclude)),
        )
        with observer("Prefetching", quiet=quiet or as_json, show=progress) as shown:
            done = run_prefetch(environment.endpoint(endpoint), environment.token(), wanted, shown, ca_bundle=ca_bundle)
    if as_json:
        print_json({"repo": str(name), "files": done.files, "bytes": done.bytes, "fetched": done.fetched})
        return 0
    from xetway.cli.sizes import count, size_text  # noqa: PLC0415

    if not done.files:
        click.echo("nothing to fetch: the repository has no files, or is that server's own")
        return 0
    click.echo(f"{count(done.files, 'file')}, {size_text(done.bytes)} in the mirror, {size_text(done.fetched)} fetched")
    return 0
