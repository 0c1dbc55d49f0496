"""Words that are found by a name, in any process."""

from __future__ import annotations

from xetway._native import SharedTable
from xetway.policy.rows import WIDTH, Rows, own_row, words_for

NUMBERS = {"workers": 2, "buckets": 1, "gates": 1}


def rows_of(count: int) -> tuple[Rows, Rows]:
    """The same rows as two processes see them, behind a word of somebody else's."""
    words = 1 + count * WIDTH
    memory = bytearray(SharedTable.size(**NUMBERS, words=words))
    one, other = (Rows(SharedTable(memory, **NUMBERS, words=words), 1, count * WIDTH) for _ in range(2))
    return one, other


def test_a_name_has_the_same_words_in_all_processes() -> None:
    one, other = rows_of(50)
    for number in range(50):
        one.find(f"name {number}").put(number % 3, number + 1)
    for number in range(50):
        row = other.find(f"name {number}")
        assert [row.word(index) for index in range(3)] == [
            number + 1 if index == number % 3 else 0 for index in range(3)
        ]


def test_names_without_a_row_have_words_of_their_own() -> None:
    one, other = rows_of(2)
    taken = [one.find("a"), one.find("b")]
    left = one.find("c")
    left.put(0, 7)
    left.add(0, 1)
    assert (left.word(0), other.find("c").word(0)) == (8, 0)
    assert [row.word(0) for row in taken] == [0, 0]
    assert other.find("a").swap(0, 0, 5)
    assert not taken[0].swap(0, 0, 6)
    assert taken[0].word(0) == 5


def test_own_words_and_room() -> None:
    row = own_row()
    assert row.swap(2, 0, 3)
    assert not row.swap(2, 0, 4)
    assert row.word(2) == 3
    assert words_for(0) == words_for(1000) == 2048 * WIDTH
    assert words_for(10_000) == 20_000 * WIDTH
