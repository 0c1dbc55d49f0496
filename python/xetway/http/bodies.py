"""How much memory bodies may take, over all requests of a process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from xetway.errors import RequestError


class Bodies:
    """Bytes of bodies that are held in memory while the rest of them arrives, or their answers, over all requests."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self.held_bytes = 0

    def add(self, count: int) -> None:
        """Hold so many more, or less.

        Raises:
            RequestError: `busy` (503): now they are too many.
        """
        self.held_bytes += count
        if count > 0 and self.held_bytes > self._limit_bytes:
            raise RequestError(
                "the server is busy, try again", code="busy", status=503, headers=(("retry-after", "5"),)
            )

    @contextlib.contextmanager
    def holding(self, count: int) -> Iterator[None]:
        """Hold so many for a while.

        Raises:
            RequestError: as `add`.
        """
        try:
            self.add(count)
            yield
        finally:
            self.add(-count)
