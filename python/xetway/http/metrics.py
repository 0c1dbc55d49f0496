"""The page at /metrics: numbers about this process and its parts, in Prometheus' text format.

Parts bring their numbers as `Sample` values, which `merged` puts together when there are several workers.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, text format 0.0.4.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from xetway import __version__
from xetway.http.request import Request
from xetway.http.response import Response
from xetway.http.router import Route

_STARTED_S = time.time()
_TOGETHER: dict[str, Callable[[tuple[float, float]], float]] = {"sum": sum, "max": max, "min": min}
_BAD_IN_NAME = re.compile(r"[^a-zA-Z0-9_:]")


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One number. `labels` are pairs of name and value.

    A histogram is several samples: NAME_bucket with a label `le`, NAME_sum and NAME_count. `over_workers` says what a
    gauge is for all of them together.
    """

    name: str
    value: float
    kind: Literal["counter", "gauge", "histogram"] = "gauge"
    help: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    over_workers: Literal["sum", "max", "min"] = "sum"


Source: TypeAlias = Callable[[], Iterable[Sample]]
Together: TypeAlias = Callable[[Callable[[], list[Sample]]], Callable[[], Awaitable[list[Sample]]]]


def process_samples() -> Iterator[Sample]:
    """Numbers of this process, under the names that Prometheus' own clients use."""
    yield Sample("xetway_info", 1, "gauge", "This server.", (("version", __version__),), "max")
    yield Sample("xetway_workers", 1, "gauge", "Processes that answer.")
    yield Sample("process_cpu_seconds_total", time.process_time(), "counter", "CPU time used, user and system.")
    yield Sample(
        "process_start_time_seconds", _STARTED_S, "gauge", "When the process started, unix time.", over_workers="min"
    )
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        yield Sample("process_resident_memory_bytes", pages * os.sysconf("SC_PAGE_SIZE"), "gauge", "Memory in RAM.")
        yield Sample(
            "process_open_fds", sum(1 for _ in Path("/proc/self/fd").iterdir()), "gauge", "Open files and sockets."
        )


def merged(told: Iterable[Iterable[Sample]]) -> list[Sample]:
    """Put together what several workers tell."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Sample] = {}
    for samples in told:
        for sample in samples:
            key = sample.name, sample.labels
            known = found.get(key)
            if known is not None:
                value = _TOGETHER[sample.over_workers]((known.value, sample.value))
                sample = msgspec.structs.replace(known, value=value)  # noqa: PLW2901
            found[key] = sample
    return list(found.values())


def counted(samples: Iterable[Sample]) -> list[Sample]:
    """What is left of the numbers of a worker that has ended: not those that say how it is now."""
    return [sample for sample in samples if sample.kind != "gauge"]


def exposition(samples: Iterable[Sample]) -> str:
    """Write samples as text, those of one name together."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(_family(sample), []).append(sample)
    lines: list[str] = []
    for name, group in by_name.items():
        if group[0].help:
            lines.append(f"# HELP {name} {_escaped(group[0].help)}")
        lines.append(f"# TYPE {name} {group[0].kind}")
        lines += [f"{_clean(sample.name)}{_labels(sample)} {_number(sample.value)}" for sample in group]
    return "\n".join(lines) + "\n"


def _clean(name: str) -> str:
    return _BAD_IN_NAME.sub("_", name)


def _family(sample: Sample) -> str:
    name = _clean(sample.name)
    return name.rpartition("_")[0] if sample.kind == "histogram" else name


def _labels(sample: Sample) -> str:
    pairs = [f'{_BAD_IN_NAME.sub("_", name)}="{_escaped(value)}"'.replace("\n", "\\n") for name, value in sample.labels]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def routes(*sources: Source, together: Together | None = None) -> Iterable[Route]:
    """The route of this module. `together` makes of the numbers of this worker those of all."""

    def own() -> list[Sample]:
        return [sample for source in (process_samples, *sources) for sample in source()]

    of_all = None if together is None else together(own)

    async def metrics(_request: Request) -> Response:
        samples = own() if of_all is None else await of_all()
        headers = [("content-type", "text/plain; version=0.0.4; charset=utf-8"), ("cache-control", "no-store")]
        return Response(200, headers, exposition(samples).encode())

    yield "GET|HEAD", "/metrics", metrics
