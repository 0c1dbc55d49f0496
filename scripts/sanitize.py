"""Run the Rust tests where memory and threads are watched: Miri, AddressSanitizer, ThreadSanitizer.

Miri interprets the codec's tests, each for a while only: it takes hundreds of times as long, and what it has not
finished by then is listed. The sanitizers run all tests of all crates, with a standard library compiled for them.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys

import rust_coverage
from toolchain import ROOT, MissingError, require

TOOLS = (
    (("cargo", "+nightly", "--version"), "a nightly toolchain: rustup toolchain install nightly"),
    (("cargo", "+nightly", "miri", "--version"), "Miri: rustup +nightly component add miri"),
    (("cargo", "+nightly", "miri", "setup"), "Rust's own sources: rustup +nightly component add rust-src"),
)
MIRI = (
    "cargo",
    "+nightly",
    "miri",
    "test",
    "--locked",
    "--quiet",
    "--package",
    "xetway-core",
    "--lib",
    "--tests",
    "--",
)
MIRI_ENV = {"MIRIFLAGS": "-Zmiri-disable-isolation", "PROPTEST_CASES": "2"}


def miri_test(name: str, seconds: int) -> int | None:
    """Exit code of one test, None if it takes longer than `seconds`."""
    env = {**os.environ, **MIRI_ENV}
    with subprocess.Popen((*MIRI, "--exact", name), cwd=ROOT, env=env, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None


def miri(seconds: int) -> bool:
    """Each test of the codec by itself; whether none failed."""
    env = {**os.environ, **MIRI_ENV}
    listed = subprocess.run((*MIRI, "--list"), cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
    names = [line.removesuffix(": test") for line in listed.splitlines() if line.endswith(": test")]
    codes = {name: miri_test(name, seconds) for name in names}
    unfinished = [name for name, code in codes.items() if code is None]
    failed = [name for name, code in codes.items() if code]
    print(f"== not finished within {seconds} s: {', '.join(unfinished) or 'none'}", flush=True)
    print(f"== Miri: {len(names) - len(unfinished) - len(failed)} passed, {len(failed)} failed", *failed, flush=True)
    return not failed and len(unfinished) < len(names)


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
    parser.add_argument("--miri-seconds", type=int, default=20, help="for each test")
    chosen = parser.parse_args()
    try:
        require(TOOLS)
    except MissingError as error:
        print(f"sanitize: needs {error}", file=sys.stderr)
        return 1
    failed = []
    for name in chosen.checks or ("miri", "address", "thread"):
        print(f"== {name}", flush=True)
        if not (miri(chosen.miri_seconds) if name == "miri" else sanitizer(name)):
            failed.append(name)
    print(f"== sanitize: {'FAILED: ' + ', '.join(failed) if failed else 'all passed'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
