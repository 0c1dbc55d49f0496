"""Every check of the project in one run: what `make test`, `make lint` and `make nightly` call.

Runs each step to its end, shows its output, and goes on after a failure, so that one run tells
everything; the tests come last. What cargo does, what Python does and what is downloaded go on at the same
time. Exit code 0 only when every step passed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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


CARGO_LINT = (Step("cargo fmt", ("cargo", "fmt", "--all", "--check")), Step("clippy", CLIPPY))
PYTHON_LINT = (
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
RUST_TESTS_MEASURED = Step("cargo test with coverage", (PYTHON, "scripts/rust_coverage.py"))
PEERS = Step("client environments", (PYTHON, "scripts/peers.py"))


def pytest_steps(*, nightly: bool) -> tuple[Step, Step]:
    """All tests with coverage: first those that can run beside each other, then those that want the machine.

    The coverage table, of both, comes before the last closing line.
    """
    left_out = [] if nightly else ["not nightly"]
    if os.environ.get("TORCH", "1") == "0":
        left_out.append("not torch")
    command = (PYTHON, "-m", "pytest", "--cov", "--durations=10")
    together = ("-m", " and ".join([*left_out, "not alone"]), "--numprocesses=auto", "--dist=loadfile", "--cov-report=")
    # In the order of the folders: the quick unit tests come last, so that no process waits long for the other.
    together += ("--no-loadscope-reorder",)
    alone = ("-m", " and ".join([*left_out, "alone"]), "--cov-append", "--cov-report=term")
    return Step("pytest, at the same time", (*command, *together)), Step("pytest, alone", (*command, *alone))


def run(step: Step, *, kept: bool = False) -> bool:
    """Run it; what it says is shown as it comes, or `kept` until the end where several run at the same time."""
    if not kept:
        print(f"== {step.name}", flush=True)
    began = time.monotonic()
    env = {**os.environ, "VIRTUAL_ENV": str(VENV), "PYO3_PYTHON": PYTHON}
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"} if kept else {}
    answer = subprocess.run(step.command, cwd=ROOT, env=env, check=False, **output)
    passed = answer.returncode == 0
    said = f"== {step.name}\n{answer.stdout}" if kept else ""
    print(f"{said}== {step.name}: {'passed' if passed else 'FAILED'} ({time.monotonic() - began:.0f} s)", flush=True)
    return passed


def run_lanes(*lanes: Sequence[Step]) -> list[str]:
    """Run the lanes at the same time, the steps of each one after another; returns what failed, in order."""
    with ThreadPoolExecutor(len(lanes)) as pool:
        results = pool.map(lambda lane: [step.name for step in lane if not run(step, kept=True)], lanes)
        return [name for failed in results for name in failed]


def dependencies() -> tuple[Step, ...]:
    """Cargo deny where it is installed: compiling it takes minutes, and the workflow always has it."""
    if subprocess.run(("cargo", "deny", "--version"), capture_output=True, check=False).returncode:
        print("== cargo deny is not installed, dependencies not checked: cargo install --locked cargo-deny", flush=True)
        return ()
    return (DENY,)


def rust_tests() -> Step:
    """Cargo test, under coverage where LLVM's tools are to be had."""
    if rust_coverage.find_tools() is None:
        print(f"== Rust coverage is not measured: {rust_coverage.ADVICE}", flush=True)
        return RUST_TESTS
    return RUST_TESTS_MEASURED


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lint", action="store_true", help="only the checks that run no test")
    parser.add_argument("--nightly", action="store_true", help="the repeated tests too")
    chosen = parser.parse_args(arguments)
    cargo = (*CARGO_LINT, *dependencies())
    if chosen.lint:
        failed = run_lanes(cargo, PYTHON_LINT)
    else:
        failed = run_lanes((*cargo, rust_tests()), PYTHON_LINT, (PEERS,))
        print(f"== before pytest: {'all passed' if not failed else 'FAILED: ' + ', '.join(failed)}", flush=True)
        failed += [step.name for step in pytest_steps(nightly=chosen.nightly) if not run(step)]
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)
