"""The page about telemetry names everything that is told."""

from __future__ import annotations

import re

import telemetry_page
from toolchain import ROOT

from tests.unit.http_driver import request
from xetway.http.access import Line

PAGE = telemetry_page.PAGE.read_text(encoding="utf-8")
SOURCES = [path.read_text(encoding="utf-8") for path in (ROOT / "python" / "xetway").rglob("*.py")]


def test_the_table_of_metrics_is_as_they_are_defined() -> None:
    assert telemetry_page.page(PAGE) == PAGE, "run scripts/telemetry_page.py"


def test_every_other_metric_is_named() -> None:
    names = {name for text in SOURCES for name in re.findall(r'Sample\(\s*"(\w+)"', text)}
    assert {"xetway_info", "process_cpu_seconds_total", "xetway_mirror_offline"} <= names
    assert not [name for name in sorted(names) if f"`{name}`" not in PAGE]


def test_every_field_of_a_line_is_named() -> None:
    noted = {name for text in SOURCES for name in re.findall(r'notes\["(\w+)"\]', text)}
    assert {"model", "upstream", "cache", "trace_id"} <= noted
    fields = {*noted, *Line(request(), 200, 0, 0.0, " x").fields()}
    assert not [name for name in sorted(fields) if f"`{name}`" not in PAGE]
