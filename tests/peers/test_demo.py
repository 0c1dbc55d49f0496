"""`make demo`, small: it passes, and it leaves nothing behind when it is stopped."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import clean_environment
from toolchain import ROOT

DEMO = (sys.executable, str(ROOT / "scripts" / "demo.py"), "--size-mib", "24")


def test_demo_passes_and_leaves_nothing(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, TMPDIR=str(tmp_path))
    answer = subprocess.run(DEMO, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "17 files compared by SHA-256: all the same" in answer.stdout
    kept = re.search(r"uploaded ([\d.]+) MiB, stored ([\d.]+) MiB", answer.stdout)
    assert kept
    assert float(kept[2]) < 0.6 * float(kept[1])
    cold, changed, again = (
        float(line.split()[-3])
        for line in answer.stdout.splitlines()
        if "through a mirror" in line and "..." not in line
    )
    assert cold > 20
    assert changed < 0.15 * cold
    assert again == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_stopped_demo_stops_its_server(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, TMPDIR=str(tmp_path))
    with subprocess.Popen(DEMO, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as demo:
        assert demo.stdout is not None
        url = ""
        for line in demo.stdout:
            url = line.split()[-1] if "xetway serve:" in line else url
            if "second version" in line:
                break
        assert url
        demo.send_signal(signal.SIGINT)
        rest = demo.stdout.read()
    assert demo.returncode == 130, rest
    assert "demo: stopped" in rest
    assert "Traceback" not in rest
    assert subprocess.run(["curl", "--silent", url], env=environment, check=False).returncode == 7, "still listening"
    assert list(tmp_path.iterdir()) == []
