"""Two commits against each other: `python benches/compare.py BASE HEAD` builds both and tells how much faster HEAD is.

Both are checked out into a temporary folder and built there; what they share is compiled once, in target/compare.
The stages of `xetway bench` then run in turn, each time in a process of its own, on the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from record import MIB, ROOT, circumstances, median, table, write

from xetway.bench.corpora import CORPORA, write_corpus
from xetway.bench.timing import median_ratio

RUN = "import sys; from xetway.cli import run; sys.exit(run(sys.argv[1:]))"
SIDES = ("base", "head")
Key = tuple[str, str, int]


def git(*arguments: str) -> str:
    answer = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(answer.stderr.strip())
    return answer.stdout.strip()


@contextmanager
def checkout(revision: str, folder: Path) -> Iterator[Path]:
    """The files of a commit, with its core built beside them."""
    git("worktree", "add", "--detach", str(folder), revision)
    try:
        build(folder)
        yield folder
    finally:
        git("worktree", "remove", "--force", str(folder))


def build(tree: Path) -> None:
    target = ROOT / "target" / "compare"
    env = os.environ | {
        "CARGO_TARGET_DIR": str(target),
        "PYO3_PYTHON": sys.executable,
        "PYO3_BUILD_EXTENSION_MODULE": "1",
    }
    command = ["cargo", "build", "--release", "--locked", "--quiet", "-p", "xetway-py"]
    subprocess.run(command, cwd=tree, env=env, check=True)
    made = next(path for name in ("lib_native.so", "lib_native.dylib") if (path := target / "release" / name).is_file())
    shutil.copyfile(made, tree / "python" / "xetway" / "_native.abi3.so")


def measure(tree: Path, files: list[str], stages: str, threads: str | None) -> dict[Key, dict[str, float]]:
    """One round of every stage by the code in `tree`."""
    options = ["--rounds", "1", "--json", "--only", stages, *(["--threads", threads] if threads else [])]
    command = [sys.executable, "-c", RUN, "bench", *files, *options]
    env = os.environ | {"PYTHONPATH": str(tree / "python")}
    answer = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise SystemExit(f"xetway bench of {tree.name} failed:\n{answer.stdout}{answer.stderr}")
    results = json.loads(answer.stdout)["results"]
    return {(one["data"], one["stage"], one["threads"]): one["samples"][0] for one in results}


def compare(revisions: dict[str, str], files: list[str], chosen: argparse.Namespace, folder: Path) -> list[dict]:
    found: dict[str, list[dict[Key, dict[str, float]]]] = {side: [] for side in SIDES}
    with checkout(revisions["base"], folder / "base") as base, checkout(revisions["head"], folder / "head") as head:
        trees = {"base": base, "head": head}
        for number in range(chosen.rounds):
            for side in SIDES if number % 2 else reversed(SIDES):
                print(f"round {number + 1} of {chosen.rounds}: {side}", file=sys.stderr, flush=True)
                found[side].append(measure(trees[side], files, chosen.only, chosen.threads))
    return [stage(key, found) for key in found["head"][0] if key in found["base"][0]]


def stage(key: Key, found: dict[str, list[dict[Key, dict[str, float]]]]) -> dict[str, Any]:
    """A stage of both sides, with how many times as fast head is, and with how many times less CPU."""
    data, name, threads = key
    sides = {
        side: {of: [once[key][of] for once in rounds] for of in ("seconds", "cpu_seconds")}
        for side, rounds in found.items()
    }
    amount = found["head"][0][key]["bytes"]
    speeds = {f"{side}_gb_per_s": amount / 1e9 / median(values["seconds"]) for side, values in sides.items()}
    ratios = {
        name: median_ratio(sides["base"][of], sides["head"][of])
        for name, of in (("ratio", "seconds"), ("cpu_ratio", "cpu_seconds"))
    }
    return {"data": data, "stage": name, "threads": threads, "bytes": amount, **sides, **speeds, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("base", metavar="BASE", help="a commit, branch or tag")
    parser.add_argument("head", metavar="HEAD", help="another")
    parser.add_argument("--size-mib", type=float, default=256, help="of each corpus (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each (default: %(default)s)")
    parser.add_argument("--corpora", default="bf16", help=f"of {', '.join(CORPORA)} (default: %(default)s)")
    parser.add_argument("--only", default="all", help="stages, as in xetway bench (default: %(default)s)")
    parser.add_argument("--threads", help="as in xetway bench")
    parser.add_argument("--results", type=Path, help="folder for the result (default: results/)")
    chosen = parser.parse_args()
    revisions = {side: git("rev-parse", "--short=12", f"{getattr(chosen, side)}^{{commit}}") for side in SIDES}
    with tempfile.TemporaryDirectory(prefix="xetway-bench-") as name:
        folder = Path(name)
        files = []
        for corpus in chosen.corpora.split(","):
            write_corpus(corpus, folder / corpus, int(chosen.size_mib * MIB))
            files.append(str(folder / corpus))
        stages = compare(revisions, files, chosen, folder)
    keys = ("data", "stage", "threads", "base_gb_per_s", "head_gb_per_s", "ratio", "cpu_ratio")
    head = ("data", "stage", "threads", "base GB/s", "head GB/s", "head is faster", "for each CPU s")
    text = (
        f"base {revisions['base']}, head {revisions['head']}; {chosen.rounds} rounds in turn; medians, and medians of "
        f"the ratios of pairs.\n\n{table(head, [[one[key] for key in keys] for one in stages])}"
    )
    data = {"base": revisions["base"], "head": revisions["head"], "stages": stages}
    write("compare", "Two commits", circumstances(), data, text, chosen.results)


if __name__ == "__main__":
    main()
