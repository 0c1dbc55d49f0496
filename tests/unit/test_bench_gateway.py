"""What the bench of the gateway makes of its runs."""

import xml.etree.ElementTree as ET

import goals
import pytest
from gateway import summary


def requests(per_s, cpu_us, p95_ms):
    times = {f"latency_{name}_ms": p95_ms for name in ("p50", "p95", "p99")}
    return {**times, "per_s": per_s, "server_cpu_us": cpu_us, "load_cpu_s": 0.5, "foreign_cores": 0.01, "errors": 0}


def streams(per_s, p99_ms):
    times = {f"event_{name}_ms": p99_ms for name in ("p50", "p95", "p99")}
    more = {"first_p50_ms": p99_ms, "server_cpu_us": 9.0, "load_cpu_s": 0.5, "foreign_cores": 0.0, "errors": 0}
    return {**times, **more, "events_per_s": per_s}


ASKED = {
    "xetway": [requests(20_000.0, 50.0, 0.5), requests(22_000.0, 48.0, 0.6)],
    "direct": [requests(100_000.0, 8.0, 0.1), requests(110_000.0, 8.0, 0.1)],
    "vllm-router": [requests(10_000.0, 90.0, 0.3), requests(11_000.0, 90.0, 0.3)],
    "sglang-router": [requests(16_000.0, 60.0, 0.3), requests(20_000.0, 60.0, 0.3)],
    "litellm": [requests(100.0, 9000.0, 8.0), requests(100.0, 9000.0, 8.0)],
    "granian alone": [requests(40_000.0, 24.5, 0.2), requests(40_000.0, 24.5, 0.2)],
}
READ = {
    "xetway": [streams(2500.0, 0.4), streams(2500.0, 0.6)],
    "direct": [streams(2500.0, 0.2), streams(2500.0, 0.2)],
    "vllm-router": [streams(1250.0, 0.3), streams(1250.0, 0.3)],
}
KINDS = {"saturated": ASKED, "alone": ASKED, "steady": ASKED, "paced": READ, "flowing": READ}
WEIGHTS = {
    "xetway": [{"start_s": 0.4, "rss_start_mib": 42.0, "rss_load_mib": 50.0, "idle_kib": 9.0, "unread_mib": 1.0}]
}
PAIR = {"1": [requests(20_000.0, 50.0, 0.5)], "2": [requests(30_000.0, 55.0, 0.5)]}


def test_figures_are_medians_of_the_rounds_ratios_and_differences():
    found = summary.figures(KINDS, WEIGHTS, PAIR)
    assert found["times_vllm-router"] == 2.0
    assert found["times_best_router"] == found["times_sglang-router"] == pytest.approx((1.25 + 1.1) / 2)
    assert found["times_litellm"] == 210
    assert found["share_of_granian"] == 0.5
    assert found["added_p95_ms"] == pytest.approx(0.45)
    assert found["added_event_p99_ms"] == pytest.approx(0.3)
    assert found["events_times_vllm-router"] == 2.0
    assert (found["rss_mib"], found["idle_kib"], found["start_s"]) == (50.0, 9.0, 0.4)
    assert found["two_workers"] == 1.5
    assert "two_workers" not in summary.figures(KINDS, WEIGHTS, None)
    rows = goals.rows({"gateway": {"figures": found}}, {})
    assert [row[3] for row in rows[-len(goals.GATEWAY_GOALS) :]].count("") == 0


def test_text_and_chart_tell_every_side():
    data = {
        "kinds": KINDS, "weights": WEIGHTS, "workers": PAIR, "roomy": False,
        "rounds": 2, "seconds": 1.0, "most_foreign": 0.1, "idle_connections": 2000,
    }  # fmt: skip
    text = summary.text(data)
    assert "| vllm-router | 10500 | 0.3 | 0.3 | 0.3 | 90 | 0.2 | 2.00 x | 0 | 0.01; 50% |" in text
    assert "| xetway | 0.4 | 42 | 50 | 9 | 1 |" in text
    assert "too few cores for two workers" in text
    drawn = ET.fromstring(summary.chart(data, "Machine <1>"))
    words = [each.text for each in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("vllm-router") == 3
    assert words.count("litellm") == 1
