"""The figures of docs/benchmarks.md, and the page itself, from the files in results/."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from gateway import summary
from goals import Data, Results, goals_table, read
from record import RESULTS, ROOT
from svg import Bars, Lines, page

DOCS = ROOT / "docs"


def _speed(contest: Data, side: str) -> float | None:
    found = contest["sides"].get(side)
    return None if found is None else contest["amount"] / 1e9 / found["median_s"]


def by_corpus(codec: Data, work: str, title: str, sides: Sequence[str]) -> Bars:
    found = [contest for contest in codec["contests"] if contest["work"] == work]
    series = {side: [_speed(contest, side) for contest in found] for side in sides}
    return Bars(title, [contest["corpus"] for contest in found], series, x_label="data")


def kernels_by_corpus(kernels: Data, kernel: str, title: str, peer: str) -> Bars:
    left_out = {"zeros"} if kernel.startswith("lz4") else set()  # so quick that nothing else would be seen
    found = [one for one in kernels["kernels"] if one["kernel"] == kernel and one["corpus"] not in left_out]
    corpora = list(dict.fromkeys(one["corpus"] for one in found))
    speeds = {(one["corpus"], one["side"]): one["gb_per_s"] for one in found}
    series = {side: [speeds.get((corpus, side)) for corpus in corpora] for side in ("xetway", peer)}
    return Bars(title, corpora, series, x_label="data")


def by_threads(codec: Data, work: str, title: str, sides: Sequence[str], x_label: str) -> Lines:
    found = sorted((one for one in codec["contests"] if one["work"] == work), key=lambda one: one["threads"])
    series = {
        side: [(one["threads"], speed) for one in found if (speed := _speed(one, side)) is not None] for side in sides
    }
    return Lines(title, series, x_label)


def caption(data: Data) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in data["versions"].items())
    return (
        f"{data['date']}, commit {data['commit']}, {data['cpu']}, {data['cores']} cores, {data['system']}; {versions}. "
        f"Medians of runs that take turns{'' if 'kinds' in data else '; GB are 10^9 bytes'}. {data['command']}"
    )


def figures(results: Results) -> dict[str, str]:
    """The SVG files by name."""
    codec, kernels = results["codec"], results["kernels"]
    two = ("xetway", "hf_xet")
    corpus = [
        by_corpus(codec, "hash", "Chunk and hash a file", two),
        by_corpus(codec, "publish", "Publish a file to a local store, durably (hf_xet: local://)", two),
        by_corpus(codec, "reconstruct", "Reconstruct a file, every chunk verified (hf_xet: not verified)", two),
    ]
    threads = [
        by_threads(codec, "hash at once", "Chunk and hash files of bf16 weights", two, "files at the same time"),
        by_threads(codec, "decompress at once", "Decompress LZ4 in threads", ("xetway", "lz4"), "threads"),
    ]
    inner = [
        kernels_by_corpus(kernels, "gear", "Search of boundaries", "gearhash"),
        kernels_by_corpus(kernels, "lz4_encode", "LZ4, compress", "liblz4"),
        kernels_by_corpus(kernels, "lz4_decode", "LZ4, decompress", "liblz4"),
        kernels_by_corpus(kernels, "bg4_merge", "Byte groups, merge", "memcpy"),
    ]
    found = {
        "throughput-by-corpus.svg": page("Throughput by kind of data", corpus, caption(codec)),
        "throughput-by-threads.svg": page("Throughput by threads", threads, caption(codec)),
        "kernels.svg": page("Kernels on one thread", inner, caption(kernels)),
    }
    if "gateway" in results:
        found["gateway.svg"] = summary.chart(results["gateway"], caption(results["gateway"]))
    return found


def gateway(results: Results) -> str:
    """What the page says of the gateway, once it was measured."""
    if "gateway" not in results:
        return ""
    return f"""
## The gateway

{caption(results["gateway"])} All tables are in `benches/results/gateway.md`.

![The gateway and its peers](gateway.svg)
"""


def document(results: Results, bounds: Mapping[str, str]) -> str:
    """docs/benchmarks.md: every number in it is of the results."""
    return f"""# Benchmarks

Measured beside the peers in one run: the sides take turns, their answers are compared before they are timed, and every
figure below is made by `benches/plots.py` from the JSON files in `benches/results/`.

{caption(results["codec"])}

![Throughput by kind of data](throughput-by-corpus.svg)

![Throughput by threads](throughput-by-threads.svg)

![Kernels on one thread](kernels.svg)
{gateway(results)}
## Goals

{goals_table(results, bounds)}

## Do it again

```sh
make bench                                  # everything, and this page; takes a while
xetway bench                                # on your machine and your files, without peers
```

Each bench runs alone as well, with `--size-mib` and `--rounds`:

```sh
.venv/bin/python -m pytest benches/bench_codec.py
.venv/bin/python benches/bench_kernels.py
.venv/bin/python benches/bench_gateway.py   # without --size-mib; makes environments for its peers first
.venv/bin/python benches/goals.py
.venv/bin/python benches/plots.py
.venv/bin/python benches/compare.py main HEAD
```

`benches/compare.py` builds two commits and tells how many times as fast the second is.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the results (default: results/)")
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder to write to (default: docs/)")
    chosen = parser.parse_args()
    results, bounds = read(chosen.results)
    chosen.docs.mkdir(exist_ok=True)
    for name, text in {**figures(results), "benchmarks.md": document(results, bounds)}.items():
        (chosen.docs / name).write_text(text, encoding="utf-8")
        print(chosen.docs / name)


if __name__ == "__main__":
    main()
