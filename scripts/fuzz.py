"""Run every fuzz target of rust/fuzz for a while each; stops at the first that finds something."""

from __future__ import annotations

import argparse
import subprocess
import sys

from toolchain import ROOT, MissingError, require

FUZZ = ROOT / "rust" / "fuzz"
TOOLS = (
    (("cargo", "+nightly", "--version"), "a nightly toolchain: rustup toolchain install nightly"),
    (("cargo", "fuzz", "--version"), "cargo-fuzz: cargo install --locked cargo-fuzz"),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    seconds = parser.parse_args().seconds
    try:
        require(TOOLS)
    except MissingError as error:
        print(f"fuzz: needs {error}", file=sys.stderr)
        return 1
    for target in sorted(path.stem for path in (FUZZ / "fuzz_targets").glob("*.rs")):
        print(f"== fuzz {target} for {seconds} s", flush=True)
        limits = [f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-timeout=10"]
        command = ["cargo", "+nightly", "fuzz", "run", "--fuzz-dir", str(FUZZ), target, "--", *limits]
        if subprocess.run(command, cwd=ROOT, check=False).returncode:
            return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
