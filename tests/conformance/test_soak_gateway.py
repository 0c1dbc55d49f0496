"""The soak of the gateway, for seconds: its clients and upstreams are in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "scripts" / "soak_gateway.py"


@pytest.mark.heavy
@pytest.mark.alone
@pytest.mark.timeout(240)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_is_wrong_lost_or_left_behind() -> None:
    done = subprocess.run([sys.executable, SOAK, "--seconds", "12"], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
