"""Commands that look after a store: `xetway fsck` and `xetway gc`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xetway.cli.sizes import count, size_text
from xetway.cli.tables import data_option
from xetway.errors import ConfigError

if TYPE_CHECKING:
    from xetway.cas.store import ContentStore


def _open_store(data: str | None) -> ContentStore:
    """Open an existing store; a check of nothing would only hide a mistyped name."""
    from xetway.cas.store import ContentStore  # noqa: PLC0415
    from xetway.settings import data_folder  # noqa: PLC0415

    folder = data_folder(data)
    if not (folder / "xetway.db").is_file():
        raise ConfigError(f"there is no xetway store in {folder}; name one with --data")
    return ContentStore(folder)


@click.command()
@data_option
def fsck(data: str | None) -> int:
    """Read the whole store and check every byte of it against its hash.

    One line on stdout for each thing that is wrong, and exit code 1 if there is any. Damage is marked, nothing else
    changes. A server may run meanwhile.

    \b
    Example:
      xetway fsck --data /srv/xetway
    """  # noqa: D301  (\b is for click: keep the lines below)
    store = _open_store(data)
    from xetway.cas.fsck import run  # noqa: PLC0415
    from xetway.hub.reachable import check, users  # noqa: PLC0415

    report = run(store, check, users, click.echo)
    click.echo(
        f"checked {count(report.xorbs, 'xorb')}, {size_text(report.bytes)}, {count(report.files, 'file')}: "
        f"{len(report.errors) or 'no'} fault{'' if len(report.errors) == 1 else 's'}",
        err=True,
    )
    if report.to_upload:
        click.echo(f"to repair it, upload the files of {', '.join(report.to_upload)} again", err=True)
    return 0 if report.ok else 1


@click.command()
@data_option
@click.option("--grace", default="30d", show_default=True, metavar="TIME", help="How long unused content is kept.")
@click.option(
    "--window", default="13h", show_default=True, metavar="TIME", help="How long an upload may take to its commit."
)
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
def gc(data: str | None, grace: str, window: str, dry_run: bool) -> int:
    """Remove content that no revision of any repository uses.

    Safe beside a running server and running uploads. Times are numbers with s, m, h or d.

    --window protects uploads that are under way; --grace keeps what clients may still remember that the server has.
    After a removal they are told to forget, and their next upload sends again what it needs. With shorter times, an
    upload that runs meanwhile may be refused, and has to be repeated.

    \b
    Examples:
      xetway gc --dry-run
      xetway gc --data /srv/xetway --grace 7d
    """  # noqa: D301  (\b is for click: keep the lines below)
    from xetway.settings import parse_duration_s  # noqa: PLC0415

    grace_s, window_s = parse_duration_s(grace, "grace"), parse_duration_s(window, "window")
    store = _open_store(data)
    from xetway.cas.gc import run  # noqa: PLC0415
    from xetway.hub.reachable import prune  # noqa: PLC0415

    report = run(store, prune, grace_s=grace_s, window_s=window_s, dry_run=dry_run)
    verb = "would remove" if dry_run else "removed"
    files, xorbs = count(report.files_removed, "file"), count(report.xorbs_removed, "xorb")
    click.echo(f"{verb} {files}, {xorbs}, {size_text(report.bytes_removed)}")
    if report.xorbs_waiting:
        click.echo(f"unused and still kept: {count(report.xorbs_waiting, 'xorb')}, {size_text(report.bytes_waiting)}")
    return 0
