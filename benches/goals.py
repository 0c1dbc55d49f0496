"""The goals for speed, measured: reads results/, prints each with its ratio, and writes results/goals.md.

Of work that was measured on a large file as well (large.json), that is what counts. Goals of the gateway are those of
gateway.json, and told once there is one.

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
Results = Mapping[str, Data]


@dataclass(frozen=True)
class Goal:
    """`measured` finds the figure in results, by name; it must be at least, or for `most` at most, `wanted`."""

    name: str
    wanted: float
    unit: str
    measured: Callable[[Results], float]
    most: bool = False

    def met(self, figure: float) -> bool:
        return figure <= self.wanted if self.most else figure >= self.wanted


def _side(codec: Data, work: str, corpus: str, peer: str) -> Data:
    for found in codec["contests"]:
        if (found["work"], found["corpus"]) == (work, corpus) and peer in found["sides"]:
            return found["sides"][peer]
    raise LookupError(work)


def _against(work: str, key: str = "times_as_fast", corpus: str = "random") -> Callable[[Results], float]:
    return lambda results: _side(_both(results), work, corpus, "hf_xet")[key]


def _both(results: Results) -> Data:
    """The results of a codec run, those on large files first."""
    return {"contests": [*results["large"]["contests"], *results["codec"]["contests"]]}


def _of_kernel(results: Results, kernel: str, corpus: str, side: str) -> Data:
    for found in results["kernels"]["kernels"]:
        if (found["kernel"], found["corpus"], found["side"]) == (kernel, corpus, side):
            return found
    raise LookupError(kernel)


def _kernel(kernel: str, corpus: str, peer: str) -> Callable[[Results], float]:
    return lambda results: _of_kernel(results, kernel, corpus, peer)["ratio"]


def _slowest_regrouping(results: Results) -> float:
    return min(_of_kernel(results, kernel, "bf16", "xetway")["gb_per_s"] for kernel in ("bg4_split", "bg4_merge"))


def _slowest_call_us(results: Results) -> float:
    calls = [found for found in results["codec"]["contests"] if found["unit"] == "calls"]
    if not calls:
        raise LookupError("calls")
    return max(found["sides"]["xetway"]["median_s"] / found["amount"] * 1e6 for found in calls)


def _gateway(figure: str) -> Callable[[Results], float]:
    return lambda results: results["gateway"]["figures"][figure]


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
GATEWAY_GOALS = (
    Goal("gateway: requests a second, of the better router", 1.1, "x", _gateway("times_best_router")),
    Goal("gateway: requests a second, of LiteLLM", 100.0, "x", _gateway("times_litellm")),
    Goal("gateway: p95 added at 1,000 requests a second", 1.0, "ms", _gateway("added_p95_ms"), most=True),
    Goal("gateway: p99 added to 2,500 events a second", 0.3, "ms", _gateway("added_event_p99_ms"), most=True),
    Goal("gateway: events a second, of vllm-router", 1.0, "x", _gateway("events_times_vllm-router")),
    Goal("gateway: memory for four streams nobody reads", 16.0, "MiB", _gateway("unread_mib"), most=True),
    Goal("gateway: memory at start and under load", 80.0, "MiB", _gateway("rss_mib"), most=True),
    Goal("gateway: memory for an idle connection", 10.0, "KiB", _gateway("idle_kib"), most=True),
    Goal("gateway: first /health after start", 0.5, "s", _gateway("start_s"), most=True),
    Goal("gateway: two workers, of one", 1.7, "x", _gateway("two_workers")),
)


def rows(results: Results, bounds: Mapping[str, str]) -> list[list[str]]:
    """Each goal with its figure, whether it is met, and what bounds it if not."""
    found = []
    for goal in GOALS + (GATEWAY_GOALS if "gateway" in results else ()):
        try:
            figure = goal.measured(results)
        except LookupError:
            found.append([goal.name, _wanted(goal), "not measured", "", ""])
            continue
        met = goal.met(figure)
        bound = "" if met else bounds.get(goal.name, "")
        found.append([goal.name, _wanted(goal), f"{figure:.2f} {goal.unit}", "met" if met else "not met", bound])
    return found


def read(folder: Path) -> tuple[Results, Mapping[str, str]]:
    """The results by name, that of the gateway if it is there; and what is said of goals that are not met."""
    names = ["codec", "large", "kernels", *(["gateway"] if (folder / "gateway.json").is_file() else [])]
    results = {name: json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    path = folder / "bounds.json"
    return results, json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _wanted(goal: Goal) -> str:
    return f"{'at most' if goal.most else 'at least'} {goal.wanted:g} {goal.unit}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default: results/)")
    folder = parser.parse_args().results

    text = page(*read(folder))
    (folder / "goals.md").write_text(text, encoding="utf-8")
    print(text)


def page(results: Results, bounds: Mapping[str, str]) -> str:
    """results/goals.md: where and when it was measured, and each goal."""
    runs = [
        f"- {name}.json: {data['date']}, commit {data['commit']}, {data['cpu']}, `{data['command']}`"
        for name, data in results.items()
    ]
    return "\n".join(["# Goals", "", *runs, "", goals_table(results, bounds)]) + "\n"


def goals_table(results: Results, bounds: Mapping[str, str]) -> str:
    return table(("goal", "wanted", "measured", "", "bounded by"), rows(results, bounds))


if __name__ == "__main__":
    main()
