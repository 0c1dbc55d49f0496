"""The benches' own parts: charts, tables, goals, and the turns that sides take."""

from __future__ import annotations

import json
import re
from xml.etree import ElementTree as ET

import goals
import plots
import pytest
import svg
from compare import stage
from contest import Contest, Side
from tables import contests_text, kernels_text

SVG = "{http://www.w3.org/2000/svg}"


class Once:
    """Stands for pytest-benchmark: runs what it is given as often as it is told."""

    group = ""

    def pedantic(self, target, *, setup, teardown, rounds, iterations):
        assert iterations == 1
        for _ in range(rounds):
            arguments, _ = setup()
            target(*arguments)
            teardown(*arguments)


def contest(work="hash", corpus="random", amount=10**9, seconds=(1.0, 2.0), unit="bytes", threads=1, peer="hf_xet"):
    sides = {
        name: {
            "seconds": [value],
            "cpu_seconds": [value],
            "median_s": value,
            "median_cpu_s": value,
            "times_as_fast": value / seconds[0],
            "times_the_cpu": value / seconds[0],
        }
        for name, value in zip(("xetway", peer), seconds, strict=True)
    }
    return {"work": work, "corpus": corpus, "threads": threads, "unit": unit, "amount": amount, "sides": sides}


def kernel(name, corpus, side, gb_per_s, ratio=1.0):
    return {"kernel": name, "corpus": corpus, "side": side, "gb_per_s": gb_per_s, "ratio": ratio}


CODEC = {
    "date": "2026-01-01 00:00 UTC", "commit": "abc", "cpu": "Chip <1>", "cores": 2, "system": "Linux",
    "versions": {"xetway": "0.1.0", "hf_xet": "1.8.0"}, "command": "python -m pytest",
    "contests": [
        contest(), contest("publish", "bf16", seconds=(4.0, 8.0)), contest("reconstruct", "bf16"),
        contest("hash at once", "bf16", threads=2), contest("hash at once", "bf16", threads=1),
        contest("decompress at once", "text", peer="lz4"),
        contest("chunk_hash", "64 bytes", 10_000, (0.01, 0.03), "calls", peer="blake3"),
    ],
}  # fmt: skip
KERNELS = {
    **CODEC,
    "kernels": [
        kernel("gear", "random", "xetway", 3.2), kernel("gear", "random", "gearhash", 1.6, 2.0),
        kernel("lz4_decode", "text", "xetway", 4.0), kernel("lz4_decode", "text", "liblz4", 5.0, 0.8),
        kernel("lz4_decode", "zeros", "xetway", 90.0),
        kernel("bg4_split", "bf16", "xetway", 12.0), kernel("bg4_merge", "bf16", "xetway", 9.0),
    ],
}  # fmt: skip


RESULTS = {"codec": CODEC, "large": {**CODEC, "contests": []}, "kernels": KERNELS}


def test_sides_take_turns_and_are_prepared_and_cleared_untimed():
    events = []

    def side(name):
        return Side(
            lambda made: events.append((name, "work", made)) or "answer",
            prepare=lambda: events.append((name, "prepare")) or name,
            clear=lambda made: events.append((name, "clear", made)),
        )

    held = Contest("hash", "random", 100)
    held.run(Once(), 2, {"xetway": side("xetway"), "peer": side("peer")}, lambda answer: answer.upper())

    def round_of(name):
        return [(name, "prepare"), (name, "work", name), (name, "clear", name)]

    assert events == [*round_of("xetway"), *round_of("peer"), *(round_of("peer") + round_of("xetway")) * 2]
    record = held.record()
    assert {name: len(found["seconds"]) for name, found in record["sides"].items()} == {"xetway": 2, "peer": 2}
    assert record["sides"]["xetway"]["times_as_fast"] == 1.0


def test_sides_that_differ_are_not_timed():
    held = Contest("hash", "random", 100)
    with pytest.raises(AssertionError, match="the answers differ"):
        held.run(Once(), 2, {"xetway": Side(lambda _: 1), "peer": Side(lambda _: 2)})
    assert not held.samples


def test_goals_are_met_or_not_and_say_what_bounds_them():
    rows = goals.rows(RESULTS, {"decode LZ4, of liblz4": "safe code"})
    found = {row[0]: row[1:] for row in rows}
    assert len(found) == len(goals.GOALS) == 8
    assert found["gear scan, of gearhash's loop"] == ["at least 1.6 x", "2.00 x", "met", ""]
    assert found["decode LZ4, of liblz4"] == ["at least 1 x", "0.80 x", "not met", "safe code"]
    assert found["publish, of hf_xet to local://"][2] == "not met"
    assert found["regroup BG4 in cache, the slower way"] == ["at least 10 GB/s", "9.00 GB/s", "not met", ""]
    assert found["a call with 64 bytes, the slowest"] == ["at most 2 µs", "1.00 µs", "met", ""]
    large = {"contests": [contest("publish", "bf16", seconds=(1.0, 8.0))]}
    publish = next(row for row in goals.rows({**RESULTS, "large": large}, {}) if row[0].startswith("publish"))
    assert publish[2:] == ["8.00 x", "met", ""]
    nothing = {"codec": {"contests": []}, "large": {"contests": []}, "kernels": {"kernels": []}}
    empty = goals.rows({**nothing, "gateway": {"figures": {}}}, {})
    assert len(empty) == len(goals.GOALS) + len(goals.GATEWAY_GOALS)
    assert {row[2] for row in empty} == {"not measured"}


