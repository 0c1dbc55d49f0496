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
    "content_served_bytes": "Bytes of content given to clients.",
    "content_cache_hit_bytes": "Those of them that were on disk when a client came to them.",
    "content_fetched_bytes": "Bytes of content received from the upstream.",
    "content_retries": "Times that content was asked for again because it came damaged.",
    "content_integrity_failures": "Times that the upstream's content did not have its hash.",
    "content_proven_files": "Files seen to have the hash of their name.",
    "content_cache_damaged": "Times that cached content was found damaged on disk; it is fetched again.",
    "content_cache_bytes": "Disk space that cached content takes.",
    "http_bytes_in": "Bytes received, of content and of answers.",
    "http_retries": "Requests sent again after a failure.",
    "http_concurrency": "Transfers that may run at a time, now.",
}
_LABELS = {"answers": "cache", "files": "cache", "upstream_requests": "method"}
# What the compiled part counts goes up and down; everything else only grows.
_GAUGES = frozenset({"cache_bytes", "cache_xorbs", "cache_plain_files", "free_disk_bytes", "active", "concurrency"})


def samples(mirror: Mirror) -> Iterator[Sample]:
    """The numbers as they are now."""
    for name, label, value in mirror.counters.items():
        labels = ((_LABELS[name], label),) if name in _LABELS else ()
        yield Sample(f"xetway_mirror_{name}_total", value, "counter", _HELP.get(name, ""), labels)
    for part, stats in (("content", mirror.content.stats()), ("http", mirror.native.http.stats())):
        for name, value in stats.items():
            about = _HELP.get(f"{part}_{name}", "")
            if name in _GAUGES:
                yield Sample(f"xetway_mirror_{part}_{name}", value, "gauge", about)
            else:
                yield Sample(f"xetway_mirror_{part}_{name}_total", value, "counter", about)
    yield Sample("xetway_mirror_offline", float(mirror.upstream.offline), "gauge", "Whether --offline is set.")
    yield Sample("xetway_mirror_upstream_down", float(mirror.upstream.is_down), "gauge", "Whether it failed just now.")
