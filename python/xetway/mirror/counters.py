"""What the mirror counts."""

from __future__ import annotations

from collections import Counter


class Counters:
    """Numbers that only grow, by name and label. On the event loop only."""

    def __init__(self) -> None:
        self._values: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, label: str = "", count: int = 1) -> None:
        """Count something."""
        self._values[name, label] += count

    def items(self) -> list[tuple[str, str, int]]:
        """All of them: name, label, value."""
        return [(name, label, value) for (name, label), value in sorted(self._values.items())]
