"""Sizes, counts and bars of the command line."""

from __future__ import annotations

import pytest

from xetway.cli.printable import printable
from xetway.cli.progress import Lines, Quiet, Shown, observer
from xetway.cli.sizes import count, size_text
from xetway.transfer.results import Progress


def test_words_for_sizes_and_counts() -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 5 << 30, 3 << 50)] == [
        "0 B", "1023 B", "1.0 KiB", "5.0 GiB", "3072.0 TiB",
    ]  # fmt: skip
    assert [count(1, "file"), count(2, "file"), count(0, "entry"), count(1_000, "xorb")] == [
        "1 file", "2 files", "0 entries", "1,000 xorbs",
    ]  # fmt: skip


def test_who_sees_bars() -> None:
    assert type(observer("Downloading", quiet=True, show=True)) is Quiet
    assert type(observer("Downloading", quiet=False, show=False)) is Lines
    assert type(observer("Downloading", quiet=False, show=True)) is Shown


def test_total_never_goes_back(capsys: pytest.CaptureFixture[str]) -> None:
    with Shown("Downloading") as shown:
        shown.planned({"a": 100, "b" * 80: 50})
        shown.started("a")
        shown.started("b" * 80)
        for written in (60, 20):
            shown.progressed(Progress(path="a", written_bytes=written, received_bytes=0, total_bytes=100))
            assert next(task.completed for task in shown._bars.tasks if "2 files" in task.description) == 60
        shown.noted("[bold]waiting[/bold]")
        shown.finished("a", 100)
        shown.finished("b" * 80, 50)
        assert [task.completed for task in shown._bars.tasks] == [150]
    seen = capsys.readouterr()
    assert "[bold]waiting[/bold]" in seen.err, "names of files are not markup"
    assert seen.out == ""


def test_names_of_files_do_not_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b]0;title\x07\x9b2J\u202etxt"
    assert printable(name) == "a\ufffd]0;title\ufffd\ufffd2J\ufffdtxt"
    assert printable("fr\u00e4nkische modelle \u6a21.bin") == "fr\u00e4nkische modelle \u6a21.bin"
    with Shown("Downloading") as shown:
        shown.planned({name: 1, "b": 1})
        shown.started(name)
        shown.noted(name)
        assert all("\x1b" not in task.description for task in shown._bars.tasks)
    Lines().noted(name)
    seen = capsys.readouterr().err
    assert "\x1b]0" not in seen
    assert "\x9b" not in seen
