"""The sides in turn, at each kind of load; and what a server weighs that has just been started."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from record import median

from gateway.machine import CPUS, memory_kib, peak_kib
from gateway.running import Load, Server, Upstream
from gateway.sides import Side, xetway
from gateway.summary import Runs

UNREAD = 4
# Of each such stream: about 800 MB.
UNREAD_EVENTS = 4_000_000
UNREAD_S = 2.0
# What each kind of load is called, the load, and who cannot take part: LiteLLM answers a hundred questions a second,
# sglang-router's streams stand still for 40 ms at a time, and Granian alone has no upstream.
KINDS: Mapping[str, tuple[tuple[str, ...], frozenset[str]]] = {
    "saturated": (("requests", "--connections", "64"), frozenset()),
    "alone": (("requests", "--connections", "1"), frozenset()),
    "steady": (("requests", "--connections", "64", "--rate", "1000"), frozenset({"litellm"})),
    "paced": (
        ("streams", "--connections", "50", "--every-us", "20000", "--warmup", "1.2"),
        frozenset({"litellm", "granian alone"}),
    ),
    "flowing": (("streams", "--connections", "50"), frozenset({"granian alone"})),
}
Target = tuple[int, list[int]]


def in_turn(load: Load, targets: Mapping[str, Target], rounds: int, seconds: float) -> dict[str, Runs]:
    """Every kind of load on every side, `rounds` times; each round begins with another side."""
    found: dict[str, Runs] = {}
    for kind, (arguments, left_out) in KINDS.items():
        names = [name for name in targets if name not in left_out]
        runs: Runs = {name: [] for name in names}
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                runs[name].append(load.run(*targets[name], *arguments, "--seconds", str(seconds)))
        found[kind] = runs
        for name in names:
            print(f"  {kind:<10}{name:<15}{shown(runs[name])}", flush=True)
    return found


def shown(runs: Iterable[Mapping[str, Any]]) -> str:
    runs = list(runs)
    keys = (
        "per_s",
        "events_per_s",
        "latency_p50_ms",
        "latency_p95_ms",
        "event_p99_ms",
        "server_cpu_us",
        "foreign_cores",
    )
    figures = [f"{key} {median(run[key] for run in runs):.4g}" for key in keys if key in runs[0]]
    errors = sum(run["errors"] for run in runs)
    return "  ".join([*figures, f"errors {errors}"])


def weigh(side: Side, load: Load, upstream: Upstream, folder: Path, seconds: float, idle: int) -> dict[str, float]:
    """Start a server: how long that takes, its memory then, under load, for idle connections and for slow readers."""
    with Server(side, upstream.port, folder) as server:
        found = {"start_s": server.start_s, "rss_start_mib": server.rss_mib()}
        if side.name == "litellm":
            load.run(server.port, server.pids(), "requests", "--connections", "8", "--seconds", str(seconds))
            return found | {"rss_load_mib": server.rss_mib()}
        load.run(server.port, server.pids(), "requests", "--connections", "64", "--seconds", str(seconds))
        found["rss_load_mib"] = server.rss_mib()
        before = memory_kib(server.pids(), "Pss")
        held = load.hold(server.port, "idle", "--connections", str(idle))
        found["idle_kib"] = (memory_kib(server.pids(), "Pss") - before) / idle
        said, _ = held.communicate()
        assert f'"open": {idle}' in said, (side.name, said)
        if not side.floor:
            found["unread_mib"] = unread(server, load)
        found["rss_peak_mib"] = peak_kib(server.pids()) / 1024
    return found


def unread(server: Server, load: Load) -> float:
    """Memory that the server takes for clients of long, fast streams who read nothing."""
    before = most = server.rss_mib()
    held = load.hold(server.port, "unread", "--connections", str(UNREAD), "--events", str(UNREAD_EVENTS))
    until = time.monotonic() + UNREAD_S
    while time.monotonic() < until:
        most = max(most, server.rss_mib())
        time.sleep(0.05)
    held.communicate()
    return most - before


def workers(load: Load, upstream: Upstream, folder: Path, rounds: int, seconds: float) -> Runs:
    """One and two processes of ours, in turn. With fewer than four cores the load runs on one of theirs."""
    cpus = set(CPUS[:2])
    with (
        Server(xetway("one"), upstream.port, folder / "one", cpus) as one,
        Server(xetway("two", workers=2), upstream.port, folder / "two", cpus) as two,
    ):
        runs: Runs = {"1": [], "2": []}
        for number in range(rounds):
            for name, server in (("1", one), ("2", two))[:: 1 if number % 2 else -1]:
                arguments = ("requests", "--connections", "64", "--seconds", str(seconds))
                runs[name].append(load.run(server.port, server.pids(), *arguments))
        for name, of in runs.items():
            print(f"  workers   {name:<15}{shown(of)}", flush=True)
    return runs
