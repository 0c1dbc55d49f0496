"""Lines that are written together: once for each turn of the event loop, warnings and those of threads at once."""

from __future__ import annotations

import asyncio
import errno
import io
import logging

from xetway.logs import OneLine, Together


class Stream(io.StringIO):
    """Counts what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


class Full(io.StringIO):
    """A file on a disk that is full at first."""

    is_full = True

    def flush(self) -> None:
        if self.is_full:
            raise OSError(errno.ENOSPC, "No space left on device")


def handler(stream: io.StringIO) -> Together:
    made = Together(stream)
    made.setFormatter(logging.Formatter("%(message)s"))
    return made


def record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("xetway", level, "", 0, text, (), None)


def test_lines_of_one_turn_are_one_write() -> None:
    async def go() -> None:
        stream = Stream()
        together = handler(stream)
        together.handle(record("a"))
        together.handle(record("b"))
        assert stream.writes == []
        await asyncio.sleep(0)
        assert stream.writes == ["a\nb\n"]
        together.handle(record("c"))
        together.handle(record("d", logging.WARNING))
        assert stream.writes[1:] == ["c\nd\n"]
        await asyncio.sleep(0)
        assert len(stream.writes) == 2

    asyncio.run(go())


def test_without_a_loop_nothing_waits() -> None:
    stream = Stream()
    handler(stream).handle(record("a"))
    assert stream.writes == ["a\n"]


def test_a_full_disk_ends_neither_who_logs_nor_the_event_loop() -> None:
    async def go() -> None:
        stream = Full()
        together = handler(stream)
        together.handle(record("a", logging.WARNING))
        together.handle(record("b"))
        await asyncio.sleep(0)
        stream.is_full = False
        together.handle(record("c", logging.WARNING))
        assert stream.getvalue().endswith("c\n")
        stream.close()
        together.handle(record("d", logging.WARNING))

    asyncio.run(go())


def test_a_record_is_one_line_and_its_failure_without_a_trace() -> None:
    error = ValueError("two\nlines")
    told = logging.LogRecord("xetway", logging.ERROR, "", 0, "it\nfailed", (), (ValueError, error, None))
    line = OneLine(traces=False).format(told)
    assert "\n" not in line
    assert " ERROR it failed: ValueError: two lines" in line
