"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import msgspec

from xetway import __version__

# What the codec, BLAKE3 and SHA-256 have code for, or might.
_FLAGS = (
    "sse4_1", "avx2", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512_vbmi", "sha_ni",
    "asimd", "sha2", "crc32", "sve",
)  # fmt: skip


class Machine(msgspec.Struct, frozen=True):
    """A machine and what runs on it."""

    cpu: str
    flags: tuple[str, ...]
    cores: int
    usable_cores: int
    memory_bytes: int | None
    system: str
    python: str
    xetway: str


def describe() -> Machine:
    """Describe this machine; what cannot be found out is left empty."""
    fields = _cpu_fields()
    known = (fields.get("flags") or fields.get("Features") or "").split()
    return Machine(
        cpu=fields.get("model name") or platform.processor() or platform.machine(),
        flags=tuple(flag for flag in _FLAGS if flag in known),
        cores=os.cpu_count() or 1,
        usable_cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=f"{platform.python_implementation()} {platform.python_version()}{_threading()}",
        xetway=__version__,
    )


def usable_cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _cpu_fields() -> dict[str, str]:
    """The fields of the first core in /proc/cpuinfo, where there is one."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _threading() -> str:
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    return "" if gil else " free-threaded"
