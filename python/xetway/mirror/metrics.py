"""The mirror's numbers for /metrics."""

from __future__ import annotations

from collections.abc import Iterator

from xetway.http.metrics import Sample
from xetway.mirror.mirror import Mirror

_HELP = {
    "answers": "Answers about repositories, by how they were found.",
    "files": "Files looked up, by how they were found.",
    "upstream_requests": "Questions sent to the upstream hub.",
    "upstream_unreachable": "Questions that the upstream hub did not answer.",
}
_LABELS = {"answers": "cache", "files": "cache", "upstream_requests": "method"}
# What the compiled part counts goes up and down; everything else only grows.
_GAUGES = frozenset({"bytes", "max_bytes", "free_disk_bytes", "xorbs", "plain_files", "active", "concurrency"})


def samples(mirror: Mirror) -> Iterator[Sample]:
    """The numbers as they are now. Blocking."""
    for name, label, value in mirror.counters.items():
        labels = ((_LABELS[name], label),) if name in _LABELS else ()
        yield Sample(f"xetway_mirror_{name}_total", value, "counter", _HELP.get(name, ""), labels)
    for part, stats in (("content", mirror.content.stats()), ("http", mirror.native.http.stats())):
        for name, value in stats.items():
            if name in _GAUGES:
                yield Sample(f"xetway_mirror_{part}_{name}", value, "gauge")
            else:
                yield Sample(f"xetway_mirror_{part}_{name}_total", value, "counter")
    yield Sample("xetway_mirror_offline", float(mirror.upstream.offline), "gauge", "Whether --offline is set.")
    yield Sample("xetway_mirror_upstream_down", float(mirror.upstream.is_down), "gauge", "Whether it failed just now.")
