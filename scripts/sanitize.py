"""Run the Rust tests where memory and threads are watched: Miri, AddressSanitizer, ThreadSanitizer.

Miri interprets the few tests named here, for it takes thousands of times as long: the pool, the chunker on several
threads, the hashes. The sanitizers run all tests of all crates, with a standard library compiled for them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import rust_coverage
from toolchain import ROOT, MissingError, require

TOOLS = (
    (("cargo", "+nightly", "--version"), "a nightly toolchain: rustup toolchain install nightly"),
    (("cargo", "+nightly", "miri", "--version"), "Miri: rustup +nightly component add miri"),
    (("cargo", "+nightly", "miri", "setup"), "Rust's own sources: rustup +nightly component add rust-src"),
)
# crossbeam, below the pool, breaks the stacked rules for borrows, and threads of the pool never end.
MIRI_FLAGS = "-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks"
MIRI_TESTS = {
    "xetway-pool": (),
    "xetway-core": ("parallel::any_length", "hash::"),
}


def miri() -> bool:
    """The tests that have several threads or code of others with `unsafe`; whether they passed."""
    env = {**os.environ, "MIRIFLAGS": MIRI_FLAGS}
    command = ("cargo", "+nightly", "miri", "test", "--locked", "--quiet", "--tests")
    codes = [
        subprocess.run((*command, "--package", name, "--", *tests), cwd=ROOT, env=env, check=False).returncode
        for name, tests in MIRI_TESTS.items()
    ]
    return not any(codes)


def sanitizer(name: str) -> bool:
    """All tests with the sanitizer of that name; whether they passed."""
    version = subprocess.run(("rustc", "+nightly", "-vV"), capture_output=True, text=True, check=True).stdout
    target = next(line.removeprefix("host: ") for line in version.splitlines() if line.startswith("host: "))
    build = ("-Zbuild-std", "--target", target, "--target-dir", str(ROOT / "target" / name))
    command = ("cargo", "+nightly", "test", "--locked", "--quiet", *build, "--lib", "--tests", *rust_coverage.PACKAGES)
    env = {**os.environ, "RUSTFLAGS": f"-Zsanitizer={name}", "TSAN_OPTIONS": "halt_on_error=1"}
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "checks",
        nargs="*",
        choices=["miri", "address", "thread", []],
        metavar="CHECK",
        help="miri, address, thread; all if none is named",
    )
    chosen = parser.parse_args()
    try:
        require(TOOLS)
    except MissingError as error:
        print(f"sanitize: needs {error}", file=sys.stderr)
        return 1
    failed = []
    for name in chosen.checks or ("miri", "address", "thread"):
        print(f"== {name}", flush=True)
        if not (miri() if name == "miri" else sanitizer(name)):
            failed.append(name)
    print(f"== sanitize: {'FAILED: ' + ', '.join(failed) if failed else 'all passed'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
