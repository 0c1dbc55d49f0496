"""A file to measure on, read in windows so that any size fits into memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import msgspec

from xetway.errors import ConfigError

WINDOW_BYTES = 32 * 1024 * 1024
T = TypeVar("T")
R = TypeVar("R")


class Source(msgspec.Struct, frozen=True):
    """A file by the name it has in the report."""

    name: str
    path: Path
    size: int

    def windows(self, window_bytes: int = WINDOW_BYTES) -> Iterator[memoryview]:
        """Read it; a window is overwritten by the next."""
        left = self.size
        buffer = memoryview(bytearray(min(window_bytes, left)))
        with self.path.open("rb", buffering=0) as file:
            while left:
                count = file.readinto(buffer[: min(len(buffer), left)])
                if not count:
                    raise ConfigError(f"{self.name} became shorter while it was read", code="file_changed")
                yield buffer[:count]
                left -= count

    def divide(self, parts: int, folder: Path) -> list[Source]:
        """Write it in parts of about the same length into files of their own; one part is the file itself."""
        if parts == 1:
            return [self]
        divided: list[Source] = []
        with self.path.open("rb") as file:
            for start, end in split(self.size, parts):
                part = Source(self.name, folder / f"part-{len(divided)}", end - start)
                with part.path.open("wb") as target:
                    left = part.size
                    while left and (piece := file.read(min(left, WINDOW_BYTES))):
                        left -= target.write(piece)
                divided.append(part)
        return divided


def open_source(path: Path) -> Source:
    """A file of the user's.

    Raises:
        OSError: it is not there, or cannot be read.
        ConfigError: it is empty.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
    if not size:
        raise ConfigError(f"{path.name} is empty; there is nothing to measure", code="empty_file")
    return Source(path.name, path, size)


def split(size: int, parts: int) -> list[tuple[int, int]]:
    """Divide [0, size) into as many ranges of about the same length; fewer if there is too little.

    Example:
        >>> from xetway.bench.source import split
        >>> split(10, 3), split(1, 2)
        ([(0, 3), (3, 6), (6, 10)], [(0, 1)])
    """
    edges = [size * part // parts for part in range(parts + 1)]
    return [(start, end) for start, end in itertools.pairwise(edges) if start < end]


class Crew:
    """So many threads that work at the same time; with one, the calling thread does it."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None

    def map(self, work: Callable[[T], R], parts: Sequence[T]) -> list[R]:
        """Do the work on every part, and return when all is done."""
        return [work(part) for part in parts] if self._pool is None else list(self._pool.map(work, parts))

    def close(self) -> None:
        """Let the threads go: what has not begun is dropped."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
