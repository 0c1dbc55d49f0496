"""Our Xet client against hf_xet: the same file from the same server, in turn, each time in a process of its own.

Ours verifies every chunk and the file; hf_xet verifies nothing. The content is compared before anything is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from record import GIB, MIB, child, circumstances, cpu_seconds, median, own_cost, table, warm_memory, write
from server_process import ServerProcess, client_environment, create_token, program
from weights import write_weights

import xetway

REPO, FILE = "bench/weights", "model.safetensors"


def by_xetway(task: dict[str, Any]) -> None:
    from xetway import _native  # noqa: PLC0415  # each child loads only its own client

    async def fetch() -> None:
        http = _native.HttpClient(user_agent="xetway-bench")
        credentials = _native.Credentials.fixed(task["cas"], task["token"])
        file = xetway.Hash(task["hash"])
        await _native.download_file(http, file, task["path"], credentials, size=task["size"])

    asyncio.run(fetch())


def by_hf_xet(task: dict[str, Any]) -> None:
    import hf_xet  # noqa: PLC0415

    session = hf_xet.XetSession()
    with session.new_file_download_group(
        endpoint=task["cas"], token=task["token"], token_expiry_unix_secs=int(time.time()) + 3600
    ) as group:
        group.start_download_file(hf_xet.XetFileInfo(task["hash"], task["size"]), task["path"])


CLIENTS = {"xetway": by_xetway, "hf_xet": by_hf_xet}


def run_child(name: str, task: dict[str, Any]) -> None:
    __import__("hf_xet" if name == "hf_xet" else "xetway._native")  # what is timed is the transfer
    began = time.perf_counter()
    CLIENTS[name](task)
    print(json.dumps({"seconds": time.perf_counter() - began, **own_cost()}))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def measure(root: Path, size_mib: int, rounds: int) -> dict[str, Any]:
    folder, data = root / "model", root / "data"
    for made in (folder, data):
        made.mkdir()
    print(f"making {size_mib} MiB ...", flush=True)
    size = write_weights(folder / FILE, size_mib * MIB)
    expected, known = digest(folder / FILE), xetway.hash_file(folder / FILE)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    with ServerProcess(data, home=root) as server:
        env = client_environment(root / "uploader", server.url, create_token(data))
        command = [program("hf"), "upload", REPO, str(folder), "."]
        subprocess.run(command, env=env, check=True, capture_output=True)
        (folder / FILE).unlink()
        with urllib.request.urlopen(f"{server.url}/api/models/{REPO}/xet-read-token/main") as answer:  # noqa: S310
            access = json.load(answer)
        for number in range(rounds + 1):
            for name in CLIENTS if number % 2 else reversed(CLIENTS):
                target = root / f"got-{name}"
                task = {
                    "cas": access["casUrl"],
                    "token": access["accessToken"],
                    "hash": str(known.hash),
                    "size": size,
                    "path": str(target),
                }
                warm_memory(4 * size)
                before = cpu_seconds(server.pids())
                result = child(
                    __file__, name, json.dumps(task), env=client_environment(root / f"user-{name}", server.url)
                )
                result["server_cpu_s_per_gib"] = (cpu_seconds(server.pids()) - before) / (size / GIB)
                if number == 0:  # check the answer, then time it
                    assert digest(target) == expected, f"{name} gave other bytes"
                else:
                    assert target.stat().st_size == size
                    result["mib_per_s"] = size / MIB / result["seconds"]
                    found[name].append(result)
                    print(f"  {name:<8} {result['mib_per_s']:7.0f} MiB/s  {result['rss_mib']:5.0f} MiB", flush=True)
                target.unlink()
        peak = server.peak_rss_bytes()
    return {"size_bytes": size, "rounds": found, "server_peak_rss_mib": (peak or 0) / MIB}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size-mib", type=int, default=1024, help="size of the file (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="timed downloads of each (default: %(default)s)")
    parser.add_argument("--name", default="download", help="of the files in results/ (default: %(default)s)")
    parser.add_argument("--results", type=Path, help="folder for the result (default: results/)")
    parser.add_argument("--child", nargs=2, metavar=("CLIENT", "TASK"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        run_child(chosen.child[0], json.loads(chosen.child[1]))
        return
    with tempfile.TemporaryDirectory(prefix="xetway-bench-") as root:
        data = measure(Path(root), chosen.size_mib, chosen.rounds)
    columns = ("seconds", "mib_per_s", "rss_mib", "cpu_s", "server_cpu_s_per_gib")
    medians = {
        name: {key: median(item[key] for item in runs) for key in columns} for name, runs in data["rounds"].items()
    }
    ratio, memory = (medians["xetway"][key] / medians["hf_xet"][key] for key in ("mib_per_s", "rss_mib"))
    rows = [[name, *(values[key] for key in columns)] for name, values in medians.items()]
    head = ("client", "seconds", "MiB/s", "peak RSS MiB", "CPU s", "server CPU s per GiB")
    text = (
        f"One file of {data['size_bytes'] / MIB:.0f} MiB (bf16 weights), {chosen.rounds} rounds in turn, medians. "
        f"xetway verifies every chunk and the file hash; hf_xet does not.\n\n{table(head, rows)}\n\n"
        f"xetway / hf_xet: **{ratio:.2f}** in throughput, {memory:.2f} in memory. "
        f"Peak memory of the server: {data['server_peak_rss_mib']:.0f} MiB."
    )
    around = circumstances("hf_xet")
    write(
        chosen.name,
        "Download: xetway against hf_xet",
        around,
        {**data, "medians": medians, "ratio": ratio},
        text,
        chosen.results,
    )


if __name__ == "__main__":
    main()
