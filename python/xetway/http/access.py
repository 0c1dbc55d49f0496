"""The access log: one line for each request, as text or, where logs are JSON, as fields.

It never holds a query, a header, a body or a key, but the id of a key.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from xetway.http.errors import log_path, printable
from xetway.http.request import Request

logger = logging.getLogger("xetway.access")

# Source: https://www.w3.org/TR/trace-context/#traceparent-header
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def write(level: int, line: Line, failure: BaseException | None) -> None:
    """Write a line; which place in the code wrote it is not looked for, as it is always this one."""
    trace = None if failure is None else (type(failure), failure, failure.__traceback__)
    logger.handle(logging.LogRecord(logger.name, level, "", 0, line, (), trace))


class Line:
    """What is told of one request. `note` is what was unusual, in words."""

    __slots__ = ("_duration_ms", "_note", "_request", "_sent_bytes", "_status")

    def __init__(self, request: Request, status: int, sent_bytes: int, duration_ms: float, note: str) -> None:
        self._request = request
        self._status = status
        self._sent_bytes = sent_bytes
        self._duration_ms = duration_ms
        self._note = note

    def __str__(self) -> str:
        request = self._request
        model = request.notes.get("model")
        return (
            f"{log_path(request)} {self._status} {self._sent_bytes} B {self._duration_ms:.1f} ms {request.client}"
            f" id={request.request_id}{'' if model is None else f' model={printable(model)}'}{self._note}"
        )

    @property
    def summary(self) -> str:
        """The message where the rest is in fields."""
        return f"{log_path(self._request)} {self._status}"

    def fields(self) -> Mapping[str, Any]:
        """Tell it for machines: what handlers noted of the request is told under the names they gave it."""
        request = self._request
        method, _, path = log_path(request).partition(" ")
        fields = {
            "request_id": request.request_id,
            "method": method,
            "path": path,
            "status": self._status,
            "bytes": self._sent_bytes,
            "duration_ms": round(self._duration_ms, 3),
            "client": request.client,
        }
        parent = _TRACEPARENT.fullmatch(request.header("traceparent") or "")
        if parent is not None:
            fields["trace_id"] = parent[1]
        if self._note:
            fields["note"] = self._note.strip()
        return fields | request.notes
