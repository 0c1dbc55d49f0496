"""Log records as lines: of text for people, or of JSON for programs that collect them, whatever is in a record.

A line of JSON is an object with `timestamp` (RFC 3339, UTC), `level`, `logger` and `message`. A message that is an
object with `fields` adds those; it is made to text, or to fields, only when a record is really written.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Protocol, TextIO, runtime_checkable

from xetway.http.errors import describe

_TIME = "%Y-%m-%dT%H:%M:%S"


@runtime_checkable
class Event(Protocol):
    """A message with fields; its text is what people read."""

    @property
    def summary(self) -> str:
        """The message, without what the fields say."""
        ...

    def fields(self) -> Mapping[str, Any]:
        """What is told beside it."""
        ...


class Together(logging.Handler):
    """Writes the lines of one turn of the event loop at once, and warnings without delay.

    Each write would cost a call of the system, and other threads would have the interpreter meanwhile.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        self._lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record in."""
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001  (as every handler does)
            self.handleError(record)
            return
        self._lines.append(f"{line}\n")
        if record.levelno >= logging.WARNING:
            self.flush()
        elif len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:  # a thread without a loop
                self.flush()

    def flush(self) -> None:
        """Write what is there. A stream that takes nothing, as on a full disk, is nobody's failure."""
        # A ValueError is how a closed stream tells.
        with self.lock, contextlib.suppress(OSError, ValueError):  # type: ignore[union-attr]
            lines, self._lines = self._lines, []
            if lines:
                self._stream.write("".join(lines))
                self._stream.flush()


class OneLine(logging.Formatter):
    """A record as one line; an exception as its type and text, with a traceback only if asked for."""

    def __init__(self, *, traces: bool) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)s %(message)s", _TIME)
        self._traces = traces

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        if self._traces:
            return super().format(record)
        error = record.exc_info[1] if record.exc_info else None
        told = f"{_second(int(record.created))}.{int(record.msecs):03d} {record.levelname} {record.getMessage()}"
        line = told.replace("\n", " ")
        return f"{line}: {describe(error)}" if error is not None else line


@lru_cache(2)
def _second(unix_s: int) -> str:
    return time.strftime(_TIME, time.localtime(unix_s))


class JsonLines(logging.Formatter):
    """Writes a record as a line of JSON; an exception as its type and text, with a traceback only if asked for."""

    def __init__(self, *, traces: bool) -> None:
        super().__init__()
        self._traces = traces

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; nothing in it but ASCII, so that nothing ends it early."""
        event = record.msg if isinstance(record.msg, Event) else None
        line: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage() if event is None else event.summary,
        }
        if event is not None:
            line |= event.fields()
        if record.exc_info and record.exc_info[1] is not None:
            line["exception"] = describe(record.exc_info[1])
            if self._traces:
                line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"), default=str)
