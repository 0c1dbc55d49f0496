"""The page at /metrics."""

from __future__ import annotations

import re

from tests.unit.http_driver import call
from xetway.http.metrics import Sample, counted, exposition, merged, routes


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


def test_numbers_of_several_workers() -> None:
    one = [
        Sample("asked_total", 1, "counter", labels=(("m", "a"),)),
        Sample("took_sum", 0.5, "histogram"),
        Sample("waiting", 2),
        Sample("began", 7, over_workers="min"),
        Sample("state", 1, over_workers="max"),
    ]
    other = [
        Sample("asked_total", 2, "counter", labels=(("m", "a"),)),
        Sample("asked_total", 4, "counter", labels=(("m", "b"),)),
        Sample("took_sum", 0.25, "histogram"),
        Sample("waiting", 3),
        Sample("began", 5, over_workers="min"),
        Sample("state", 2, over_workers="max"),
    ]
    together = merged([one, other])
    assert [(sample.name, sample.labels, sample.value) for sample in together] == [
        ("asked_total", (("m", "a"),), 3),
        ("took_sum", (), 0.75),
        ("waiting", (), 5),
        ("began", (), 5),
        ("state", (), 2),
        ("asked_total", (("m", "b"),), 4),
    ]
    assert [sample.name for sample in counted(together)] == ["asked_total", "took_sum", "asked_total"]


def test_what_makes_the_numbers_those_of_all_is_asked_for_the_page() -> None:
    def together(own):
        async def of_all() -> list[Sample]:
            return merged([own(), own()])

        return of_all

    got = call(routes(lambda: [Sample("mine_total", 3, "counter")], together=together), "GET", "/metrics")
    lines = got.body.decode().splitlines()
    assert "mine_total 6" in lines
    assert "xetway_workers 2" in lines
