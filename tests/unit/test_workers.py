"""The processes beside the first one, played by a program that does what a test wants."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from xetway.settings import load
from xetway.siblings import Siblings
from xetway.workers import MAX_REPLACED, Workers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="several workers")


def test_a_worker_that_ends_before_it_answers_is_waited_for_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nmkdir "{tmp_path}/first" 2>/dev/null && exit 3\necho ready\ncat >/dev/null\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    settings = load({"data": str(tmp_path), "workers": 2}, {})
    with contextlib.closing(Siblings(2)) as siblings, Workers(settings, siblings) as workers:
        assert workers.wait_ready()
    assert workers.exit_code == 0


def test_nobody_waits_for_workers_once_they_are_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    settings = load({"data": str(tmp_path), "workers": 2}, {})
    ends: list[int] = []
    with contextlib.closing(Siblings(2)) as siblings:
        workers = Workers(settings, siblings)
        monkeypatch.setattr(os, "kill", lambda _pid, number: (ends.append(number), workers.stop()))
        with workers:
            assert not workers.wait_ready()
    assert (len(ends), workers.exit_code) == (1, 1)
    assert len(workers._replaced_at) == MAX_REPLACED


def test_the_end_is_asked_for_once_however_many_workers_are_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    settings = load({"data": str(tmp_path), "workers": 9}, {})
    ends: list[int] = []
    with contextlib.closing(Siblings(9)) as siblings:
        workers = Workers(settings, siblings)

        def end(_pid: int, number: int) -> None:
            ends.append(number)
            for process in list(workers._processes.values()):
                process.wait()
            time.sleep(0.2)  # the others are seen to be lost meanwhile
            workers.stop()

        monkeypatch.setattr(os, "kill", end)
        with workers:
            assert not workers.wait_ready()
    assert (len(ends), workers.exit_code) == (1, 1)
