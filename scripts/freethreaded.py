"""Test the package on a free-threaded Python: the interpreter lock stays off, and all is right without it.

Makes .venvs/freethreaded with the package compiled for that interpreter, then runs the library's tests there,
and those that share nothing once more in several threads at a time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys

from bootstrap import CONSTRAINTS, PIP, run
from toolchain import ROOT, VENVS, MissingError, check_cargo, check_compiler, venv_program

VENV = VENVS / "freethreaded"
THREADS = 4
ADVICE = (
    "Get one, 3.14 or newer (`uv python install 3.14t`, `pyenv install 3.14t`, or CPython's sources configured with "
    "--disable-gil), and name it: `make freethreaded PYTHON_T=/path/to/python3.14t`"
)
# PyO3 and msgspec have nothing for those before.
IS_FREE = (
    "import sys, sysconfig; sys.exit(sys.version_info < (3, 14) or not sysconfig.get_config_var('Py_GIL_DISABLED'))"
)
STAYS_FREE = "import sys, xetway, xetway._native; sys.exit(sys._is_gil_enabled())"
QUICK = "not peers and not heavy and not nightly"
# Their tests share nothing: no folder, no server.
IN_THREADS = tuple(
    f"tests/native/test_{noun}.py"
    for noun in ("buffer", "chunker", "codec", "errors_raised", "hash", "net", "plan", "shard", "transfer", "xorb")
)


def check_interpreter(python: str) -> str:
    """Raise MissingError unless `python` is new enough and needs no interpreter lock; returns its path."""
    found = shutil.which(python)
    if found is None:
        raise MissingError(f"there is no {python} here. {ADVICE}")
    if subprocess.run((found, "-c", IS_FREE), check=False).returncode:
        raise MissingError(f"{found} is not a free-threaded Python that will do. {ADVICE}")
    return found


def install(python: str) -> None:
    """Make the environment anew, with what `make test` needs and the package."""
    run([python, "-m", "venv", "--clear", VENV], "made .venvs/freethreaded")
    pip = [venv_program("python", VENV), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    registry = "the Python package index"
    run([*pip, PIP], "installed pip", registry)
    tools = ["--constraint", CONSTRAINTS, "--group", "dev", "pytest-run-parallel"]
    run([*pip, *tools, ROOT], "compiled the package, and installed it and its tools", registry)


def test() -> list[str]:
    """Run every check, and return the names of those that failed."""
    python = str(venv_program("python", VENV))
    pytest = (python, "-m", "pytest", "-q", "-m", QUICK)
    steps = {
        "the lock stays off": (python, "-W", "error", "-c", STAYS_FREE),
        "tests": (*pytest, "tests/native"),
        f"tests in {THREADS} threads": (*pytest, f"--parallel-threads={THREADS}", *IN_THREADS),
    }
    failed = []
    for name, command in steps.items():
        print(f"== {name}", flush=True)
        # What the tests compare with may still need the lock: only importing xetway must leave it off by itself.
        env = {**os.environ, "PYTHON_GIL": "0"} if command[1:3] == ("-m", "pytest") else None
        if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
            failed.append(name)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default="python3.14t", help="the free-threaded interpreter")
    chosen = parser.parse_args()
    try:
        python = check_interpreter(chosen.python)
        check_compiler()
        check_cargo()
        install(python)
    except MissingError as error:
        print(f"freethreaded: {error}", file=sys.stderr)
        return 1
    failed = test()
    print(f"== free-threaded: {'all passed' if not failed else 'FAILED: ' + ', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
