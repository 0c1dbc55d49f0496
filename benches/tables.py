"""Results as Markdown tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from record import table

HEAD = ("work", "data", "at once", "side", "GB/s", "CPU s/GB", "xetway is", "with CPU")


def contests_text(contests: Iterable[Mapping[str, Any]]) -> str:
    """A row for each side: its speed, and how many times as fast as it xetway is, in wall and CPU time."""
    rows = []
    for contest in contests:
        calls = contest["unit"] == "calls"
        for name, side in contest["sides"].items():
            per_call = side["median_s"] / contest["amount"] * 1e6
            speed = f"{per_call:.2f} µs a call" if calls else contest["amount"] / 1e9 / side["median_s"]
            cost = "" if calls else side["median_cpu_s"] / (contest["amount"] / 1e9)
            ratios = ("", "") if name == "xetway" else tuple(f"{side[key]:.2f} x" for key in _RATIOS)
            rows.append([contest["work"], contest["corpus"], contest["threads"], name, speed, cost, *ratios])
    return (
        "Medians; the sides take turns, and ratios are medians of the ratios of pairs. "
        "The answers are compared before anything is timed.\n\n" + table(HEAD, rows)
    )


_RATIOS = ("times_as_fast", "times_the_cpu")


def kernels_text(kernels: Iterable[Mapping[str, Any]]) -> str:
    """A row for each side of each kernel."""
    rows = [[one["kernel"], one["corpus"], one["side"], one["gb_per_s"], f"{one['ratio']:.2f} x"] for one in kernels]
    return "One thread, medians; the last column is how many times as fast as that side xetway is.\n\n" + table(
        ("kernel", "data", "side", "GB/s", "xetway is"), rows
    )
