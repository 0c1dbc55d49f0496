"""`xetway bench`: how fast this machine does the work."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xetway.cli.transfer import users_umask

if TYPE_CHECKING:
    from xetway.bench.run import Plan, Report


@click.command()
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path())
@click.option("--corpus", metavar="NAMES", help="random, zeros, text, bf16, f32, elf, compressed or all.  [bf16]")
@click.option("--size", default="256MiB", show_default=True, metavar="SIZE", help="How much of each corpus to make.")
@click.option("--only", default="all", show_default=True, metavar="STAGES", help="Stages, with commas between them.")
@click.option("--threads", metavar="N[,N...]", help="Callers at once, each with a part.  [1 and all cores]")
@click.option("--rounds", type=click.IntRange(1, 1000), default=3, show_default=True, help="Timed runs of each.")
@click.option("--tmp-dir", metavar="DIR", help="Where to put temporary files.  [the system's]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.option("-o", "--output", metavar="FILE", help="Write the JSON here too.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but the result.")
def bench(files: tuple[str, ...], as_json: bool, output: str | None, quiet: bool, **options: Any) -> int:
    """Measure on this machine: chunk, hash, compress, decompress, publish, reconstruct.

    On your own files, or on data made for it. Every answer is checked before it is timed: publish stores durably, and
    reconstruct verifies every chunk and writes the file again. Temporary files take up to four times the size of
    the data, and are removed.

    \b
    Examples:
      xetway bench
      xetway bench model.safetensors --only hash,publish --threads 1,2,4
      xetway bench --corpus all --size 64MiB --json
    """  # noqa: D301  (\b is for click: keep the lines below)
    import msgspec  # noqa: PLC0415

    from xetway.bench.run import measure  # noqa: PLC0415

    users_umask()
    plan = _plan(files, **options)
    if output is not None and not Path(output).parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), output)
    shown = sys.stderr.isatty() and not (quiet or as_json)
    try:
        report = measure(plan, _told if shown else _silent)
    finally:
        if shown:
            _told("")
    text = msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"
    if output is not None:
        Path(output).write_text(text, encoding="utf-8")
    if as_json:
        click.echo(text, nl=False)
    else:
        _show(report)
    return 0


def _plan(
    files: tuple[str, ...],
    *,
    corpus: str | None,
    size: str,
    only: str,
    threads: str | None,
    rounds: int,
    tmp_dir: str | None,
) -> Plan:
    from xetway.bench.corpora import CORPORA  # noqa: PLC0415
    from xetway.bench.machine import usable_cores  # noqa: PLC0415
    from xetway.bench.run import Plan, parse_names, parse_threads  # noqa: PLC0415
    from xetway.bench.stages import STAGES  # noqa: PLC0415
    from xetway.errors import ConfigError  # noqa: PLC0415
    from xetway.settings import parse_size_bytes  # noqa: PLC0415

    size_bytes = parse_size_bytes(size, "size")
    if not size_bytes:
        raise ConfigError("--size is 0; there is nothing to measure")
    if corpus is None and not files:
        corpus = "bf16"
    return Plan(
        files=tuple(Path(name).expanduser() for name in files),
        corpora=() if corpus is None else parse_names(corpus, "corpus", tuple(CORPORA)),
        size_bytes=size_bytes,
        stages=parse_names(only, "only", STAGES),
        threads=parse_threads(threads or f"1,{usable_cores()}"),
        rounds=rounds,
        folder=None if tmp_dir is None else Path(tmp_dir).expanduser(),
    )


def _silent(_: str) -> None:
    return


def _told(line: str) -> None:
    from xetway.cli.printable import printable  # noqa: PLC0415

    click.echo(f"\r\x1b[K{printable(line)}", nl=False, err=True)


def _show(report: Report) -> None:
    from rich.console import Console  # noqa: PLC0415

    from xetway.bench.report import show  # noqa: PLC0415

    show(report, Console(width=100, soft_wrap=True, highlight=False))
