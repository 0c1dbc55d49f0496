"""Cores and memory as the kernel counts them (Linux): who runs where, what that cost, and who else ran."""

from __future__ import annotations

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CPUS = sorted(os.sched_getaffinity(0))
SERVER_CPUS, LOAD_CPUS = {CPUS[0]}, {CPUS[-1]}
# With four cores or more, what two workers can do is seen with a core each.
ROOMY = len(CPUS) >= 4
_FILES = 16_384


def allow_files() -> None:
    """Let the processes started from here open thousands of connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))


@contextlib.contextmanager
def pinned(cpus: set[int]) -> Iterator[None]:
    """What is started inside runs on these cores alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def tree(pid: int) -> list[int]:
    """A process and all that come of it."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def cpu_s(pids: list[int]) -> float:
    """Time these processes ran so far, to the nanosecond; threads that ended are not in it."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError, ValueError, IndexError):
                total += int(task.read_text().split()[0])
    return total / 1e9


def memory_kib(pids: list[int], field: str) -> int:
    """`Rss` (shared pages in each process) or `Pss` (shared out between them) of all of them."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1])
    return total


def peak_kib(pids: list[int]) -> int:
    """Most memory these processes had."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
    return total


@dataclass
class Neighbours:
    """How much of the machine others took between two looks: cores, those of the host included."""

    ours: list[int]

    def begin(self) -> None:
        self._before = self._look()

    def cores(self, ended_cpu_s: float) -> float:
        """Since `begin`; what our own process that has ended took is taken off."""
        now, total, ours = self._look()
        began, total_before, ours_before = self._before
        return max(0.0, (total - total_before - (ours - ours_before) - ended_cpu_s) / (now - began))

    def _look(self) -> tuple[float, float, float]:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        busy = sum(int(fields[place]) for place in (0, 1, 2, 7)) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy, cpu_s([*self.ours, os.getpid()])
