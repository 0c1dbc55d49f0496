"""The Rust kernels beside their peers, on the corpora of all benches: runs `cargo bench` and keeps the result."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from record import MIB, ROOT, circumstances, median, write
from tables import kernels_text

from xetway.bench.corpora import CORPORA, write_corpus
from xetway.bench.timing import median_ratio

CARGO = ("cargo", "bench", "--locked", "--quiet", "-p", "xetway-core", "--bench", "kernels", "--")
PEERS = ("gearhash", "blake3", "lz4", "lz4_flex")


def measure(corpora: Iterable[str], size_bytes: int, rounds: int, tree: Path = ROOT) -> list[dict[str, Any]]:
    """Run the bench of the checkout `tree`; each side gets its speed and how many times as fast as it ours is."""
    with tempfile.TemporaryDirectory(prefix="xetway-bench-") as folder:
        files = []
        for name in corpora:
            path = Path(folder, name)
            write_corpus(name, path, size_bytes)
            files.append(f"{name}={path}")
        command = [*CARGO, "--rounds", str(rounds), *files]
        answer = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    found = [json.loads(line) for line in answer.stdout.splitlines() if line.startswith("{")]
    ours = {(one["kernel"], one["corpus"]): one["seconds"] for one in found if one["side"] == "xetway"}
    for one in found:
        one["gb_per_s"] = one["bytes"] / 1e9 / median(one["seconds"])
        one["ratio"] = median_ratio(one["seconds"], ours[one["kernel"], one["corpus"]])
    return found


def versions() -> dict[str, str]:
    """What cargo and the peers are."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    packages = {package["name"]: package["version"] for package in json.loads(listed.stdout)["packages"]}
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    return {"rustc": rustc, **{name: packages[name] for name in PEERS}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mib", type=float, default=256, help="of each corpus (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each side (default: %(default)s)")
    parser.add_argument("--corpora", default=",".join(CORPORA), help="names with commas between them (default: all)")
    parser.add_argument("--results", type=Path, help="folder for the result (default: results/)")
    chosen = parser.parse_args()
    found = measure(chosen.corpora.split(","), int(chosen.size_mib * MIB), chosen.rounds)
    around = circumstances()
    around["versions"] |= versions()
    around["profile"] = {name: value for name, value in os.environ.items() if name.startswith("CARGO_PROFILE_")}
    write("kernels", "The kernels, beside their peers", around, {"kernels": found}, kernels_text(found), chosen.results)


if __name__ == "__main__":
    main()
