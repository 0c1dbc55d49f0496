"""A machine that lacks something is told what, in a line or two, and how to get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import bootstrap
import pytest
from toolchain import ROOT, MissingError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the fake programs are shell scripts")

FREE_BUT_OLD = (
    f"exec '{sys.executable}' -c 'import sys, sysconfig; sys.version_info = (3, 13, 9); "
    'sysconfig.get_config_var = bool; exec(sys.argv[2])\' "$@"'
)


def run_with(tmp_path: Path, script: str, *options: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """Run a script where only these programs (shell scripts) are on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return subprocess.run(
        [sys.executable, str(ROOT / "scripts" / f"{script}.py"), *options],
        env={"PATH": str(folder), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )


def check(tmp_path: Path, **programs: str) -> str:
    """What bootstrap.py --check says there."""
    answer = run_with(tmp_path, "bootstrap", "--check", **programs)
    assert answer.returncode == (0 if "are here" in answer.stdout else 1)
    assert "Traceback" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) <= 2
    return answer.stdout + answer.stderr


@pytest.mark.parametrize(
    ("programs", "said", "advice"),
    [
        ({}, "No C compiler", "build-essential"),
        ({"cc": ":"}, "cargo is not on PATH", "rustup"),
        ({"cc": ":", "cargo": "echo cargo 1.70.0"}, "cargo 1.70 is too old: xetway needs 1.89", "rustup update"),
        ({"cc": ":", "cargo": "echo broken >&2; exit 1"}, "does not work: broken", "rustup"),
        ({"cc": ":", "cargo": "echo 'cargo 1.89.0 (abc 2025)'"}, "are here", ""),
    ],
    ids=["no compiler", "no cargo", "old cargo", "broken cargo", "all there"],
)
def test_missing_program(tmp_path: Path, programs: dict[str, str], said: str, advice: str) -> None:
    text = check(tmp_path, **programs)
    assert said in text
    assert advice in text


def test_no_network() -> None:
    command = ["sh", "-c", "echo 'error: Connection refused'; echo 'hint: see above'; exit 1"]
    with pytest.raises(MissingError, match="the crate registry cannot be reached") as missing:
        bootstrap.run(command, "fetched the Rust crates", "the crate registry")
    assert str(missing.value).endswith("It said: error: Connection refused")


def test_other_failures_show_the_tools_own_words() -> None:
    command = ["sh", "-c", "for i in 1 2 3; do echo line $i; done; exit 1"]
    with pytest.raises(MissingError, match="line 3"):
        bootstrap.run(command, "compiled")


def test_makefile_says_when_no_python_is_new_enough() -> None:
    command = ["make", "--no-print-directory", "PYTHON=/nowhere/python", "build"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "No usable Python 3.11 or newer" in answer.stderr


@pytest.mark.parametrize(
    ("script", "programs", "said"),
    [
        ("freethreaded", {}, "there is no python3.14t here. Get one, 3.14 or newer"),
        (
            "freethreaded",
            {"python3.14t": "exit 1"},
            "is not a free-threaded Python that will do. Get one, 3.14 or newer",
        ),
        ("freethreaded", {"python3.14t": FREE_BUT_OLD}, "is not a free-threaded Python that will do. Get one, 3.14"),
        ("sanitize", {}, "needs a nightly toolchain"),
        ("sanitize", {"cargo": "test $2 = --version"}, "needs Miri"),
        ("sanitize", {"cargo": 'test "$3" != setup'}, "needs Rust's own sources"),
        ("fuzz", {"cargo": "test $1 = +nightly"}, "needs cargo-fuzz"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_command_says_what_it_lacks(tmp_path: Path, script: str, programs: dict[str, str], said: str) -> None:
    answer = run_with(tmp_path, script, **programs)
    assert answer.returncode == 1
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr
