"""Samples as OpenTelemetry's metrics, and sending them whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics.export import Gauge, Histogram, Sum
from opentelemetry.sdk.resources import Resource

from xetway.http import histogram
from xetway.http.metrics import Sample
from xetway.settings.gateway import Telemetry
from xetway.telemetry.otlp import Otlp
from xetway.telemetry.points import metrics_of

WAITS = histogram.Metric("wait_seconds", "histogram", "How long.", ("model",))


def test_samples_keep_their_meaning() -> None:
    counts = histogram.Histogram((0.1, 1.0))
    for seconds in (0.05, 0.5, 0.6, 7.0):
        counts.add(seconds)
    samples = [
        Sample("a_total", 3, "counter", "Those.", (("model", "m"),)),
        *counts.samples(WAITS, "m"),
        Sample("b", 0.5),
        *histogram.Histogram((0.1, 1.0)).samples(WAITS, "n"),
    ]
    made = metrics_of(samples, Resource({}), 1, 2)
    (scope,) = made.resource_metrics[0].scope_metrics
    total, waits, gauge = scope.metrics
    assert (total.name, total.description, type(total.data)) == ("a_total", "Those.", Sum)
    assert total.data.data_points[0].attributes == {"model": "m"}
    assert (waits.name, type(waits.data), type(gauge.data)) == ("wait_seconds", Histogram, Gauge)
    first, second = waits.data.data_points
    assert (first.bucket_counts, first.explicit_bounds, first.count) == ([1, 2, 1], [0.1, 1.0], 4)
    assert (first.attributes, second.attributes) == ({"model": "m"}, {"model": "n"})
    assert first.sum == pytest.approx(8.15)
    assert (second.bucket_counts, second.count) == ([0, 0, 0], 0)


def test_a_source_that_fails_is_told_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def failing() -> Iterator[Sample]:
        raise RuntimeError("no numbers")

    caplog.set_level(logging.WARNING, "xetway")
    options = Telemetry(otlp_endpoint="http://127.0.0.1:1", traces=False)
    sender = Otlp(options, [failing], {})
    assert sender.tracer is None
    sender._metrics._send()
    assert "metrics were not sent: RuntimeError: no numbers" in caplog.text
    sender.close()
