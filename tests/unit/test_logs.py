"""Records as lines of JSON."""

from __future__ import annotations

import json
import logging
from typing import Any

from tests.unit.http_driver import request
from xetway.http.access import Line
from xetway.logs import JsonLines

CHAT = "/v1/chat/completions"


def line_of(message: object, *args: object, traces: bool = False, exc_info: Any = None) -> dict[str, Any]:
    record = logging.LogRecord("xetway", logging.WARNING, __file__, 1, message, args, exc_info)  # type: ignore[arg-type]
    record.created = 1_700_000_000.1239
    line = JsonLines(traces=traces).format(record)
    assert "\n" not in line
    assert line.isascii()
    found: dict[str, Any] = json.loads(line)
    return found


def test_a_record_is_an_object() -> None:
    assert line_of("%d of %s", 1, "two") == {
        "timestamp": "2023-11-14T22:13:20.123Z",
        "level": "warning",
        "logger": "xetway",
        "message": "1 of two",
    }


def test_nothing_breaks_a_line() -> None:
    text = 'a\nb\r"c"\x00\x1b[31m\u2028\ud800'
    assert line_of("%s", text)["message"] == text


def test_an_exception_is_one_line_and_its_traceback_only_if_asked_for() -> None:
    error = ValueError("a\nb")
    found = (ValueError, error, None)
    line = line_of("failed", exc_info=found)
    assert line["exception"] == "ValueError: a b"
    assert "traceback" not in line
    assert line_of("failed", exc_info=found, traces=True)["traceback"] == "ValueError: a\nb"


def test_a_request_is_told_in_fields() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = [("x-request-id", "abc"), ("traceparent", f"00-{trace}-b7ad6b7169203331-01")]
    asked = request("POST", CHAT + "?key=secret", headers)
    asked.notes.update({"model": "m", "key": "0123", "upstream": "127.0.0.1:1", "prompt_tokens": 3})
    line = line_of(Line(asked, 200, 12, 3.14159, " client left"))
    del line["timestamp"], line["level"], line["logger"]
    assert line == {
        "message": f"POST {CHAT} 200",
        "request_id": "abc",
        "method": "POST",
        "path": CHAT,
        "status": 200,
        "bytes": 12,
        "duration_ms": 3.142,
        "client": "127.0.0.1",
        "trace_id": trace,
        "note": "client left",
        "model": "m",
        "key": "0123",
        "upstream": "127.0.0.1:1",
        "prompt_tokens": 3,
    }


def test_a_request_is_told_in_words() -> None:
    asked = request("POST", CHAT, [("x-request-id", "abc")])
    asked.notes["model"] = "m\nn"
    assert str(Line(asked, 200, 12, 3.14, " note")) == (f"POST {CHAT} 200 12 B 3.1 ms 127.0.0.1 id=abc model=m?n note")


def test_a_traceparent_that_is_none_is_left_out() -> None:
    for wrong in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", "x\ny", "00-1-2-01"):
        assert "trace_id" not in Line(request(headers=[("traceparent", wrong)]), 200, 0, 0, "").fields()


def test_a_line_that_is_not_written_costs_no_text() -> None:
    class Never:
        summary = property(lambda _self: 1 / 0)
        fields = __str__ = lambda _self: 1 / 0

    logger = logging.getLogger("xetway.test_logs")
    logger.setLevel(logging.ERROR)
    logger.info(Never())
