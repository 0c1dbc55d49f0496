"""The page at /metrics."""

from __future__ import annotations

import re

from tests.unit.http_driver import call
from xetway.http.metrics import Sample, exposition, routes


def test_the_page_is_prometheus_text() -> None:
    got = call(routes(lambda: [Sample("mine_total", 3, "counter", "What I count.")]), "GET", "/metrics")
    lines = got.body.decode().splitlines()
    assert got.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "# HELP mine_total What I count." in lines
    assert "# TYPE mine_total counter" in lines
    assert "mine_total 3" in lines
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)
    line = re.compile(
        r'# (HELP|TYPE) [a-zA-Z_:][\w:]* .+|[a-zA-Z_:][\w:]*(\{[a-zA-Z_]\w*="[^"]*"(,[^}]*)?\})? [-\d.e+]+'
    )
    assert all(line.fullmatch(text) for text in lines), lines


def test_labels_are_escaped_and_names_are_grouped() -> None:
    samples = [
        Sample("a", 1, labels=(("l", 'x"\\\n'),)),
        Sample("b", 0.5),
        Sample("a", 2),
    ]
    assert exposition(samples) == '# TYPE a gauge\na{l="x\\"\\\\\\n"} 1\na 2\n# TYPE b gauge\nb 0.5\n'
