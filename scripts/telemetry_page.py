"""Write the table of the gateway's metrics in docs/telemetry.md from where they are defined.

    python scripts/telemetry_page.py

A test sees to it that the page is as this writes it.
"""

from __future__ import annotations

from pathlib import Path

from settings_page import END, table
from toolchain import ROOT

from xetway.openai.metrics import METRICS

PAGE = ROOT / "docs" / "telemetry.md"
BEGIN = "<!-- metrics: written by scripts/telemetry_page.py -->\n"


def metrics() -> str:
    rows = [
        (f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.help)
        for metric in METRICS
    ]
    return table(("Metric", "Type", "Labels", "Meaning"), *rows)


def page(text: str) -> str:
    """The page with its table as it has to be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + metrics() + END + rest.partition(END)[2]


def main(path: Path = PAGE) -> None:
    path.write_text(page(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
