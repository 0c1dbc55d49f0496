"""Rust line coverage of `cargo test`, by rustc's own instrumentation and LLVM's tools.

Covers the crates whose tests are in Rust. The bindings in rust/py have none: pytest
tests them through Python, and they are left out of the table rather than shown as uncovered.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from toolchain import ROOT

TARGET = ROOT / "target" / "coverage"
ADVICE = "get LLVM's tools with `rustup component add llvm-tools` or your distribution's llvm-19 or newer"
CRATES = ("core", "store", "client", "cache", "mirror", "pool", "shared", "forward", "load")
PACKAGES = tuple(word for crate in CRATES for word in ("--package", f"xetway-{crate}"))


@dataclass(frozen=True)
class Tools:
    """The two programs; they must be at least as new as the profile format rustc writes."""

    profdata: str
    cov: str


def find_tools() -> Tools | None:
    """From the Rust toolchain if it has them, else the newest llvm-profdata-NN on PATH."""
    sysroot = subprocess.run(
        ["rustc", "--print", "sysroot"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for folder in Path(sysroot.strip()).glob("lib/rustlib/*/bin"):
        if (folder / "llvm-profdata").exists() and (folder / "llvm-cov").exists():
            return Tools(str(folder / "llvm-profdata"), str(folder / "llvm-cov"))
    for version in range(30, 18, -1):
        profdata, cov = shutil.which(f"llvm-profdata-{version}"), shutil.which(f"llvm-cov-{version}")
        if profdata and cov:
            return Tools(profdata, cov)
    return None


def test_binaries(env: dict[str, str]) -> list[str]:
    """Build the tests and return the programs cargo made of them."""
    command = ["cargo", "test", "--locked", "--no-run", "--quiet", "--message-format=json", *PACKAGES]
    built = subprocess.run(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True)
    messages = (json.loads(line) for line in built.stdout.splitlines() if line.startswith("{"))
    return [
        message["executable"]
        for message in messages
        if message.get("reason") == "compiler-artifact" and message["profile"]["test"] and message.get("executable")
    ]


def measure(tools: Tools) -> bool:
    """Run all Rust tests instrumented and print the table. Returns whether the tests passed."""
    shutil.rmtree(TARGET / "profiles", ignore_errors=True)
    flags = f"{os.environ.get('RUSTFLAGS', '')} -Cinstrument-coverage".strip()
    env = {
        **os.environ,
        "RUSTFLAGS": flags,
        "CARGO_TARGET_DIR": str(TARGET),
        "LLVM_PROFILE_FILE": str(TARGET / "profiles" / "%p-%m.profraw"),
    }
    binaries = test_binaries(env)
    if subprocess.run(["cargo", "test", "--locked", "--quiet", *PACKAGES], cwd=ROOT, env=env, check=False).returncode:
        return False
    merged = TARGET / "merged.profdata"
    profiles = [str(path) for path in (TARGET / "profiles").glob("*.profraw")]
    subprocess.run([tools.profdata, "merge", "-sparse", *profiles, "-o", str(merged)], check=True)
    objects = [word for binary in binaries[1:] for word in ("-object", binary)]
    ignored = r"--ignore-filename-regex=(\.cargo|rustc|/tests/|tests\.rs|target)"
    command = [tools.cov, "export", "--summary-only", f"--instr-profile={merged}", ignored, binaries[0], *objects]
    summary = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["data"][0]
    print_table(summary)
    return True


def print_table(summary: dict) -> None:
    rows = sorted(
        (Path(entry["filename"]).relative_to(ROOT).as_posix(), entry["summary"]["lines"]) for entry in summary["files"]
    )
    rows.append(("Rust, all lines", summary["totals"]["lines"]))
    width = max(len(name) for name, _ in rows)
    print(f"\n{'Rust coverage':<{width}}   lines  missed  covered")
    for name, lines in rows:
        print(f"{name:<{width}}  {lines['count']:6}  {lines['count'] - lines['covered']:6}  {lines['percent']:6.1f} %")
    print(flush=True)


def main() -> int:
    tools = find_tools()
    if tools is None:
        print(f"Rust coverage cannot be measured: {ADVICE}", file=sys.stderr)
        return 1
    return 0 if measure(tools) else 1


if __name__ == "__main__":
    raise SystemExit(main())