def test_tables_tell_both_sides():
    text = contests_text(CODEC["contests"])
    assert "| hash | random | 1 | xetway | 1 | 1 |  |  |" in text
    assert "| hash | random | 1 | hf_xet | 0.5 | 2 | 2.00 x | 2.00 x |" in text
    assert "| chunk_hash | 64 bytes | 1 | xetway | 1.00 µs a call |" in text
    assert "| gear | random | gearhash | 1.6 | 2.00 x |" in kernels_text(KERNELS["kernels"])


@pytest.mark.parametrize(("highest", "wanted"), [
    (0, [0, 1]), (1, [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2]), (3.3, [0, 1, 2, 3, 4]), (5.0, [0, 1, 2, 3, 4, 5, 6]),
    (97, [0, 20, 40, 60, 80, 100]), (0.013, [0, 0.005, 0.01, 0.015]),
])  # fmt: skip
def test_ticks_are_round_and_reach_above_the_highest(highest, wanted):
    assert svg.ticks(highest) == pytest.approx(wanted)


def test_bars_are_as_high_as_their_values():
    panel = svg.Bars("Hash <files>", ["a", "b"], {"xetway": [1.0, 2.0], "peer & co": [0.5, None]}, x_label="data")
    drawn = ET.fromstring(svg.page("All & everything", [panel], "Machine <1>, today"))
    bars = [rect for rect in drawn.iter(f"{SVG}rect") if float(rect.get("y")) > 70]
    heights = {rect.get("x"): float(rect.get("height")) for rect in bars}
    one, half, two = (heights[at] for at in sorted(heights, key=float))
    assert (half, two) == pytest.approx((one / 2, one * 2), abs=0.2)
    words = {text.text for text in drawn.iter(f"{SVG}text")}
    assert {"Hash <files>", "a", "b", "xetway", "peer & co", "GB/s", "data", "2.00", "Machine <1>, today"} <= words


def test_lines_go_through_their_points_and_figures_do_not_cover_each_other():
    panel = svg.Lines("Threads", {"xetway": [(1, 1.0), (2, 2.0)], "peer": [(1, 1.1), (4, 1.0)]}, "threads")
    drawn = ET.fromstring(svg.page("Threads", [panel], "caption"))
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in drawn.iter(f"{SVG}circle")]
    paths = [line.get("points") for line in drawn.iter(f"{SVG}polyline")]
    assert " ".join(paths).split() == [f"{x:.1f},{y:.1f}" for x, y in dots]
    assert dots[0][0] == dots[2][0] < dots[1][0] < dots[3][0]
    assert dots[1][1] < dots[2][1] < dots[0][1]
    heights = {text.text: float(text.get("y")) for text in drawn.iter(f"{SVG}text") if text.get("class") == "value"}
    assert heights["1.10"] < dots[2][1]


def test_figures_follow_light_and_dark_and_every_number_is_of_the_results():
    found = plots.figures(RESULTS)
    assert sorted(found) == ["kernels.svg", "throughput-by-corpus.svg", "throughput-by-threads.svg"]
    for text in found.values():
        drawn = ET.fromstring(text)
        assert "prefers-color-scheme: dark" in text
        words = " ".join(each.text or "" for each in drawn.iter(f"{SVG}text"))
        assert "Chip <1>" in words
        assert "2026-01-01 00:00 UTC" in words
    page = plots.document(RESULTS, {})
    assert all(f"({name})" in page for name in found)
    assert "| gear scan, of gearhash's loop | at least 1.6 x | 2.00 x | met |" in page
    shown = set(re.findall(r'class="value">([\d.]+)<', found["throughput-by-corpus.svg"]))
    assert shown == {"1.00", "0.50", "0.25", "0.12"}


def test_comparison_is_of_pairs_of_runs():
    key = ("bf16", "hash", 1)

    def rounds(*seconds):
        return [{key: {"bytes": 10**9, "seconds": value, "cpu_seconds": 2 * value}} for value in seconds]

    found = stage(key, {"base": rounds(2.0, 30.0, 4.0), "head": rounds(1.0, 10.0, 2.0)})
    assert (found["ratio"], found["cpu_ratio"]) == (2.0, 2.0)
    assert (found["base_gb_per_s"], found["head_gb_per_s"]) == (0.25, 0.5)
    assert json.loads(json.dumps(found)) == {**found, "data": "bf16"}
