"""What the runs say: figures for the goals, the tables, and the chart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from record import median, table
from svg import Bars, page

Runs = dict[str, list[dict[str, Any]]]
Weights = Mapping[str, list[dict[str, float]]]
ROUTERS = ("vllm-router", "sglang-router")
US = "xetway"


def middle(runs: Sequence[Mapping[str, Any]], key: str) -> float:
    return median(run[key] for run in runs)


def times(runs: Runs, peer: str, key: str) -> float:
    """Median of the rounds' ratios; without end where a peer answered nothing in its time."""
    pairs = zip(runs[US], runs[peer], strict=True)
    return median(ours[key] / theirs[key] if theirs[key] else math.inf for ours, theirs in pairs)


def added_ms(runs: Runs, key: str, side: str = US) -> float:
    """What a side adds to going straight to the upstream: median over the rounds."""
    return median(ours[key] - plain[key] for ours, plain in zip(runs[side], runs["direct"], strict=True))


def speed_up(runs: Runs) -> float:
    """What the second worker brings."""
    one, two = (middle(runs[name], "per_s") for name in ("1", "2"))
    return two / one


def figures(kinds: Mapping[str, Runs], weights: Weights, pair: Runs | None) -> dict[str, float]:
    """By name, for the goals; only of what was measured."""
    saturated, flowing = kinds["saturated"], kinds["flowing"]
    found = {f"times_{name}": times(saturated, name, "per_s") for name in saturated if name != US}
    routers = [name for name in ROUTERS if name in saturated]
    if routers:
        found["times_best_router"] = min(found[f"times_{name}"] for name in routers)
    if "granian alone" in saturated:
        share = middle(saturated["granian alone"], "server_cpu_us") / middle(saturated[US], "server_cpu_us")
        found["share_of_granian"] = share
    found["added_p95_ms"] = added_ms(kinds["steady"], "latency_p95_ms")
    found["added_event_p99_ms"] = added_ms(kinds["paced"], "event_p99_ms")
    found |= {f"events_times_{name}": times(flowing, name, "events_per_s") for name in flowing if name != US}
    ours = weights[US]
    found["start_s"] = middle(ours, "start_s")
    found["rss_mib"] = max(middle(ours, "rss_start_mib"), middle(ours, "rss_load_mib"))
    found["idle_kib"] = middle(ours, "idle_kib")
    found["unread_mib"] = middle(ours, "unread_mib")
    if pair is not None:
        found["two_workers"] = speed_up(pair)
    return found


def text(data: Mapping[str, Any]) -> str:
    """results/gateway.md below its head."""
    kinds, weights = data["kinds"], data["weights"]
    parts = [_about(data)]
    for kind, title in TITLES.items():
        rows = _streams(kinds[kind], data) if kind in ("paced", "flowing") else _requests(kinds[kind], data)
        parts.append(f"## {title}\n\n{rows}")
    parts.append(f"## Start and memory\n\n{_weights(weights, data['idle_connections'])}")
    if data.get("workers"):
        parts.append(f"## Workers\n\n{_workers(data['workers'], roomy=data['roomy'])}")
    return "\n\n".join(parts)


TITLES = {
    "saturated": "64 connections, each as fast as it is answered",
    "alone": "One connection",
    "steady": "1,000 requests a second (a latency counts from when the request was due)",
    "paced": "50 streams, one event each 20 ms (latencies from the upstream's sending to the client's reading)",
    "flowing": "50 streams without a pause",
}


def _about(data: Mapping[str, Any]) -> str:
    return (
        f"{data['rounds']} rounds of {data['seconds']:g} s, medians; the sides take turns. The server has one core, "
        "the load and the upstream the other. xetway runs with keys, limits on requests and tokens, metrics and "
        "request ids; the routers without authentication. *direct* is the upstream itself in the server's place, "
        "*granian alone* an application that reads the question and answers by itself, on the server that carries "
        f"xetway. A run is repeated while others take more than {data['most_foreign']:g} cores; the last column tells "
        "what they took, and how much of its core the load left: where that is nothing, the load is the limit."
    )


_REQUESTS = ("per_s", "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "server_cpu_us")
_STREAMS = ("events_per_s", "event_p50_ms", "event_p95_ms", "event_p99_ms", "first_p50_ms", "server_cpu_us")


def _rows(runs: Runs, keys: Sequence[str], data: Mapping[str, Any], p: str) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, of in runs.items():
        ratio = f"{times(runs, name, keys[0]):.2f} x" if name != US and US in runs else ""
        spent = middle(of, "load_cpu_s") / data["seconds"]
        added = added_ms(runs, p, name) if "direct" in runs and name != "direct" else ""
        errors = sum(run["errors"] for run in of)
        around = f"{middle(of, 'foreign_cores'):.2f}; {max(0.0, 1 - spent):.0%}"
        rows.append([name, *(middle(of, key) for key in keys), added, ratio, errors, around])
    return rows


def _requests(runs: Runs, data: Mapping[str, Any]) -> str:
    head = ("side", "requests/s", "p50 ms", "p95 ms", "p99 ms", "server's CPU µs", "p95 added ms")
    rows = _rows(runs, _REQUESTS, data, "latency_p95_ms")
    return table((*head, "xetway is", "errors", "others; load idle"), rows)


def _streams(runs: Runs, data: Mapping[str, Any]) -> str:
    head = ("side", "events/s", "p50 ms", "p95 ms", "p99 ms", "first event p50 ms", "server's CPU µs", "p99 added ms")
    rows = _rows(runs, _STREAMS, data, "event_p99_ms")
    return table((*head, "xetway is", "errors", "others; load idle"), rows)


def _weights(weights: Weights, connections: int) -> str:
    keys = ("start_s", "rss_start_mib", "rss_load_mib", "idle_kib", "unread_mib")
    rows = [[name, *(middle(of, key) if key in of[0] else "" for key in keys)] for name, of in weights.items()]
    head = ("side", "first /health s", "RSS MiB at start", "under load", "KiB an idle connection", "unread streams MiB")
    return (
        f"{table(head, rows)}\n\nIdle: growth of the PSS by {connections} connections after an answer each. Unread: "
        "growth of the RSS while four clients ask for 800 MB each, as fast as it comes, and read nothing."
    )


def _workers(runs: Runs, *, roomy: bool) -> str:
    note = (
        "Each worker has a core of its own, the load another."
        if roomy
        else "This machine has too few cores for two workers and a load: the load runs on theirs."
    )
    rows = [[name, *(middle(of, key) for key in _REQUESTS)] for name, of in runs.items()]
    head = ("workers", "requests/s", "p50 ms", "p95 ms", "p99 ms", "server's CPU µs")
    return f"{note}\n\n{table(head, rows)}"


def chart(data: Mapping[str, Any], caption: str) -> str:
    """docs/gateway.svg: requests a second and the CPU time of one."""
    runs: Runs = data["kinds"]["saturated"]
    rates = {name: middle(of, "per_s") for name, of in runs.items()}
    costs = {name: middle(of, "server_cpu_us") for name, of in runs.items() if name != "litellm"}
    events = {name: middle(of, "event_p99_ms") for name, of in data["kinds"]["paced"].items()}
    panels = [
        Bars("Requests a second on one core, 64 connections", list(rates), {"median": list(rates.values())}, "1/s"),
        Bars("CPU time of one request (LiteLLM left out)", list(costs), {"median": list(costs.values())}, "µs"),
        Bars("Latency of an event, p99, 2,500 a second", list(events), {"median": list(events.values())}, "ms"),
    ]
    return page("The gateway and its peers", panels, caption)
