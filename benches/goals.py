"""The goals for speed, measured: reads results/, prints each with its ratio, and writes results/goals.md.

Of work that was measured on a large file as well (large.json), that is what counts.

Where a goal is not met, results/bounds.json may say what bounds it, by the goal's name, with counters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from record import RESULTS, table

Data = Mapping[str, Any]


@dataclass(frozen=True)
class Goal:
    """`measured` finds the figure in the results; it must be at least, or for `most` at most, `wanted`."""

    name: str
    wanted: float
    unit: str
    measured: Callable[[Data, Data], float]
    most: bool = False

    def met(self, figure: float) -> bool:
        return figure <= self.wanted if self.most else figure >= self.wanted


def _side(codec: Data, work: str, corpus: str, peer: str) -> Data:
    for found in codec["contests"]:
        if (found["work"], found["corpus"]) == (work, corpus) and peer in found["sides"]:
            return found["sides"][peer]
    raise LookupError(work)


def _against(work: str, key: str = "times_as_fast", corpus: str = "random") -> Callable[[Data, Data], float]:
    return lambda codec, _: _side(codec, work, corpus, "hf_xet")[key]


def _both(codec: Data, large: Data) -> Data:
    """The results of a codec run, those on large files first."""
    return {"contests": [*large["contests"], *codec["contests"]]}


def _of_kernel(kernels: Data, kernel: str, corpus: str, side: str) -> Data:
    for found in kernels["kernels"]:
        if (found["kernel"], found["corpus"], found["side"]) == (kernel, corpus, side):
            return found
    raise LookupError(kernel)


def _kernel(kernel: str, corpus: str, peer: str) -> Callable[[Data, Data], float]:
    return lambda _, kernels: _of_kernel(kernels, kernel, corpus, peer)["ratio"]


def _slowest_regrouping(_: Data, kernels: Data) -> float:
    return min(_of_kernel(kernels, kernel, "bf16", "xetway")["gb_per_s"] for kernel in ("bg4_split", "bg4_merge"))


def _slowest_call_us(codec: Data, _: Data) -> float:
    calls = [found for found in codec["contests"] if found["unit"] == "calls"]
    if not calls:
        raise LookupError("calls")
    return max(found["sides"]["xetway"]["median_s"] / found["amount"] * 1e6 for found in calls)


GOALS = (
    Goal("gear scan, of gearhash's loop", 1.6, "x", _kernel("gear", "random", "gearhash")),
    Goal("chunk and hash a file, of hf_xet.hash_files", 3.0, "x", _against("hash")),
    Goal("the same for each second of CPU", 1.3, "x", _against("hash", "times_the_cpu")),
    Goal("publish, of hf_xet to local://", 2.5, "x", _against("publish", corpus="bf16")),
    Goal("reconstruct verified, of hf_xet from local://", 2.0, "x", _against("reconstruct", corpus="bf16")),
    Goal("decode LZ4, of liblz4", 1.0, "x", _kernel("lz4_decode", "text", "liblz4")),
    Goal("regroup BG4 in cache, the slower way", 10.0, "GB/s", _slowest_regrouping),
    Goal("a call with 64 bytes, the slowest", 2.0, "µs", _slowest_call_us, most=True),
)


def rows(codec: Data, large: Data, kernels: Data, bounds: Mapping[str, str]) -> list[list[str]]:
    """Each goal with its figure, whether it is met, and what bounds it if not."""
    found = []
    codec = _both(codec, large)
    for goal in GOALS:
        try:
            figure = goal.measured(codec, kernels)
        except LookupError:
            found.append([goal.name, _wanted(goal), "not measured", "", ""])
            continue
        met = goal.met(figure)
        bound = "" if met else bounds.get(goal.name, "")
        found.append([goal.name, _wanted(goal), f"{figure:.2f} {goal.unit}", "met" if met else "not met", bound])
    return found


def read(folder: Path) -> tuple[Data, Data, Data, Mapping[str, str]]:
    """The results of the codec, on large files too, and of the kernels; and what is said of goals that are not met."""
    codec, large, kernels = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in ("codec", "large", "kernels")
    )
    path = folder / "bounds.json"
    return codec, large, kernels, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _wanted(goal: Goal) -> str:
    return f"{'at most' if goal.most else 'at least'} {goal.wanted:g} {goal.unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default: results/)")
    folder = parser.parse_args().results

    text = page(*read(folder))
    (folder / "goals.md").write_text(text, encoding="utf-8")
    print(text)


def page(codec: Data, large: Data, kernels: Data, bounds: Mapping[str, str]) -> str:
    """results/goals.md: where and when it was measured, and each goal."""
    runs = [
        f"- {name}.json: {data['date']}, commit {data['commit']}, {data['cpu']}, `{data['command']}`"
        for name, data in (("codec", codec), ("large", large), ("kernels", kernels))
    ]
    return "\n".join(["# Goals", "", *runs, "", goals_table(codec, large, kernels, bounds)]) + "\n"


def goals_table(codec: Data, large: Data, kernels: Data, bounds: Mapping[str, str]) -> str:
    return table(("goal", "wanted", "measured", "", "bounded by"), rows(codec, large, kernels, bounds))


if __name__ == "__main__":
    main()
