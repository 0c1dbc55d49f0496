"""Charts as SVG: grouped bars and lines, readable on light and dark pages. No dependencies."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH = 860
LEFT, RIGHT = 76, 24
PLOT_HEIGHT = 190
TITLE_HEIGHT, AXIS_HEIGHT, GAP = 34, 50, 10
STYLE = """
  svg { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-size: 13px; }
  .page { fill: #ffffff; stroke: #d0d7de; }
  text { fill: #1f2328; }
  .quiet { fill: #59636e; font-size: 12px; }
  .value { font-size: 10.5px; }
  .title { font-size: 17px; font-weight: 600; }
  .panel { font-weight: 600; }
  .grid { stroke: #d1d9e0; }
  .axis { stroke: #59636e; }
  .s0 { fill: #0969da; stroke: #0969da; }
  .s1 { fill: #bc4c00; stroke: #bc4c00; }
  .s2 { fill: #1a7f37; stroke: #1a7f37; }
  .s3 { fill: #8250df; stroke: #8250df; }
  .line { fill: none; stroke-width: 2.5; }
  .bar { stroke: none; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117; stroke: #3d444d; }
    text { fill: #f0f6fc; }
    .quiet { fill: #9198a1; }
    .grid { stroke: #2a313c; }
    .axis { stroke: #9198a1; }
    .s0 { fill: #58a6ff; stroke: #58a6ff; }
    .s1 { fill: #f0883e; stroke: #f0883e; }
    .s2 { fill: #56d364; stroke: #56d364; }
    .s3 { fill: #bc8cff; stroke: #bc8cff; }
    .line { fill: none; }
    .bar { stroke: none; }
  }
"""


@dataclass(frozen=True)
class Bars:
    """For each of `groups` one bar of each series; None where there is none."""

    title: str
    groups: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    y_label: str = "GB/s"
    x_label: str = ""

    def top(self) -> float:
        return max((value for values in self.series.values() for value in values if value is not None), default=0)

    def draw(self, frame: Frame, styles: Mapping[str, str]) -> list[str]:
        slot = frame.width / max(1, len(self.groups))
        bar = min(46.0, slot * 0.8 / max(1, len(self.series)))
        drawn = []
        for group, name in enumerate(self.groups):
            middle = frame.left + slot * (group + 0.5)
            drawn.append(_text(middle, frame.bottom + 18, name, "middle"))
            for number, (side, values) in enumerate(self.series.items()):
                value = values[group]
                if value is None:
                    continue
                left = middle + bar * (number - len(self.series) / 2)
                y = frame.y(value)
                drawn.append(
                    f'<rect class="bar {styles[side]}" x="{left + 1:.1f}" y="{y:.1f}" width="{bar - 2:.1f}" '
                    f'height="{frame.bottom - y:.1f}"/>'
                )
                drawn.append(_text(left + bar / 2, y - 4, number_text(value), "middle", "value"))
        return drawn


@dataclass(frozen=True)
class Lines:
    """Each series is points (x, y); every x gets a tick at an even distance."""

    title: str
    series: Mapping[str, Sequence[tuple[int, float]]]
    x_label: str
    y_label: str = "GB/s"

    def top(self) -> float:
        return max((y for points in self.series.values() for _, y in points), default=0)

    def draw(self, frame: Frame, styles: Mapping[str, str]) -> list[str]:
        ticks = sorted({x for points in self.series.values() for x, _ in points})
        slot = frame.width / max(1, len(ticks))
        at = {x: frame.left + slot * (number + 0.5) for number, x in enumerate(ticks)}
        drawn = [_text(at[x], frame.bottom + 18, str(x), "middle") for x in ticks]
        for side, points in self.series.items():
            path = " ".join(f"{at[x]:.1f},{frame.y(y):.1f}" for x, y in points)
            drawn.append(f'<polyline class="{styles[side]} line" points="{path}"/>')
            drawn += [
                f'<circle class="{styles[side]}" cx="{at[x]:.1f}" cy="{frame.y(y):.1f}" r="4"/>' for x, y in points
            ]
            drawn += [
                _text(at[x], frame.y(y) + (-9 if self._is_highest(x, y) else 18), number_text(y), "middle", "value")
                for x, y in points
            ]
        return drawn

    def _is_highest(self, x: int, y: float) -> bool:
        """Its figure goes above the point; those of the others below theirs."""
        return all(other <= y for points in self.series.values() for place, other in points if place == x)


@dataclass(frozen=True)
class Frame:
    """Where a chart goes, and how high its values reach."""

    left: float
    width: float
    top: float
    bottom: float
    highest: float

    def y(self, value: float) -> float:
        return self.bottom - (self.bottom - self.top) * value / self.highest


def number_text(value: float) -> str:
    """Two or three digits that say something."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def ticks(highest: float) -> list[float]:
    """Round values from 0 to above `highest`: four to seven of them."""
    if highest <= 0:
        return [0.0, 1.0]
    step = 10.0 ** math.floor(math.log10(highest / 4))
    step = next(step * times for times in (1, 2, 5, 10) if highest / (step * times) <= 6)
    return [number * step for number in range(math.floor(highest / step * 1.0001) + 2)]


def page(title: str, panels: Sequence[Bars | Lines], caption: str) -> str:
    """One SVG: the title, a legend, the panels one below the other, the caption."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    styles = {name: f"s{number}" for number, name in enumerate(names)}
    notes = textwrap.wrap(caption, 124, break_on_hyphens=False)
    drawn, top = [_text(24, 34, title, cls="title")], 48.0
    x = 24.0
    for name in names:
        drawn.append(f'<rect class="bar {styles[name]}" x="{x:.0f}" y="{top:.0f}" width="12" height="12" rx="2"/>')
        drawn.append(_text(x + 18, top + 11, name))
        x += 38 + 7.5 * len(name)
    top += 18
    for panel in panels:
        drawn += _panel(panel, top, styles)
        top += TITLE_HEIGHT + PLOT_HEIGHT + AXIS_HEIGHT + GAP
    drawn += [_text(24, top + 14 + 17 * number, line, cls="quiet") for number, line in enumerate(notes)]
    height = top + 17 * len(notes) + 22
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" role="img">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n'
        f'<rect class="page" x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"/>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def _panel(panel: Bars | Lines, top: float, styles: Mapping[str, str]) -> list[str]:
    marks = ticks(panel.top())
    bottom = top + TITLE_HEIGHT + PLOT_HEIGHT
    frame = Frame(LEFT, WIDTH - LEFT - RIGHT, top + TITLE_HEIGHT, bottom, marks[-1])
    drawn = [_text(24, top + 20, panel.title, cls="panel")]
    for mark in marks:
        y, cls = frame.y(mark), "grid" if mark else "axis"
        drawn.append(f'<line class="{cls}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(LEFT - 8, y + 4, f"{mark:g}", "end", "quiet"))
    middle = (frame.top + frame.bottom) / 2
    drawn.append(
        f'<text class="quiet" text-anchor="middle" transform="translate(30 {middle:.0f}) rotate(-90)">'
        f"{escape(panel.y_label)}</text>"
    )
    drawn.append(_text(LEFT + frame.width / 2, bottom + 38, panel.x_label, "middle", "quiet"))
    return drawn + panel.draw(frame, styles)


def _text(x: float, y: float, text: str, anchor: str = "start", cls: str = "") -> str:
    style = f' class="{cls}"' if cls else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(text)}</text>'
