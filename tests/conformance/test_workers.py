"""Several workers that serve models: what they limit, count and know together, and what happens when one is killed."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

import pytest
from server_process import ServerError

from tests.conformance.crowd import ADMIN, MakeCrowd, is_cut_off, rest_of
from tests.conformance.model_server import ModelServer, answer, events

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found through /proc")


def test_a_rate_is_that_of_all_workers_together(crowd: MakeCrowd) -> None:
    both = crowd("limit = { requests_per_minute = 1, burst = 20 }")
    assert both.statuses(30) == [200] * 20 + [429] * 10


def test_places_are_those_of_all_workers_and_a_killed_one_gives_its_back(
    crowd: MakeCrowd, upstream: ModelServer
) -> None:
    step = threading.Semaphore(0)
    upstream.manner = events(b"[DONE]", step=step)
    both = crowd("limit = { concurrency = 10 }")
    with contextlib.ExitStack() as held:
        streams = [both.stream() for _ in range(14)]
        for link, _ in streams:
            held.enter_context(link)
        assert [status for _, status in streams] == [200] * 10 + [429] * 4
        both.kill()
        alive = [link for link, status in streams if status == 200 and not is_cut_off(link)]
        # Those of the other worker go on as if nothing had been.
        more = [both.stream() for _ in range(12 - len(alive))]
        for link, _ in more:
            held.enter_context(link)
        assert [status for _, status in more] == [200] * (10 - len(alive)) + [429] * 2
        for _ in range(40):
            step.release()
        assert all(b"data: [DONE]" in rest_of(link) for link in alive)


def test_numbers_are_those_of_all_workers_and_never_go_down(crowd: MakeCrowd) -> None:
    both = crowd()
    assert both.statuses(40) == [200] * 40

    def counts() -> set[tuple[float, ...]]:
        names = (
            'xetway_requests_total{model="m",status="200"}',
            'xetway_request_duration_seconds_count{model="m"}',
            'xetway_request_duration_seconds_bucket{model="m",le="+Inf"}',
            'xetway_tokens_total{model="m",kind="prompt"}',
        )
        stats = both.ask("GET", "/admin/queue/stats").json()
        assert stats["per_model"]["queues"]["m"]["total_processed"] == stats["total_processed"]
        return {(*map(both.numbers().get, names), stats["total_processed"], stats["max_size"]) for _ in range(8)}

    assert counts() == {(40, 40, 40, 120, 40, 100)}
    both.kill()
    assert {told[:5] for told in counts()} == {(40, 40, 40, 120, 40)}
    both.wait_for_another()
    assert both.statuses(10) == [200] * 10
    assert counts() == {(50, 50, 50, 150, 50, 100)}
    assert [value for name, value in both.numbers().items() if name.startswith("xetway_info")] == [1]


def test_an_upstream_is_left_alone_by_all_workers_and_probed_by_one(crowd: MakeCrowd, upstream: ModelServer) -> None:
    both = crowd(more="[breaker]\nfailures = 5\nopen_for = 3600.0\nsuccesses = 1\n")
    upstream.manner = answer(b"{}", "503 Service Unavailable")
    assert both.statuses(20) == [503] * 20
    assert len(upstream.asked) == 5
    assert {both.ask("GET", "/status").json()["models"]["m"][0]["breaker"]["state"] for _ in range(8)} == {"open"}
    assert both.statuses(4, "/ready") == [503] * 4
    assert both.ask("POST", "/admin/breakers/reset").status_code == 200
    upstream.manner = answer(b"{}")
    assert both.statuses(20) == [200] * 20


def test_a_revoked_key_opens_nothing_at_any_worker(crowd: MakeCrowd) -> None:
    both = crowd()
    made = both.client.post("/admin/keys/generate", headers=ADMIN, json={"name": "x"}).json()
    key = {"x-api-key": made["api_key"]}
    assert both.statuses(12, headers=key) == [200] * 12
    assert both.ask("POST", f"/admin/keys/{made['key_id']}/revoke").json()["success"]
    assert both.statuses(12, headers=key) == [401] * 12


def test_workers_that_end_again_and_again_end_the_server(crowd: MakeCrowd) -> None:
    server = crowd().server
    while server.process.poll() is None:
        for pid in server.pids()[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
    assert server.stop() == 1
    assert server.log.count("another takes its place") == 5
    assert "too many before it" in server.log


def test_each_worker_needs_a_slot(crowd: MakeCrowd) -> None:
    with pytest.raises(ServerError, match=r"queue\.model_concurrency is 1; it must be at least 2"):
        crowd(more="[queue]\nmodel_concurrency = 1")
