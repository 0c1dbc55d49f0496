"""`xetway download-hash`: a file by its content's hash."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xetway.cli.download import RESUME
from xetway.cli.transfer import network_options, open_hub, output_options, print_json, run, told, users_umask
from xetway.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    from xetway.transfer.hub import HubClient
    from xetway.transfer.results import Observer

_HASH = re.compile(r"[0-9a-f]{64}")


@click.command("download-hash")
@click.argument("hash_", metavar="HASH")
@click.option("-o", "--output", required=True, metavar="FILE", help="Write the file here.")
@click.option("--repo", metavar="REPO", help="A repository that has the file, on any Hub.")
@click.option("--revision", default="main", show_default=True, help="A revision of that repository.")
@click.option("--endpoint", metavar="URL", help="The Hub.  [HF_ENDPOINT, or https://huggingface.co]")
@click.option("--unverified", is_flag=True, help="Keep a file that could not be verified.")
@network_options
@output_options
def download_hash(
    hash_: str,
    output: str,
    repo: str | None,
    revision: str,
    endpoint: str | None,
    unverified: bool,
    concurrency: int | None,
    rate: str | None,
    ca_bundle: str | None,
    quiet: bool,
    progress: bool | None,
    as_json: bool,
) -> int:
    """Download a file by its xet hash (`xetway hash FILE` prints it), from a xetway server.

    With --repo it is rebuilt from that repository's chunks, from any Hub, and always verified. Without, the server
    sends plain bytes; they are verified by cutting them into chunks again. A file that was uploaded by a client that
    cuts differently cannot be verified so: it is refused, unless you say --unverified.

    \b
    Examples:
      xetway download-hash $HASH -o model.safetensors --endpoint http://127.0.0.1:8080
      xetway download-hash $HASH -o model.safetensors --repo org/model
    """  # noqa: D301  (\b is for click: keep the lines below)
    users_umask()
    wanted = hash_.strip().lower()
    with told(as_json=as_json, resumable=RESUME):
        if not _HASH.fullmatch(wanted):
            raise ConfigError(f"{hash_[:80]!r} is no xet hash; it has 64 hexadecimal digits", code="bad_hash")
        from xetway.cli.progress import observer  # noqa: PLC0415

        hub = open_hub(endpoint, concurrency=concurrency, rate=rate, ca_bundle=ca_bundle)
        path = Path(output).expanduser()

        async def work() -> tuple[int, int, bool]:
            with observer("Downloading", quiet=quiet or as_json, show=progress) as shown:
                if repo is not None:
                    return await _from_chunks(hub, wanted, path, repo, revision, shown)
                return await _from_bytes(hub, wanted, path, keep=unverified, shown=shown)

        size, received, verified = run(work)
    if as_json:
        print_json({"path": path, "hash": wanted, "size": size, "received_bytes": received, "verified": verified})
        return 0
    if not quiet:
        from xetway.cli.sizes import size_text  # noqa: PLC0415

        proof = "verified against the hash" if verified else "NOT verified: its chunks are cut in another way"
        click.echo(f"{size_text(size)} downloaded, {proof}", err=True)
    click.echo(path)
    return 0


async def _from_chunks(
    hub: HubClient, wanted: str, path: Path, repo: str, revision: str, shown: Observer
) -> tuple[int, int, bool]:
    from xetway.transfer.names import parse_repo  # noqa: PLC0415
    from xetway.transfer.results import Progress  # noqa: PLC0415

    name = parse_repo(repo)
    tokens = hub.read_tokens(name, await hub.commit_of(name, revision))

    def tell(written: int, got: int, total: int) -> None:
        shown.planned({wanted: total})
        shown.progressed(Progress(path=wanted, written_bytes=written, received_bytes=got, total_bytes=total))

    size, received, _ = await hub.wire.download_file(wanted, path, tokens, progress=tell)
    return size, received, True


async def _from_bytes(hub: HubClient, wanted: str, path: Path, *, keep: bool, shown: Observer) -> tuple[int, int, bool]:
    from xetway.transfer.blocking import in_thread  # noqa: PLC0415
    from xetway.transfer.refusals import refusal  # noqa: PLC0415
    from xetway.transfer.results import Progress  # noqa: PLC0415
    from xetway.xet.hashing import hash_file  # noqa: PLC0415

    url = f"{hub.endpoint}/download-hash/{wanted}"
    head = await hub.wire.request("HEAD", url, hub.headers, attempts=3)
    if head.status != 200:
        raise refusal(head, hub.endpoint, with_token=bool(hub.headers))
    size = int(head.header("content-length") or 0)
    landing = path.with_name(f".{path.name}.{wanted[:16]}.xetway")
    landing.parent.mkdir(parents=True, exist_ok=True)
    shown.planned({wanted: size})

    def tell(written: int, got: int, _total: int) -> None:
        shown.progressed(Progress(path=wanted, written_bytes=written, received_bytes=got, total_bytes=size))

    size, received, _ = await hub.wire.download_plain(url, hub.headers, landing, size=size, progress=tell)
    found = await in_thread(hash_file, landing)
    verified = found.hash == wanted
    if not verified and not keep:
        landing.unlink(missing_ok=True)
        raise IntegrityError(
            f"what {hub.endpoint} sent for {wanted[:16]}... has the hash {found.hash[:16]}... when cut into chunks "
            "here: it is damaged, or was cut in another way; --repo REPO verifies it by its own chunks, --unverified "
            "keeps it as it is",
            code="not_verified",
            expected=wanted,
            actual=found.hash,
        )
    landing.replace(path)
    return size, received, verified
