"""SIGHUP at a server of two workers: what changes, what goes on, and what is wrong."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.conformance.crowd import MakeCrowd, rest_of
from tests.conformance.model_server import ModelServer, answer, events

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found through /proc")

OTHER = {"x-api-key": "another-key-of-the-file"}
OTHERS_KEY = '[[auth.keys]]\nname = "other"\nkey = "another-key-of-the-file"\n'


def test_models_keys_and_limits_change_and_requests_under_way_do_not(crowd: MakeCrowd, upstream: ModelServer) -> None:
    step = threading.Semaphore(0)
    upstream.manner = events(b"[DONE]", step=step)
    both = crowd()
    streams = [both.stream() for _ in range(8)]
    upstream.manner = answer(b"{}")
    assert both.statuses(1, headers=OTHER) == [401]
    limited = 'aliases = ["m"]\nlimit = { requests_per_minute = 1, burst = 7 }\ndescription = "new"'
    both.configure(limited, OTHERS_KEY + "[queue]\nmax_size = 4\n[cache]\nmax_bytes = 70000000\n", "n")
    both.reload()
    both.server.wait_for_log("the settings were read again; changed: models, auth.keys, queue.max_size")
    both.server.wait_for_log("when the server is started again: cache.max_bytes")
    while set(both.statuses(12, "/v1/models/n", OTHER)) != {200}:
        pass
    assert both.ask("GET", "/v1/models").json()["data"][0]["id"] == "n"
    assert both.statuses(20, headers=OTHER) == [200] * 7 + [429] * 13
    assert both.ask("GET", "/admin/queue/stats").json()["max_size"] == 4
    for _ in streams:
        step.release()
    for link, status in streams:
        with link:
            assert (status, b"data: [DONE]" in rest_of(link)) == (200, True)
    assert both.numbers()['xetway_requests_total{model="m",status="200"}'] == 8
    both.kill()
    both.wait_for_another()
    assert both.statuses(12, "/v1/models/n", OTHER) == [200] * 12


def test_what_is_cleared_is_not_kept_by_a_request_from_before_the_reload(
    crowd: MakeCrowd, upstream: ModelServer
) -> None:
    step = threading.Semaphore(0)
    upstream.manner = events(b"[DONE]", step=step)
    cache = "[cache]\nenabled = true\nall = true\n"
    both = crowd(more=cache)
    for stored in (0, 1):
        link, status = both.stream()
        both.configure(more=f"{cache}[queue]\nmax_size = {4 + stored}\n")
        both.reload()
        while both.ask("GET", "/admin/queue/stats").json()["max_size"] != 4 + stored:
            pass
        if not stored:
            assert both.ask("POST", "/admin/cache/clear").status_code == 200
        step.release()
        with link:
            assert (status, b"data: [DONE]" in rest_of(link)) == (200, True)
        assert both.numbers()["xetway_cache_stored_total"] == stored


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("[queue]\nmax_size = -1\n", "gateway.toml: queue.max_size is -1; it must be"),
        ("[queue]\nconcurrency = 1\n", "queue.concurrency is 1; it must be at least 2"),
        ('[[auth.keys]]\nname = "x"\nkey_env = "NOT_THERE"\n', "the key 'x' has to be in the variable NOT_THERE"),
    ],
)
def test_what_is_wrong_changes_nothing(crowd: MakeCrowd, more: str, told: str) -> None:
    both = crowd()
    both.configure(more=more, name="n")
    both.reload()
    assert " ERROR " in both.server.wait_for_log("the settings stay as they were:", told)
    assert both.statuses(8) == [200] * 8
