"""Bars on a terminal for transfers: one per file at work, one for all of them, with speed and time left.

They go to stderr, and only if that is a terminal or `show` says so; rich is not even loaded otherwise.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from xetway.cli.printable import printable
from xetway.transfer.results import Observer, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import Task, TaskID

_NAME_WIDTH = 40


class Quiet(Observer):
    """Shows nothing. A context manager, as `Shown` is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return


class Lines(Quiet):
    """Where there is no terminal: a line for what a person should know, and none for each file."""

    def noted(self, text: str) -> None:
        """As `Observer.noted`."""
        print(printable(text), file=sys.stderr, flush=True)


class Shown(Quiet):
    """Bars on stderr."""

    def __init__(self, verb: str) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            ProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        from xetway.cli.sizes import size_text  # noqa: PLC0415

        class _Speed(ProgressColumn):
            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text("" if speed is None else f"{size_text(int(speed))}/s", style="progress.data.speed")

        self._verb = verb
        self._bars: Bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(binary_units=True),
            _Speed(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True, force_terminal=True),
            transient=False,
            speed_estimate_period=10.0,
        )
        self._total: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._sizes: dict[str, int] = {}
        self._written: dict[str, int] = {}

    def planned(self, sizes: dict[str, int]) -> None:
        """As `Observer.planned`. Told again, it is the same plan, whose sizes were not known before."""
        self._sizes = sizes
        if self._total is not None:
            self._bars.update(self._total, total=sum(sizes.values()))
        elif sizes:
            files = "1 file" if len(sizes) == 1 else f"{len(sizes)} files"
            self._total = self._bars.add_task(f"{self._verb} {files}", total=sum(sizes.values()))

    def started(self, path: str) -> None:
        """As `Observer.started`."""
        if len(self._sizes) > 1:
            name = printable(path if len(path) <= _NAME_WIDTH else f"...{path[3 - _NAME_WIDTH :]}")
            self._tasks[path] = self._bars.add_task(f"  {name}", total=self._sizes.get(path))

    def progressed(self, progress: Progress) -> None:
        """As `Observer.progressed`."""
        self._set(progress.path, progress.written_bytes)

    def finished(self, path: str, size: int) -> None:
        """As `Observer.finished`: its bar makes room for others."""
        self._set(path, size)
        task = self._tasks.pop(path, None)
        if task is not None:
            self._bars.remove_task(task)

    def noted(self, text: str) -> None:
        """As `Observer.noted`."""
        self._bars.console.print(printable(text), markup=False, highlight=False)

    def _set(self, path: str, written: int) -> None:
        # What is read again after a failure must not take a bar back.
        self._written[path] = max(written, self._written.get(path, 0))
        task = self._tasks.get(path)
        if task is not None:
            self._bars.update(task, completed=written)
        if self._total is not None:
            self._bars.update(self._total, completed=sum(self._written.values()))

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


def observer(verb: str, *, quiet: bool, show: bool | None = None) -> Quiet:
    """What shows a command's progress: bars on a terminal, lines elsewhere, nothing if it is to be quiet."""
    if quiet:
        return Quiet()
    wanted = sys.stderr.isatty() if show is None else show
    return Shown(verb) if wanted else Lines()
