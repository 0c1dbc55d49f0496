"""`hf download` straight from a hub, through a mirror that has nothing, and through one that has everything.

The hub and the mirror run on this machine beside the client, so a cold download does twice the work on the same
cores. That tells what each way costs. A mirror is for hubs that are further away: the same behind a link of limited
speed (link.py) tells what its users see. What is timed is hf_hub_download in a process of its own, with an empty cache.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from record import GIB, MIB, child, circumstances, cpu_seconds, median, own_cost, table, warm_memory, write
from server_process import ServerProcess, client_environment, create_token, program
from weights import write_weights

REPO, FILE = "bench/weights", "model.safetensors"
SMALL = 24  # files for the time to the first byte


def run_child(folder: str) -> None:
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  # only the child needs it

    began = time.perf_counter()
    path = hf_hub_download(REPO, FILE, local_dir=folder)
    print(json.dumps({"seconds": time.perf_counter() - began, "path": path, **own_cost()}))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def first_byte_ms(url: str, path: str) -> float:
    """From the first byte of the question to the first of the content, on a connection of its own."""
    host = urlsplit(url)
    began = time.perf_counter()
    connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200, answer.status
    answer.read(1)
    taken = time.perf_counter() - began
    connection.close()
    return taken * 1000


def download(root: Path, url: str, busy: list[ServerProcess], expected: str | None, size: int) -> dict:
    """One download by the real client, and what the servers spent on it."""
    target = root / "got"
    shutil.rmtree(root / "user", ignore_errors=True)
    warm_memory(4 * size)
    before = [cpu_seconds(one.pids()) for one in busy]
    result = child(__file__, str(target), env=client_environment(root / "user", url))
    result["server_cpu_s_per_gib"] = sum(
        cpu_seconds(one.pids()) - start for one, start in zip(busy, before, strict=True)
    ) / (size / GIB)
    result["mib_per_s"] = size / MIB / result["seconds"]
    path = Path(result.pop("path"))
    assert path.stat().st_size == size
    assert expected is None or digest(path) == expected, "other bytes came"
    shutil.rmtree(target)
    return result


@contextlib.contextmanager
def link(hub: ServerProcess, mbit_per_s: int) -> Iterator[str]:
    """The hub's address behind a link of limited speed."""
    there = urlsplit(hub.url)
    command = [sys.executable, str(Path(__file__).with_name("link.py")), str(there.hostname), str(there.port)]
    with subprocess.Popen([*command, str(mbit_per_s * 1e6 / 8)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def rounds_of(
    root: Path, hub: ServerProcess, upstream: str, count: int, expected: str, size: int
) -> tuple[dict[str, list[dict[str, float]]], dict[str, list[float]], float]:
    """Direct, cold and warm in turn, the first round untimed; times to the first byte, and the mirror's peak memory."""
    found: dict[str, list[dict[str, float]]] = {"direct": [], "cold": [], "warm": []}
    firsts: dict[str, list[float]] = {}
    peak = 0
    for number in range(count + 1):
        data = root / "mirror"
        shutil.rmtree(data, ignore_errors=True)
        data.mkdir()
        with ServerProcess(data, "--upstream", upstream, home=root) as mirror:
            check = expected if number == 0 else None
            ways = {"direct": (upstream, [hub]), "cold": (mirror.url, [hub, mirror]), "warm": (mirror.url, [mirror])}
            for name in ("direct", "cold", "warm") if number % 2 else ("cold", "warm", "direct"):
                result = download(root, *ways[name], check, size)
                if number:
                    found[name].append(result)
                    print(f"  {name:<7} {result['mib_per_s']:7.0f} MiB/s", flush=True)
            if number == count:
                firsts = times_to_first_byte(upstream, mirror.url)
                peak = mirror.peak_rss_bytes() or 0
    return found, firsts, peak / MIB


def measure(root: Path, size_mib: int, rounds: int, mbit_per_s: int) -> dict[str, Any]:
    folder, small = root / "model", root / "small"
    for made in (folder, small, root / "hub"):
        made.mkdir()
    print(f"making {size_mib} MiB ...", flush=True)
    size = write_weights(folder / FILE, size_mib * MIB)
    for number in range(SMALL):
        write_weights(small / f"{number}.safetensors", 8 * MIB, seed=number)
    expected = digest(folder / FILE)
    scenes: dict[str, Any] = {}
    with ServerProcess(root / "hub", home=root) as hub:
        env = client_environment(root / "uploader", hub.url, create_token(root / "hub"))
        for repo, path in ((REPO, folder), (f"{REPO}-small", small)):
            command = [program("hf"), "upload", repo, str(path), "."]
            subprocess.run(command, env=env, check=True, capture_output=True)
        (folder / FILE).unlink()
        with link(hub, mbit_per_s) as slow:
            for name, upstream in (("loopback", hub.url), ("link", slow)):
                print(name, flush=True)
                found, firsts, peak = rounds_of(root, hub, upstream, rounds, expected, size)
                scenes[name] = {
                    "rounds": found,
                    "first_byte_ms": {way: median(values) for way, values in firsts.items()},
                    "mirror_peak_rss_mib": peak,
                }
    return {"size_bytes": size, "link_mbit_per_s": mbit_per_s, **scenes}


def times_to_first_byte(hub: str, mirror: str) -> dict[str, list[float]]:
    """For each small file: straight, when the mirror has nothing of it, and when it has all."""
    found: dict[str, list[float]] = {"direct": [], "cold": [], "warm": []}
    for number in range(SMALL):
        path = f"/{REPO}-small/resolve/main/{number}.safetensors"
        found["direct"].append(first_byte_ms(hub, path))
        found["cold"].append(first_byte_ms(mirror, path))
        connection = http.client.HTTPConnection(urlsplit(mirror).netloc, timeout=60)
        connection.request("GET", path)
        connection.getresponse().read()
        connection.close()
        found["warm"].append(first_byte_ms(mirror, path))
    return found


COLUMNS = ("seconds", "mib_per_s", "cpu_s", "server_cpu_s_per_gib")
HEAD = ("way", "seconds", "MiB/s", "client CPU s", "servers' CPU s per GiB", "of direct", "first byte ms")


def summary(scene: dict[str, Any]) -> str:
    """The table of one scene, and what it says; adds medians and ratios to it."""
    medians = {
        name: {key: median(run[key] for run in runs) for key in COLUMNS} for name, runs in scene["rounds"].items()
    }
    ratios = {name: values["mib_per_s"] / medians["direct"]["mib_per_s"] for name, values in medians.items()}
    scene.update(medians=medians, ratios=ratios)
    first = scene["first_byte_ms"]
    rows = [[name, *(values[key] for key in COLUMNS), ratios[name], first[name]] for name, values in medians.items()]
    return (
        f"{table(HEAD, rows)}\n\n"
        f"Through the mirror: warm **{ratios['warm']:.2f}** of direct, cold **{ratios['cold']:.2f}**. "
        f"Added to the first byte: warm {first['warm'] - first['direct']:+.1f} ms, "
        f"cold {first['cold'] - first['direct']:+.1f} ms. "
        f"Peak memory of the mirror: {scene['mirror_peak_rss_mib']:.0f} MiB."
    )


def bound(scene: dict[str, Any], size: int, cores: int) -> str:
    """How quick a cold download could be where hub, mirror and client share these cores."""
    medians, gib = scene["medians"], size / GIB
    direct = medians["direct"]["cpu_s"] + medians["direct"]["server_cpu_s_per_gib"] * gib
    passed_on = direct + medians["warm"]["server_cpu_s_per_gib"] * gib
    scene["cold_bound"] = direct / passed_on
    return (
        f"Client and hub spend {direct:.1f} s of CPU on a direct download, in {medians['direct']['seconds']:.1f} s on "
        f"{cores} cores; with a mirror that only hands on what it has they spend {passed_on:.1f} s. Were fetching, "
        f"proving and storing free, a cold download could be {scene['cold_bound']:.2f} of direct here, where all share "
        "the cores."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed downloads of each (default: %(default)s)")
    parser.add_argument("--link-mbit", type=int, default=1000, help="speed of the link (default: %(default)s)")
    parser.add_argument("--results", type=Path, help="folder for the result (default: results/)")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run_child(chosen.child)
        return
    with tempfile.TemporaryDirectory(prefix="xetway-bench-") as root:
        data = measure(Path(root), chosen.size_mib, chosen.rounds, chosen.link_mbit)
    around = circumstances("huggingface_hub", "hf_xet")
    text = (
        f"One file of {data['size_bytes'] / MIB:.0f} MiB (bf16 weights) with hf_hub_download, {chosen.rounds} rounds, "
        "medians. Hub, mirror and client share this machine and its cores.\n\n"
        f"## The hub on the same machine\n\n{summary(data['loopback'])}\n\n"
        f"{bound(data['loopback'], data['size_bytes'], around['cores'])}\n\n"
        f"## The hub behind a link of {chosen.link_mbit} Mbit/s\n\n{summary(data['link'])}"
    )
    write("mirror", "Mirror: hf download direct, cold and warm", around, data, text, chosen.results)


if __name__ == "__main__":
    main()
