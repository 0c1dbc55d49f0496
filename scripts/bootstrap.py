"""Make .venv with the package and its development tools, or say what is missing.

Does nothing, quickly, when neither the sources nor the pinned versions have changed since the last
run. Standard library only. `--no-native` leaves the Rust extension alone, `--check` only looks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from toolchain import ROOT, VENV, MissingError, check_all, venv_program

STAMP = VENV / "xetway-bootstrap.json"
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"
PIP = "pip>=25.1"  # the first to read dependency groups
NETWORK_SIGNS = (
    "connection",
    "resolve",
    "timed out",
    "timeout",
    "unreachable",
    "no matching distribution",
    "download",
    "ssl",
    "proxy",
)


def say(text: str) -> None:
    print(f"bootstrap: {text}", flush=True)


def digest(paths: Iterable[Path]) -> str:
    """One hash over names and contents, so that a touched but unchanged file rebuilds nothing."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def native_sources() -> list[Path]:
    found = [ROOT / name for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml")]
    for pattern in ("*/Cargo.toml", "*/src/**/*.rs"):
        found += (ROOT / "rust").glob(pattern)
    return [path for path in found if path.is_file()]


def read_stamp() -> dict[str, str]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def write_stamp(**values: str) -> None:
    STAMP.write_text(json.dumps({**read_stamp(), **values}, indent=1))


def run(
    command: Sequence[str | Path], what: str, registry: str | None = None, env: dict[str, str] | None = None
) -> None:
    """Run a step, its output shown only when it fails.

    Raises: MissingError with the tool's own last line, and a word on the network if that looks like the cause.
    """
    began = time.monotonic()
    answer = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if answer.returncode == 0:
        say(f"{what} ({time.monotonic() - began:.0f} s)")
        return
    lines = [line for line in answer.stdout.splitlines() if line.strip()]
    signs = [line.strip() for line in lines if any(sign in line.lower() for sign in NETWORK_SIGNS)]
    if registry and signs:
        raise MissingError(
            f"{what}: failed, most likely because {registry} cannot be reached from here.\n"
            f"Check the network, and the proxy settings if there is a proxy. It said: {signs[-1]}"
        )
    raise MissingError(
        f"{what}: failed. The last lines of `{' '.join(map(str, command))}`:\n"
        + "\n".join(f"  {line}" for line in lines[-25:])
    )


def make_venv() -> None:
    """Make .venv with this Python, or again when the one it was made with is gone or another."""
    python = venv_program("python")
    wanted = f"{sys.version_info[0]}.{sys.version_info[1]} {sys.prefix}"
    if python.exists() and read_stamp().get("python") == wanted:
        return
    run(
        [sys.executable, "-m", "venv", "--clear", VENV],
        f"made .venv with Python {sys.version_info[0]}.{sys.version_info[1]}",
    )
    write_stamp(python=wanted)


def install_tools() -> None:
    """Install what the package and its development need, in the versions of constraints.txt."""
    state = digest([ROOT / "pyproject.toml", CONSTRAINTS])
    if read_stamp().get("tools") == state:
        return
    pip = [venv_program("python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    registry = "the Python package index"
    run([*pip, PIP], "installed pip", registry)
    needs = [
        venv_program("python"),
        "-c",
        "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\\n')",
    ]
    listed = subprocess.run(
        [str(part) for part in needs], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    run(
        [*pip, "--constraint", CONSTRAINTS, "--group", "dev", *filter(None, listed)],
        "installed the Python packages the project runs and is tested with",
        registry,
    )
    write_stamp(tools=state)


def native_is_installed() -> bool:
    probe = [str(venv_program("python")), "-c", "import xetway._native"]
    return subprocess.run(probe, cwd=ROOT.parent, capture_output=True, check=False).returncode == 0


def build_native() -> None:
    """Compile the Rust extension (release) into the source tree and link the package into .venv."""
    state = digest(native_sources())
    if read_stamp().get("native") == state and native_is_installed():
        return
    run(["cargo", "fetch", "--locked"], "fetched the Rust crates", "the crate registry")
    say("compiling the Rust core (a minute or two the first time) ...")
    env = {**os.environ, "VIRTUAL_ENV": str(VENV), "PIP_CONSTRAINT": str(CONSTRAINTS)}
    env.pop("CONDA_PREFIX", None)
    run(
        [venv_program("maturin"), "develop", "--release", "--locked", "--quiet"],
        "compiled and installed xetway",
        env=env,
    )
    write_stamp(native=state)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="only look whether this machine has what is needed")
    parser.add_argument("--no-native", action="store_true", help="don't compile the Rust extension")
    chosen = parser.parse_args(arguments)
    try:
        check_all()
        if chosen.check:
            say("Python, C compiler and cargo are here")
            return 0
        make_venv()
        install_tools()
        if not chosen.no_native:
            build_native()
    except MissingError as error:
        print(f"\nbootstrap: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
