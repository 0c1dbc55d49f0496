"""Every check of the project in one run: what `make test`, `make lint` and `make nightly` call.

Runs each step to its end, shows its output, and goes on after a failure, so that one run tells
everything; the tests come last. Exit code 0 only when every step passed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import rust_coverage
from toolchain import ROOT, VENV

PYTHON = sys.executable
CLIPPY = ("cargo", "clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings")


@dataclass(frozen=True)
class Step:
    """One command. stubtest says "Success" for a module that does not exist, so `imports` comes first."""

    name: str
    command: tuple[str, ...]


LINT = (
    Step("cargo fmt", ("cargo", "fmt", "--all", "--check")),
    Step("clippy", CLIPPY),
    Step("ruff", (PYTHON, "-m", "ruff", "check", "--quiet", ".")),
    Step("ruff format", (PYTHON, "-m", "ruff", "format", "--quiet", "--check", ".")),
    Step("mypy", (PYTHON, "-m", "mypy")),
    Step("imports", (PYTHON, "-c", "import xetway._native")),
    Step("stubtest", (PYTHON, "-m", "mypy.stubtest", "xetway._native")),
)
DENY = Step(
    "cargo deny", ("cargo", "deny", "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources")
)
RUST_TESTS = Step("cargo test", ("cargo", "test", "--locked", "--quiet", *rust_coverage.PACKAGES))
PEERS = Step("client environments", (PYTHON, "scripts/peers.py"))


def pytest_command(*, nightly: bool) -> tuple[str, ...]:
    """All tests with coverage; the coverage table comes before pytest's closing line."""
    left_out = [] if nightly else ["not nightly"]
    if os.environ.get("TORCH", "1") == "0":
        left_out.append("not torch")
    choice = ("-m", " and ".join(left_out)) if left_out else ()
    return (PYTHON, "-m", "pytest", *choice, "--cov", "--cov-report=term", "--durations=10")


def run(step: Step) -> bool:
    print(f"== {step.name}", flush=True)
    began = time.monotonic()
    env = {**os.environ, "VIRTUAL_ENV": str(VENV), "PYO3_PYTHON": PYTHON}
    passed = subprocess.run(step.command, cwd=ROOT, env=env, check=False).returncode == 0
    print(f"== {step.name}: {'passed' if passed else 'FAILED'} ({time.monotonic() - began:.0f} s)", flush=True)
    return passed


def dependencies() -> bool:
    """Cargo deny where it is installed: compiling it takes minutes, and the workflow always has it."""
    if subprocess.run(("cargo", "deny", "--version"), capture_output=True, check=False).returncode:
        print("== cargo deny is not installed, dependencies not checked: cargo install --locked cargo-deny", flush=True)
        return True
    return run(DENY)


def rust_tests() -> bool:
    """Cargo test, under coverage where LLVM's tools are to be had."""
    tools = rust_coverage.find_tools()
    if tools is None:
        passed = run(RUST_TESTS)
        print(f"== Rust coverage was not measured: {rust_coverage.ADVICE}", flush=True)
        return passed
    print("== cargo test with coverage", flush=True)
    return rust_coverage.measure(tools)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lint", action="store_true", help="only the checks that run no test")
    parser.add_argument("--nightly", action="store_true", help="the repeated tests too")
    chosen = parser.parse_args(arguments)
    failed = [step.name for step in LINT if not run(step)]
    if not dependencies():
        failed.append(DENY.name)
    if not chosen.lint:
        if not rust_tests():
            failed.append("cargo test")
        if not run(PEERS):
            failed.append(PEERS.name)
        print(
            f"== before pytest: {'all passed' if not failed else 'FAILED: ' + ', '.join(failed)}\n== pytest", flush=True
        )
        if subprocess.run(pytest_command(nightly=chosen.nightly), cwd=ROOT, check=False).returncode:
            failed.append("pytest")
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
