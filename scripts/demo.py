"""The main job from end to end, with the real clients: what `make demo` runs.

Starts `xetway serve` on a temporary folder, uploads two versions of a model with `hf`, downloads it
again with `hf` and `curl`; then starts a second server as a mirror of the first and downloads both
versions through that, twice. Compares the SHA-256 of everything, and prints what it cost. Leaves
nothing behind; exits non-zero on any difference.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from server_process import (
    ServerError,
    ServerProcess,
    clean_environment,
    client_environment,
    create_token,
    program,
    stored_bytes,
)
from weights import change, write_weights

import xetway

REPO = "demo/tiny-llm"
MODEL = "model.safetensors"
MIB = 1024 * 1024
FETCHED = "xetway_mirror_content_fetched_bytes_total"
README = "---\nlicense: apache-2.0\n---\n# A model made for the demo\n\nRandom weights; only good for moving about.\n"


class DemoError(Exception):
    """The demo did not work: the message says which step, and what its program printed."""


@dataclass
class Step:
    """One row of the table."""

    name: str
    seconds: float
    size: int
    stored: int | None = None
    fetched: int | None = None


@dataclass
class Demo:
    """Where everything is, and what was found out so far."""

    root: Path
    url: str
    token: str
    steps: list[Step] = field(default_factory=list)
    compared: int = 0

    def timed(self, name: str, size: int, work: Callable[[], None]) -> Step:
        print(f"  {name} ...", flush=True)
        began = time.perf_counter()
        work()
        step = Step(name, time.perf_counter() - began, size)
        self.steps.append(step)
        return step

    def same(self, what: str, expected: str, path: Path) -> None:
        """Raise DemoError unless the file at `path` has the SHA-256 `expected`."""
        actual = sha256(path)
        if actual != expected:
            raise DemoError(f"{what} differs: SHA-256 {actual}, uploaded was {expected}")
        self.compared += 1


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def run(command: list[str], env: dict[str, str]) -> str:
    answer = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if answer.returncode:
        shown = " ".join(Path(command[0]).name if word == command[0] else word for word in command)
        raise DemoError(f"`{shown}` failed with exit code {answer.returncode}:\n{answer.stdout.strip()}")
    return answer.stdout


def upload(demo: Demo, data: Path, folder: Path, name: str) -> str:
    """`hf upload` the folder; returns the id of the commit it made."""
    before = stored_bytes(data)
    env = client_environment(demo.root / "uploader", demo.url, demo.token)
    size = sum(path.stat().st_size for path in folder.iterdir())
    step = demo.timed(name, size, lambda: run([program("hf"), "upload", REPO, str(folder), "."], env) and None)
    step.stored = stored_bytes(data) - before
    with urllib.request.urlopen(f"{demo.url}/api/models/{REPO}/revision/main") as answer:  # noqa: S310  # loopback
        return str(json.load(answer)["sha"])


def download(demo: Demo, revision: str, expected: dict[str, str], name: str, *, url: str | None = None) -> int:
    """`hf download` the revision into a fresh HF_HOME and compare every file; returns their size."""
    home = demo.root / f"reader-{len(demo.steps)}"
    target = home / "model"
    home.mkdir()
    command = [program("hf"), "download", REPO, "--revision", revision, "--local-dir", str(target)]
    step = demo.timed(name, 0, lambda: run(command, client_environment(home, url or demo.url)) and None)
    for file, digest in expected.items():
        demo.same(f"{file} of revision {revision[:12]}, downloaded by hf", digest, target / file)
    step.size = sum((target / file).stat().st_size for file in expected)
    shutil.rmtree(home)
    return step.size


def fetched_bytes(mirror: ServerProcess) -> int:
    """What the mirror has fetched from its upstream so far, by its own metrics."""
    with urllib.request.urlopen(f"{mirror.url}/metrics") as answer:  # noqa: S310  # loopback
        for line in answer.read().decode().splitlines():
            name, _, value = line.partition(" ")
            if name == FETCHED:
                return int(float(value))
    raise DemoError(f"the mirror's metrics have no {FETCHED}")


def through_mirror(demo: Demo, mirror: ServerProcess, revision: str, expected: dict[str, str], name: str) -> None:
    """Download through the mirror and note what it had to fetch for that."""
    before = fetched_bytes(mirror)
    size = download(demo, revision, expected, name, url=mirror.url)
    demo.steps[-1].fetched = fetched_bytes(mirror) - before
    if name.endswith("again") and demo.steps[-1].fetched:
        raise DemoError(f"the mirror fetched {demo.steps[-1].fetched} of {size} bytes that it had")


def curl(demo: Demo, path: str, expected: str, size: int) -> None:
    target = demo.root / "curl.bin"
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(target), f"{demo.url}{path}"]
    demo.timed(
        f"curl {path if len(path) < 50 else path[:30] + '...'}",
        size,
        lambda: run(command, clean_environment(demo.root)) and None,
    )
    demo.same(f"what curl got from {path}", expected, target)
    target.unlink()


def table(demo: Demo, data: Path, peaks: tuple[int | None, int | None]) -> str:
    """The figures, ready to print."""
    rows = [f"  {'step':<46}{'MiB':>9}{'stored MiB':>12}{'fetched MiB':>13}{'seconds':>9}{'MiB/s':>9}"]
    for step in demo.steps:
        stored, fetched = ("" if cost is None else f"{cost / MIB:.1f}" for cost in (step.stored, step.fetched))
        size, rate = step.size / MIB, step.size / MIB / step.seconds
        rows.append(f"  {step.name:<46}{size:>9.1f}{stored:>12}{fetched:>13}{step.seconds:>9.2f}{rate:>9.1f}")
    logical = sum(step.size for step in demo.steps if step.stored is not None)
    kept = stored_bytes(data)
    rows += [
        "",
        (
            f"  uploaded {logical / MIB:.1f} MiB, stored {kept / MIB:.1f} MiB: {(logical - kept) / MIB:.1f} MiB "
            f"({100 * (logical - kept) / logical:.1f} %) deduplicated or compressed away"
        ),
        f"  peak memory: server {memory(peaks[0])}, mirror {memory(peaks[1])}",
        f"  {demo.compared} files compared by SHA-256: all the same",
    ]
    return "\n".join(rows)


def memory(peak: int | None) -> str:
    return "not known on this system" if peak is None else f"{peak / MIB:.0f} MiB"


def tell(root: Path, size_bytes: int) -> None:
    """Run the demo in `root`. Raises DemoError at the first thing that is not as it should be."""
    data, folder = root / "data", root / "model"
    data.mkdir()
    folder.mkdir()
    for name in ("uploader", "server"):
        (root / name).mkdir()
    print(f"  making {MODEL} (bf16) ...", flush=True)
    write_weights(folder / MODEL, size_bytes)
    (folder / "README.md").write_text(README, encoding="utf-8")
    (folder / "empty.txt").touch()
    first = {path.name: sha256(path) for path in folder.iterdir()}
    with ServerProcess(data, home=root / "server") as server:
        print(f"  xetway serve: {server.url}", flush=True)
        demo = Demo(root, server.url, create_token(data))
        try:
            first_commit = upload(demo, data, folder, "hf upload, first version")
            change(folder / MODEL, 0.05)
            second = {path.name: sha256(path) for path in folder.iterdir()}
            upload(demo, data, folder, "hf upload, second version (5 % changed)")
            download(demo, "main", second, "hf download, newest")
            download(demo, first_commit, first, "hf download, first version by its commit")
            known = xetway.hash_file(folder / MODEL)
            curl(demo, f"/download/{REPO}/{MODEL}", second[MODEL], known.size)
            curl(demo, f"/download-hash/{known.hash}", second[MODEL], known.size)
            (root / "cache").mkdir()
            with ServerProcess(root / "cache", "--upstream", server.url, home=root / "server") as mirror:
                print(f"  xetway serve --upstream {server.url}: {mirror.url}", flush=True)
                through_mirror(demo, mirror, first_commit, first, "hf download through a mirror, first version")
                through_mirror(demo, mirror, "main", second, "hf download through a mirror, second version")
                through_mirror(demo, mirror, "main", second, "hf download through a mirror, again")
                peaks = server.peak_rss_bytes(), mirror.peak_rss_bytes()
        except DemoError as error:
            raise DemoError(f"{error}\n\nThe server's last lines:\n" + "\n".join(server.lines[-15:])) from None
        print("\n" + table(demo, data, peaks), flush=True)


def interrupted(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mib", type=int, default=224, help="size of the weights file (default: %(default)s)")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    if shutil.which("curl") is None:
        print("demo: curl is missing (for example `apt install curl`)", file=sys.stderr)
        return 1
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("xetway", "huggingface_hub", "hf_xet")
    )
    print(f"demo: {versions}", flush=True)
    with tempfile.TemporaryDirectory(prefix="xetway-demo-") as root:
        try:
            tell(Path(root), chosen.size_mib * MIB)
        except (DemoError, ServerError) as error:
            print(f"\ndemo: FAILED: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\ndemo: stopped", file=sys.stderr)
            return 130
    print("\ndemo: passed", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
