"""Log records as lines of JSON, for programs that collect them: one object each, whatever is in it.

Every line has `timestamp` (RFC 3339, UTC), `level`, `logger` and `message`. A message that is an object with `fields`
adds those; it is made to text, or to fields, only when a record is really written.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, runtime_checkable

from xetway.http.errors import describe


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
