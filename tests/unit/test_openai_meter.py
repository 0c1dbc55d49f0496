"""What is counted of requests to models, and how it is told."""

from __future__ import annotations

from xetway.errors import AuthError, LimitedError
from xetway.http.histogram import Histogram
from xetway.http.metrics import Sample
from xetway.openai import metrics
from xetway.openai.meter import Meter, Pace
from xetway.openai.usage import Usage


def told(meter: Meter) -> dict[tuple[str, ...], float]:
    """Values by name and the values of labels; buckets that count nothing are left out."""
    samples: list[Sample] = list(metrics.of_requests(meter))
    return {(each.name, *(value for _, value in each.labels)): each.value for each in samples if each.value}


def paced(*steps: tuple[float, bytes]) -> dict[str, float]:
    times = iter([at for at, _ in steps])
    gaps = Histogram((0.01, 0.1))
    pace = Pace(gaps, lambda: next(times))
    for _, piece in steps:
        pace.note(piece)
    return {sample.labels[-1][1] if sample.labels else sample.name[-5:]: sample.value for sample in gaps.samples(ALONE)}


ALONE = metrics.Metric("t_seconds", "histogram", "")


def test_events_of_one_piece_share_its_time() -> None:
    found = paced((1.0, b"data: 1\n\n"), (1.008, b"data: 2\n\n"), (1.2, b"data: 3\n\ndata: 4\n\n"), (2.2, b"x\r\n\r\n"))
    assert found == {"0.01": 1, "0.1": 3, "+Inf": 4, "s_sum": 1.2000000000000002, "count": 4}


def test_a_piece_without_the_end_of_an_event_counts_as_one() -> None:
    assert paced((1.0, b"da"), (1.05, b"ta: 1"))["count"] == 1
    assert paced((1.0, b"data: 1\n\n"))["count"] == 0


def test_requests_are_in_flight_until_they_end() -> None:
    meter = Meter(["m"])
    meter.began("m")
    meter.began("m")
    meter.ended("m", 200, 0.2, 0.1, Usage(prompt_tokens=3, completion_tokens=2))
    found = told(meter)
    assert found["xetway_requests_in_flight", "m"] == 1
    assert found["xetway_requests_total", "m", "200"] == 1
    assert (found["xetway_tokens_total", "m", "prompt"], found["xetway_tokens_total", "m", "answer"]) == (3, 2)
    meter.ended("m", 499, 0.2, 0.1, None)
    found = told(meter)
    assert ("xetway_requests_in_flight", "m") not in found
    assert found["xetway_request_duration_seconds_count", "m"] == 2
    assert found["xetway_time_to_first_byte_seconds_count", "m"] == 1


def test_what_is_refused_is_counted_by_code_and_limits_by_kind() -> None:
    meter = Meter([])
    for error in (
        AuthError("who?", code="invalid_api_key"),
        LimitedError("many", kind="tokens"),
        LimitedError("many", kind="requests"),
        LimitedError("many", kind="requests", at_once=True),
    ):
        meter.told(error)
    assert told(meter) == {
        ("xetway_errors_total", "invalid_api_key"): 1,
        ("xetway_errors_total", "rate_limit_exceeded"): 3,
        ("xetway_limited_total", "tokens"): 1,
        ("xetway_limited_total", "requests"): 1,
        ("xetway_limited_total", "concurrency"): 1,
    }
