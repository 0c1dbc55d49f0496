"""How failures are told: to the client one line of JSON, to the log one line.

Neither ever holds a traceback, a local path or a token. A traceback is logged at level debug only.
"""

from __future__ import annotations

import errno
import re
import sqlite3
from pathlib import Path

import msgspec

from xetway.errors import NotCachedError, RateLimitedError, RemoteError, RequestError, XetwayError
from xetway.http.request import Request
from xetway.http.response import Response, json_response

_MAX_HEADER_CHARS = 500
_MAX_LOGGED_CHARS = 300
# A write that goes over a quota counts as failed, not as full.
_SQLITE_FULL = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE})
_SQLITE_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")
_LOCAL_PATH = re.compile(r"(?<![\w.:/])/(?:[\w.+@~-]+/)+[\w.+@~-]*")


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every error."""

    error: str
    code: str


def error_response(error: XetwayError) -> Response:
    """The answer to a request that failed."""
    headers = [("x-error-message", _UNPRINTABLE.sub(" ", error.message)[:_MAX_HEADER_CHARS])]
    if isinstance(error, RequestError):
        headers.extend(error.headers)
        if error.hub_code is not None:
            headers.append(("x-error-code", error.hub_code))
    if isinstance(error, (RemoteError, NotCachedError)) and error.hub_code is not None:
        headers.append(("x-error-code", _UNPRINTABLE.sub(" ", error.hub_code)))
    if isinstance(error, RateLimitedError) and error.retry_after_s is not None:
        headers.append(("retry-after", str(error.retry_after_s)))
    return json_response(ErrorBody(error.message, error.code), error.status, headers)


def as_xetway_error(error: BaseException) -> XetwayError:
    """Translate any failure of a handler to what the client is told about it."""
    if isinstance(error, XetwayError):
        return error
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _storage_full()
    # Only what comes from SQLite itself has a code; the low byte is the kind, the rest a detail.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    if code in _SQLITE_FULL:
        return _storage_full()
    if code & 0xFF in _SQLITE_BUSY:
        return RequestError("the server is busy, try again", code="busy", status=503, headers=(("retry-after", "1"),))
    return XetwayError("the server failed; its log has a line with this request's id")


def _storage_full() -> XetwayError:
    return XetwayError("the server has no space left, or may not use more", code="storage_full", status=507)


def describe(error: BaseException) -> str:
    """One line about an error: what and where, without local paths."""
    if isinstance(error, XetwayError):
        return f"{error.code}: {_one_line(error.message)}"
    # An OSError's text ends in a file name; its reason is all that may be logged.
    reason = error.strerror or "" if isinstance(error, OSError) else str(error)
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" at {Path(code.co_filename).name}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return f"{type(error).__name__}: {_one_line(reason)}{place}"


def log_path(request: Request) -> str:
    """The method and path for the log, without the query string, which may carry signatures."""
    path = request.raw_path.decode("ascii", "backslashreplace")
    return f"{request.method} {printable(path)}"


def printable(text: str) -> str:
    """What somebody else wrote, so that it breaks no line."""
    if not (text.isascii() and text.isprintable()):
        text = _UNPRINTABLE.sub("?", text)
    return text[:_MAX_LOGGED_CHARS]


def _one_line(text: str) -> str:
    return _LOCAL_PATH.sub("(path)", _UNPRINTABLE.sub(" ", text))[:_MAX_LOGGED_CHARS]
