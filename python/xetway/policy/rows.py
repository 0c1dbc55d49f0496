"""A few words of shared memory for each of some names: rows of a table, taken by whoever comes first.

A row belongs to its name as long as the memory lasts. When there is none left, a name gets words that no other
process sees.
"""

from __future__ import annotations

from xetway.ports import NameTable, WordTable

WIDTH = 4
WORDS = WIDTH - 1


class Row:
    """The words of a name, numbered from 0 to WORDS - 1; they begin as 0."""

    __slots__ = ("_start", "_table")

    def __init__(self, table: WordTable, start: int) -> None:
        self._table = table
        self._start = start

    def word(self, index: int) -> int:
        """Return a word."""
        return self._table.word(self._start + index)

    def swap(self, index: int, expected: int, new: int) -> bool:
        """Change a word if it is what is expected; whether it was."""
        return self._table.swap_word(self._start + index, expected, new)

    def put(self, index: int, new: int) -> None:
        """Change a word, whatever it is."""
        while not self.swap(index, self.word(index), new):
            pass

    def add(self, index: int, amount: int) -> None:
        """Add to a word."""
        while not self.swap(index, before := self.word(index), before + amount):
            pass


def words_for(names: int) -> int:
    """Return how many words hold rows for so many names, and for others that come later."""
    return 2 * max(1024, names) * WIDTH


class Rows:
    """So many words of a table from `first` on."""

    def __init__(self, table: NameTable, first: int, words: int) -> None:
        self._table = table
        self._first = first
        self._count = words // WIDTH

    def find(self, name: str) -> Row:
        """Return the row of a name."""
        key = self._table.name(name)
        for step in range(self._count):
            at = self._first + (key + step) % self._count * WIDTH
            if self._table.word(at) == key or self._table.swap_word(at, 0, key) or self._table.word(at) == key:
                return Row(self._table, at + 1)
        return own_row()


class _OwnWords:
    """Words of this process alone."""

    def __init__(self) -> None:
        self._words = [0] * WORDS

    def word(self, index: int) -> int:
        """Return a word."""
        return self._words[index]

    def swap_word(self, index: int, expected: int, new: int) -> bool:
        """Change a word, if it is what is expected."""
        if self._words[index] != expected:
            return False
        self._words[index] = new
        return True


def own_row() -> Row:
    """Make a row that no other process sees."""
    return Row(_OwnWords(), 0)
