"""Samples as OpenTelemetry's metrics, under the same names.

Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/. Sums are cumulative since the process started.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import cast

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from xetway import __version__
from xetway.http.metrics import Sample

_CUMULATIVE = AggregationTemporality.CUMULATIVE


def metrics_of(samples: Iterable[Sample], resource: Resource, started_ns: int, now_ns: int) -> MetricsData:
    """Put samples in the form that exporters take. Times are unix times."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        name = sample.name.rpartition("_")[0] if sample.kind == "histogram" else sample.name
        families.setdefault(name, []).append(sample)
    metrics = [Metric(name, family[0].help, "", _data(family, started_ns, now_ns)) for name, family in families.items()]
    scope = ScopeMetrics(InstrumentationScope("xetway", __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], "")])


def _data(family: Sequence[Sample], started_ns: int, now_ns: int) -> Sum | Gauge | Histogram:
    if family[0].kind == "histogram":
        return Histogram(_histograms(family, started_ns, now_ns), _CUMULATIVE)
    points = [NumberDataPoint(dict(sample.labels), started_ns, now_ns, float(sample.value)) for sample in family]
    if family[0].kind == "counter":
        return Sum(points, _CUMULATIVE, is_monotonic=True)
    return Gauge(points)


def _histograms(family: Sequence[Sample], started_ns: int, now_ns: int) -> list[HistogramDataPoint]:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, int]]] = {}
    sums: dict[tuple[tuple[str, str], ...], float] = {}
    for sample in family:
        if sample.name.endswith("_bucket"):
            buckets.setdefault(sample.labels[:-1], []).append((float(sample.labels[-1][1]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            sums[sample.labels] = sample.value
    # Nobody knows the least and the greatest value; both are optional in the protocol.
    unknown = cast("float", None)
    return [
        HistogramDataPoint(
            attributes=dict(labels),
            start_time_unix_nano=started_ns,
            time_unix_nano=now_ns,
            count=found[-1][1],
            sum=sums[labels],
            bucket_counts=[found[0][1], *(after - before for (_, before), (_, after) in pairwise(found))],
            explicit_bounds=[bound for bound, _ in found[:-1]],
            min=unknown,
            max=unknown,
        )
        for labels, found in buckets.items()
    ]
