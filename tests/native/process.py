"""What the running process has used, and processes of their own."""

import asyncio
import json
import subprocess
import sys

import pytest


def peak_bytes():
    """The most memory the process ever had; skips where the system does not say."""
    resource = pytest.importorskip("resource")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


async def run(script, *arguments):
    """Run a script in an interpreter of its own; returns what it prints, once it has ended well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", script, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")
    return json.loads(out)
