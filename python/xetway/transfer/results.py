"""What a transfer tells: how far it is, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec


class Downloaded(msgspec.Struct, frozen=True, kw_only=True):
    """A downloaded file.

    `state` is `downloaded`, or `present` if it was there and needed nothing. `hash` is the xet hash, None for a file
    that is not stored as Xet. `received_bytes` came over the network; `resumed_bytes` of content were there from an
    interrupted download, and were checked.
    """

    path: Path
    size: int
    hash: str | None
    state: Literal["downloaded", "present"]
    received_bytes: int = 0
    resumed_bytes: int = 0
    commit: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far one file is: content bytes in place, bytes received over the network, content bytes in all."""

    path: str
    written_bytes: int
    received_bytes: int
    total_bytes: int


OnProgress: TypeAlias = Callable[[Progress], None]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a download of several files."""

    commit: str
    folder: Path
    files: dict[str, Downloaded]

    @property
    def size(self) -> int:
        """Content bytes of all files."""
        return sum(file.size for file in self.files.values())

    @property
    def received_bytes(self) -> int:
        """Bytes that came over the network."""
        return sum(file.received_bytes for file in self.files.values())

    @property
    def resumed_bytes(self) -> int:
        """Content bytes that were there from an interrupted download."""
        return sum(file.resumed_bytes for file in self.files.values())


class Observer:
    """Is told what a transfer does; does nothing itself. Subclasses show it."""

    def planned(self, sizes: dict[str, int]) -> None:
        """These paths with these sizes are to be transferred."""

    def started(self, path: str) -> None:
        """Work on this path begins."""

    def progressed(self, progress: Progress) -> None:
        """A path got further. Called in the event loop, some twenty times a second for each path."""

    def finished(self, path: str, size: int) -> None:
        """A path is done."""

    def noted(self, text: str) -> None:
        """Something a person may want to know, such as what is waited for."""


class Told(Observer):
    """Passes progress on to a function."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress

    def progressed(self, progress: Progress) -> None:
        """As `Observer.progressed`."""
        self._on_progress(progress)
