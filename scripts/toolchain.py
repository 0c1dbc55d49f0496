"""What this machine has, and what it lacks, said in a line or two.

Finds Python, the C compiler and cargo, and the folders of the virtual environments. It installs
nothing (bootstrap.py does). Standard library only: it runs before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENVS = ROOT / ".venvs"
MIN_PYTHON = (3, 11)
MIN_CARGO = (1, 89)

# Names that Chromium and its relatives have, and where macOS keeps one.
BROWSERS = (
    "chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)  # fmt: skip


class MissingError(Exception):
    """Something this machine lacks: the message says what, and how to get it."""


def venv_program(name: str, venv: Path = VENV) -> Path:
    """Path of a program inside a virtual environment, whether it is there or not."""
    return venv / "Scripts" / f"{name}.exe" if os.name == "nt" else venv / "bin" / name


def find_browser() -> str | None:
    """Path of a browser that a test can drive, if this machine has one."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def check_python() -> None:
    """Raise MissingError unless the running Python can make the virtual environment."""
    if sys.version_info < MIN_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        raise MissingError(
            f"Python {found} is too old: xetway needs 3.11 or newer.\n"
            "Install one (for example `apt install python3.11 python3.11-venv`) and run again, "
            "or name it: `make PYTHON=/path/to/python3.12 ...`"
        )
    try:
        import ensurepip  # noqa: F401, PLC0415  # only asked whether it is there
        import venv  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingError(
            f"This Python ({sys.executable}) has no `{error.name}` module, which makes virtual environments.\n"
            f"On Debian and Ubuntu: `apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv`"
        ) from None


def check_compiler() -> None:
    """Raise MissingError unless there is a C compiler, which Rust needs for linking."""
    if os.name == "nt":
        return  # rustc finds the MSVC linker itself and says so when it is missing
    wanted = os.environ.get("CC", "").split()
    if not any(shutil.which(name) for name in (*wanted[:1], "cc", "gcc", "clang")):
        raise MissingError(
            "No C compiler (cc, gcc or clang) on PATH; Rust needs one to link.\n"
            "Debian, Ubuntu: `apt install build-essential`; Fedora: `dnf install gcc`; macOS: `xcode-select --install`"
        )


def check_cargo() -> None:
    """Raise MissingError unless cargo is there, works, and is new enough."""
    advice = "Get the Rust toolchain with rustup (see rust-lang.org/tools/install), then open a new shell."
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo") / "bin"
    if shutil.which("cargo") is None and (home / "cargo").exists():
        os.environ["PATH"] = f"{home}{os.pathsep}{os.environ.get('PATH', '')}"
    if shutil.which("cargo") is None:
        raise MissingError(
            f"cargo is not on PATH; the Rust core is compiled with it (1.{MIN_CARGO[1]} or newer).\n{advice}"
        )
    answer = subprocess.run(["cargo", "--version"], cwd=ROOT, capture_output=True, text=True, check=False)
    match = re.match(r"cargo (\d+)\.(\d+)", answer.stdout)
    if answer.returncode or not match:
        raise MissingError(f"`cargo --version` does not work: {last_line(answer.stderr or answer.stdout)}\n{advice}")
    if (int(match[1]), int(match[2])) < MIN_CARGO:
        raise MissingError(
            f"cargo {match[1]}.{match[2]} is too old: xetway needs 1.{MIN_CARGO[1]} or newer.\n"
            "Update with `rustup update stable`; a distribution's own cargo is often older."
        )


def last_line(text: str) -> str:
    """The last line with anything on it; tools put the reason there."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no output")


def require(tools: Iterable[tuple[Sequence[str], str]]) -> None:
    """Raise MissingError at the first command that does not run, with the advice beside it."""
    for command, advice in tools:
        try:
            works = not subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode
        except FileNotFoundError:
            works = False
        if not works:
            raise MissingError(advice)


def check_all() -> None:
    """Every check, cheapest first; raises MissingError at the first that fails."""
    check_python()
    check_compiler()
    check_cargo()
