"""A whole measurement: which data, which stages, in turn, with what it takes on disk."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from xetway.bench.corpora import write_corpus
from xetway.bench.machine import Machine, describe
from xetway.bench.source import Crew, Source, open_source
from xetway.bench.stages import STAGES, InFiles, InMemory
from xetway.bench.timing import Figures, Sample, figures
from xetway.cli.sizes import size_text
from xetway.errors import ConfigError
from xetway.transfer.present import disk_full

SPARE_BYTES = 64 * 1024 * 1024
Told = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """What to measure. Files come before corpora; `size_bytes` is that of each corpus."""

    files: tuple[Path, ...] = ()
    corpora: tuple[str, ...] = ()
    size_bytes: int = 256 * 1024 * 1024
    stages: tuple[str, ...] = STAGES
    threads: tuple[int, ...] = (1,)
    rounds: int = 3
    folder: Path | None = None


class Result(msgspec.Struct, frozen=True):
    """One stage on one kind of data. `stored_ratio` is what compression leaves of it."""

    data: str
    data_bytes: int
    stage: str
    threads: int
    figures: Figures
    samples: tuple[Sample, ...]
    stored_ratio: float | None = None


class Report(msgspec.Struct, frozen=True):
    """Everything that was measured, and where."""

    date: str
    machine: Machine
    rounds: int
    results: tuple[Result, ...]
    version: int = 1


def measure(plan: Plan, tell: Told) -> Report:
    """Measure; `tell` gets a line at each step.

    Raises:
        ConfigError: a file is empty.
        IntegrityError: `bench_check`, a stage gave a wrong answer.
        OSError: a file cannot be read.
        StateError: `disk_full`.
    """
    opened = [open_source(path) for path in plan.files]
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="xetway-bench-", dir=plan.folder) as name:
        folder = Path(name)
        _look_for_room(plan, [source.size for source in opened], folder)
        for source in opened:
            results += _measure_source(source, plan, folder, tell)
        for corpus in plan.corpora:
            with _generated(corpus, plan.size_bytes, folder, tell) as source:
                results += _measure_source(source, plan, folder, tell)
    return Report(date, describe(), plan.rounds, tuple(results))


def parse_names(text: str, option: str, known: Sequence[str]) -> tuple[str, ...]:
    """Read names with commas between them, in the order of `known`; `all` is all of them.

    Example:
        >>> from xetway.bench.run import parse_names
        >>> parse_names("b,a", "only", ("a", "b", "c"))
        ('a', 'b')
    """
    asked = {name.strip().lower() for name in text.split(",")}
    wrong = sorted(asked - {*known, "all"})
    if wrong:
        raise ConfigError(f"--{option} has {wrong[0]!r}; there are {', '.join(known)} and all", code="bad_name")
    return tuple(name for name in known if name in asked or "all" in asked)


def parse_threads(text: str) -> tuple[int, ...]:
    """Read numbers of threads with commas between them."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) <= 4 and 1 <= int(word) <= 1024 for word in words):
        raise ConfigError(
            f"--threads is {text!r}; it must be numbers from 1 to 1024, such as 1,2,4", code="bad_threads"
        )
    return tuple(sorted({int(word) for word in words}))


def _look_for_room(plan: Plan, sizes: Sequence[int], folder: Path) -> None:
    """A corpus is written once; what several threads divide, a store and what is rebuilt from it are there besides."""
    largest = max([*sizes, plan.size_bytes if plan.corpora else 0])
    stored = "publish" in plan.stages or "reconstruct" in plan.stages
    divided = max(plan.threads) > 1 and (stored or "hash" in plan.stages)
    copies = bool(plan.corpora) + divided + stored + ("reconstruct" in plan.stages)
    needed = largest * copies + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise disk_full(
            folder.parent,
            "--tmp-dir names another folder, --size makes it less",
            f"{size_text(needed)} are needed for a while, {size_text(free)} are free",
        )


@contextlib.contextmanager
def _generated(name: str, size_bytes: int, folder: Path, tell: Told) -> Iterator[Source]:
    tell(f"making {name} data")
    path = folder / name
    write_corpus(name, path, size_bytes)
    yield Source(name, path, size_bytes)
    path.unlink()


def _measure_source(source: Source, plan: Plan, folder: Path, tell: Told) -> Iterator[Result]:
    memory, files = InMemory(source, plan.stages), InFiles(source, plan.stages, folder)
    found: dict[tuple[str, int], list[Sample]] = {}
    with contextlib.ExitStack() as stack:
        crews = [Crew(threads) for threads in plan.threads]
        for crew in crews:
            stack.callback(crew.close)
        for number in range(plan.rounds + 1):
            for crew in crews:
                what = f"round {number} of {plan.rounds}" if number else "checking the answers"
                tell(f"{source.name}, {crew.threads} thread{'' if crew.threads == 1 else 's'}: {what}")
                once = memory.run(crew, check=not number) | files.run(crew, check=not number)
                for stage, sample in once.items() if number else ():
                    found.setdefault((stage, crew.threads), []).append(sample)
    for stage in plan.stages:
        for threads in plan.threads:
            samples = tuple(found[stage, threads])
            ratio = memory.stored_bytes / source.size if stage == "compress" else None
            yield Result(source.name, source.size, stage, threads, figures(samples), samples, ratio)
