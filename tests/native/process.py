"""What the running process has used."""

import sys

import pytest


def peak_bytes():
    """The most memory the process ever had; skips where the system does not say."""
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
