"""What every bench needs: where and when it ran, what a process cost, and the files in results/."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import xetway
from xetway.bench.machine import describe

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "results"
sys.path.insert(0, str(ROOT / "scripts"))
MIB = 1024 * 1024
GIB = 1024 * MIB


def circumstances(*packages: str) -> dict[str, Any]:
    """Date, commit, machine, versions, and the command."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    machine = describe()
    dirty = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": commit.stdout.strip()[:12] + ("+changes" if dirty.stdout.strip() else ""),
        "cpu": machine.cpu,
        "flags": machine.flags,
        "cores": machine.cores,
        "memory_bytes": machine.memory_bytes,
        "system": machine.system,
        "versions": {
            "python": platform.python_version(),
            "xetway": xetway.__version__,
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "command": command("python", f"benches/{Path(sys.argv[0]).name}"),
    }


def command(*program: str) -> str:
    """What to type for the same run, with the place of temporary files where one was named."""
    place = [f"TMPDIR={os.environ['TMPDIR']}"] if "TMPDIR" in os.environ else []
    return " ".join([*place, *program, *map(shlex.quote, sys.argv[1:])])


def warm_memory(size: int) -> None:
    """Use so many bytes of memory for a moment, at most 4 GiB.

    The host of a virtual machine takes free memory back, and who uses it next waits for it.
    """
    if not size:
        return
    size = min(size, 4 * GIB)
    touch = f"memory = bytearray({size})\nfor at in range(0, {size}, 4096): memory[at] = 1"
    subprocess.run([sys.executable, "-c", touch], check=True)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of processes so far; 0 where /proc is not to be had."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def child(script: str, *arguments: str, env: Mapping[str, str]) -> dict[str, Any]:
    """Run `script --child ...` in a process of its own; returns the JSON it prints, with what it cost added."""
    answer = subprocess.run(
        [sys.executable, script, "--child", *arguments], env=dict(env), capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise SystemExit(f"{' '.join(arguments[:1])} failed:\n{answer.stdout}\n{answer.stderr}")
    result: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    return result


def own_cost() -> dict[str, float]:
    """Peak memory and CPU time of this process."""
    import resource  # noqa: PLC0415  # not on Windows

    used = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1 if sys.platform == "darwin" else 1024
    return {"rss_mib": used.ru_maxrss * scale / MIB, "cpu_s": used.ru_utime + used.ru_stime}


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; numbers with three significant digits."""

    def shown(value: object) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"

    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(map(shown, row)) + " |" for row in rows]
    return "\n".join(lines)


def write(
    name: str, title: str, around: Mapping[str, Any], data: Mapping[str, Any], text: str, folder: Path | None = None
) -> None:
    """Write results/NAME.json and results/NAME.md, and print the latter."""
    folder = folder or RESULTS
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps({**around, **data}, indent=1) + "\n", encoding="utf-8")
    versions = ", ".join(f"{package} {version}" for package, version in around["versions"].items())
    machine = f"{around['cpu']} ({around['cores']} cores), {around['system']}"
    lines = [
        f"# {title}",
        "",
        f"{around['date']}, commit {around['commit']}, {machine}; {versions}.",
        f"`{around['command']}`",
        "",
        text,
    ]
    page = "\n".join(lines) + "\n"
    (folder / f"{name}.md").write_text(page, encoding="utf-8")
    print(page, flush=True)
