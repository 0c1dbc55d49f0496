"""Pages that one process writes and others read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from xetway.board import Board

START = 4096


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    file = os.open(tmp_path / "board", os.O_RDWR | os.O_CREAT)
    yield file
    os.close(file)


def test_the_last_page_written_is_read(file: int) -> None:
    board = Board(file, START)
    assert board.read(0) is None
    for body in (b"", b"a" * 100_000, b"b"):
        board.write(1, body)
        board.write(0, body + b"of 0")
        assert (board.read(1), board.read(0)) == (body, body + b"of 0")
    assert board.read(2) is None
    assert os.pread(file, START, 0) == bytes(START)


def test_who_comes_after_reads_and_goes_on(file: int) -> None:
    Board(file, START).write(0, b"1")
    Board(file, START).write(0, b"2")
    after = Board(file, START)
    assert after.read(0) == b"2"
    after.write(0, b"3")
    assert Board(file, START).read(0) == b"3"


@pytest.mark.parametrize("cut", range(24))
def test_a_page_that_was_not_finished_leaves_the_one_before(file: int, cut: int) -> None:
    """The writer was killed after `cut` bytes of the third page, where the first one was."""
    board = Board(file, START)
    board.write(0, b"one1")
    first = os.pread(file, 24, START)
    board.write(0, b"two2")
    board.write(0, b"new3")
    third = os.pread(file, 24, START)
    assert third != first
    os.pwrite(file, third[:cut] + first[cut:], START)
    assert Board(file, START).read(0) == b"two2"


def test_a_page_too_large_is_refused(file: int) -> None:
    class Large(bytes):
        def __len__(self) -> int:
            return 1 << 28

    with pytest.raises(ValueError, match="too large"):
        Board(file, START).write(0, Large())
