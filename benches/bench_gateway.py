"""The gateway beside vllm-router, sglang-router, LiteLLM and nginx: requests, events, latency added, memory.

One core for the server, one for the load and an upstream that answers at once. All sides run at the same time and
are asked in turn, after their answers were compared. Linux; cargo builds the load (rust/load).
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any

from gateway import rounds, summary
from gateway.machine import LOAD_CPUS, ROOMY, SERVER_CPUS, allow_files
from gateway.running import Load, Server, StartError, Upstream, built
from gateway.sides import all_sides, versions
from record import circumstances, write


def measure(root: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    allow_files()
    sides = all_sides(chosen.sides.split(",") if chosen.sides else None)
    program = built()
    with contextlib.ExitStack() as stack:
        upstream, direct = Upstream(program), Upstream(program, SERVER_CPUS)
        stack.callback(upstream.close)
        stack.callback(direct.close)
        load = Load(program, upstream, chosen.most_foreign, chosen.tries)
        weights: dict[str, list[dict[str, float]]] = {}
        for number in range(chosen.starts):
            for name, side in sides.items():
                if number == 0 or name != "litellm":
                    found = rounds.weigh(side, load, upstream, root / "weighed", chosen.seconds, chosen.connections)
                    weights.setdefault(name, []).append(found)
        for name, of in weights.items():
            print(f"  {name:<15}", {key: round(summary.middle(of, key), 2) for key in of[0]}, flush=True)
        try:
            pair = rounds.workers(load, upstream, root / "pair", chosen.rounds, chosen.seconds)
        except StartError as error:
            print(f"  two workers are not measured: {error}", flush=True)
            pair = None
        running = {name: stack.enter_context(Server(side, upstream.port, root / name)) for name, side in sides.items()}
        answers = {name: server.answer() for name, server in running.items() if not sides[name].floor}
        said = {name: answer["choices"][0]["message"]["content"] for name, answer in answers.items()}
        assert len(set(said.values())) == 1, said
        targets = {"direct": (direct.port, direct.pids())}
        targets |= {name: (server.port, server.pids()) for name, server in running.items()}
        kinds = rounds.in_turn(load, targets, chosen.rounds, chosen.seconds)
    return {
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
        "most_foreign": chosen.most_foreign,
        "roomy": ROOMY,
        "idle_connections": chosen.connections,
        "server_cpus": sorted(SERVER_CPUS),
        "load_cpus": sorted(LOAD_CPUS),
        "figures": summary.figures(kinds, weights, pair),
        "kinds": kinds,
        "weights": weights,
        "workers": pair,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each load on each side (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each run (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="starts of each side (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=2000, help="idle ones (default: %(default)s)")
    parser.add_argument("--sides", help="names of the sides, with commas (default: all)")
    parser.add_argument("--most-foreign", type=float, default=0.1, help="cores others may take (default: %(default)s)")
    parser.add_argument("--tries", type=int, default=2, help="of a run while others take more (default: %(default)s)")
    parser.add_argument("--results", type=Path, help="folder for the result (default: results/)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="xetway-bench-") as root:
        data = measure(Path(root), chosen)
    around = circumstances("granian")
    around["versions"] |= versions()
    write("gateway", "The gateway, beside its peers", around, data, summary.text(data), chosen.results)


if __name__ == "__main__":
    main()
