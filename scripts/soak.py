"""Minutes of mixed load and faults against a mirror: what `make soak` runs.

Readers of every kind download, read ranges, go away in the middle and come back, while the upstream fails in every
way it knows and goes down now and then. Wrong bytes, a request that gets stuck, and memory, file descriptors or
threads that keep growing are failures. Whatever is asked, the upstream is asked by the mirror alone.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from server_process import ServerProcess, client_environment, create_token, program, run_xetway
from upstream import Fault, FaultUpstream, Manners, Rule
from weights import write_weights

MIB = 1024 * 1024
REPO = "soak/models"
FILES = 24
STUCK_S = 150.0
SAMPLE_S = 5.0
CACHE = "120MiB"  # less than all files: something is always thrown out and fetched again
# Between the second and the last quarter of the time; what grows with use has grown by then.
GROWTH = {"rss_mib": 40.0, "descriptors": 30.0, "threads": 4.0}
FAULTS = [fault for fault in Fault if fault is not Fault.STALL]


class SoakError(Exception):
    """Something was wrong; the message says what."""


@dataclass
class Soak:
    """What everybody needs, and what was found out."""

    root: Path
    hub: ServerProcess
    upstream: FaultUpstream
    mirror: ServerProcess
    contents: dict[str, bytes]
    done: threading.Event = field(default_factory=threading.Event)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    busy_since: dict[str, float] = field(default_factory=dict)

    def connection(self) -> http.client.HTTPConnection:
        host = urlsplit(self.mirror.url)
        return http.client.HTTPConnection(host.hostname or "", host.port, timeout=STUCK_S)

    def get(
        self, path: str, start: int | None = None, end: int = 0, leave_after: int | None = None
    ) -> tuple[int, bytes, bool]:
        """Status, body, and whether it is said to be proven; 0 if it broke off, or the reader left as it wanted to."""
        connection = self.connection()
        headers = {} if start is None else {"Range": f"bytes={start}-{end - 1}"}
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            if leave_after is not None:
                answer.read(leave_after)
                return 0, b"", False
            return answer.status, answer.read(), answer.getheader("x-xetway-proof") != "none"
        except TimeoutError:
            raise SoakError(f"{path} got stuck: nothing came for {STUCK_S:.0f} s") from None
        except (http.client.HTTPException, ConnectionError):
            return 0, b"", False
        finally:
            connection.close()


def read_plainly(soak: Soak, random_: random.Random) -> str:
    """A whole file or a range by plain HTTP, perhaps leaving in the middle."""
    name = random_.choice(list(soak.contents))
    data = soak.contents[name]
    start = end = None
    if random_.random() < 0.6:
        start = random_.randrange(len(data))
        end = min(len(data), start + random_.choice([1, 1000, 70_000, 2_000_000]))
    leave = random_.randrange(len(data)) if random_.random() < 0.25 else None
    where = random_.choice([f"/{REPO}/resolve/main/{name}", f"/download/{REPO}/{name}"])
    status, body, proven = soak.get(where, start, end or 0, leave)
    if status in {200, 206} and body != data[start:end]:
        if status == 206 and not proven:
            return "plain: range, wrong and not proven"  # a range may be, as long as it does not claim otherwise
        raise SoakError(f"other bytes for {where} [{start}, {end}), status {status}")
    return {0: "plain: broken off or left", 200: "plain: whole", 206: "plain: range"}.get(status, f"plain: {status}")


def read_as_a_client(soak: Soak, random_: random.Random, number: int) -> str:
    """The real client, in a process of its own; perhaps killed in the middle."""
    home = soak.root / f"user-{number}"
    names = random_.sample(list(soak.contents), 3)
    env = client_environment(home, soak.mirror.url, HF_XET_CLIENT_RETRY_BASE_DELAY="100ms")
    home.mkdir(exist_ok=True)
    target = home / "got"
    command = [program("hf"), "download", REPO, *names, "--local-dir", str(target)]
    running = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    killed = random_.random() < 0.15
    try:
        running.communicate(timeout=random_.uniform(0.5, 2.5) if killed else STUCK_S)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        if not killed:
            raise SoakError(f"hf download {names} got stuck") from None
    if running.returncode == 0:
        for name in names:
            if (target / name).read_bytes() != soak.contents[name]:
                raise SoakError(f"hf download gave other bytes for {name}")
    subprocess.run(["rm", "-rf", str(home)], check=True)
    return "client: whole" if running.returncode == 0 else "client: killed" if killed else "client: refused"


def ask_the_api(soak: Soak, random_: random.Random) -> str:
    """Listings, infos, heads and tokens."""
    name = random_.choice(list(soak.contents))
    path = random_.choice(
        [
            f"/api/models/{REPO}",
            f"/api/models/{REPO}/revision/main",
            f"/api/models/{REPO}/tree/main?recursive=true",
            f"/api/models/{REPO}/xet-read-token/main",
            f"/{REPO}/resolve/main/{name}.nowhere",
            "/metrics",
        ]
    )
    soak.done.wait(0.05)
    status, body, _ = soak.get(path)
    if status == 200 and path.startswith("/api"):
        json.loads(body)
    return f"api: {status}"


def trouble(soak: Soak, random_: random.Random) -> str:
    """New faults for a few seconds; now and then everything is down."""
    soak.upstream.clear()
    if random_.random() < 0.1:
        soak.upstream.down(*random_.sample(["hub", "cas", "cdn"], random_.randint(1, 3)))
        soak.done.wait(random_.uniform(0.2, 3))
        soak.upstream.up()
    for fault in random_.sample(FAULTS, 3):
        kind = random_.choice(["xorb_bytes", "xorb_bytes", "plain_bytes", "cas_json", "hub_api"])
        soak.upstream.add(Rule(fault, kind, times=None, probability=random_.uniform(0.02, 0.25), seconds=3.0))
    soak.upstream.add(Rule(Fault.STALL, probability=0.005, times=1))
    soak.done.wait(random_.uniform(2, 8))
    return "trouble"


def worker(soak: Soak, name: str, seed: str, work: Callable[[Soak, random.Random], str]) -> None:
    """Do the work again and again until the time is over."""
    random_ = random.Random(f"{seed} {name}")  # noqa: S311  # a load that can be repeated, no secret
    while not soak.done.is_set():
        soak.busy_since[name] = time.monotonic()
        try:
            soak.counts[work(soak, random_)] += 1
        except SoakError as error:
            soak.wrong.append(f"{name}: {error}")
        except Exception as error:  # noqa: BLE001  # a bug of the soak must not pass for silence
            soak.wrong.append(f"{name} itself failed: {type(error).__name__}: {error}")
    soak.busy_since.pop(name, None)


def sample(mirror: ServerProcess) -> dict[str, float]:
    """Memory, open file descriptors and threads of the mirror's processes."""
    pids = mirror.pids()
    folders = [Path(f"/proc/{pid}") for pid in pids]
    return {
        "rss_mib": (mirror.rss_bytes() or 0) / MIB,
        "descriptors": float(sum(1 for folder in folders for _ in (folder / "fd").iterdir())),
        "threads": float(sum(1 for folder in folders for _ in (folder / "task").iterdir())),
    }


def growth(samples: list[dict[str, float]], key: str) -> float:
    """By how much the median of the last quarter is above that of the second."""
    quarter = max(1, len(samples) // 4)

    def middle(part: list[dict[str, float]]) -> float:
        values = sorted(item[key] for item in part)
        return values[len(values) // 2]

    return middle(samples[-quarter:]) - middle(samples[quarter : 2 * quarter])


def fill(root: Path, hub: ServerProcess, random_: random.Random) -> dict[str, bytes]:
    """Upload files of many sizes, some of which share content."""
    folder = root / "model"
    folder.mkdir()
    for number in range(FILES):
        path = folder / f"file-{number}.bin"
        if number % 3 == 0:
            write_weights(path, 16 * MIB, seed=number // 6)
            with path.open("r+b") as file:
                file.seek(random_.randrange(8 * MIB))
                file.write(random_.randbytes(500_000))
        else:
            path.write_bytes(random_.randbytes(random_.choice([3_000, 200_000, 3_000_000, 9_000_000])))
    (folder / "config.json").write_text('{"small": true}\n')
    env = client_environment(root / "uploader", hub.url, create_token(hub.data))
    for digit in "0123456789":  # several uploads, so that there are many xorbs
        command = [
            program("hf"),
            "upload",
            REPO,
            str(folder),
            ".",
            "--include",
            f"*{digit}.*",
            "--include",
            "config.json",
        ]
        subprocess.run(command, env=env, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(soak: Soak, seconds: float, seed: str, readers: int, clients: int) -> list[dict[str, float]]:
    """The load, sampled until the time is over; then everybody must come to an end."""
    jobs: list[tuple[str, Callable[[Soak, random.Random], str]]] = [("trouble", trouble)]
    jobs += [(f"plain-{number}", read_plainly) for number in range(readers)]
    jobs += [(f"api-{number}", ask_the_api) for number in range(2)]
    jobs += [
        (f"client-{number}", lambda soak, random_, number=number: read_as_a_client(soak, random_, number))
        for number in range(clients)
    ]
    threads = [threading.Thread(target=worker, args=(soak, name, seed, work), daemon=True) for name, work in jobs]
    for thread in threads:
        thread.start()
    samples: list[dict[str, float]] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until and soak.mirror.process.poll() is None and not soak.wrong:
        soak.done.wait(min(SAMPLE_S, seconds / 20))
        samples.append(sample(soak.mirror))
        now = samples[-1]
        print(
            f"  {until - time.monotonic():5.0f} s left: {now['rss_mib']:4.0f} MiB, {now['descriptors']:3.0f} files, "
            f"{now['threads']:3.0f} threads, {sum(soak.counts.values())} done",
            flush=True,
        )
    soak.done.set()
    soak.upstream.clear()
    deadline = time.monotonic() + STUCK_S + 10
    for thread in threads:
        thread.join(max(0.1, deadline - time.monotonic()))
    soak.wrong += [f"{name} is stuck since {time.monotonic() - since:.0f} s" for name, since in soak.busy_since.items()]
    return samples


def settle(mirror: ServerProcess, upstream: FaultUpstream) -> dict[str, float]:
    """What is left when nobody asks anything any more: waits until it is little, for half a minute at most."""
    until = time.monotonic() + 30
    while time.monotonic() < until and sample(mirror)["descriptors"] > 60:
        time.sleep(0.5)
    return {**sample(mirror), "connections": float(upstream.connections)}


def judge(soak: Soak, samples: list[dict[str, float]], left: dict[str, float]) -> list[str]:
    """All that is wrong."""
    wrong = list(soak.wrong)
    if soak.mirror.process.poll() is not None:
        wrong.append(f"the mirror ended with exit code {soak.mirror.process.returncode}:\n{soak.mirror.log[-3000:]}")
    for key, most in GROWTH.items():
        grown = growth(samples, key)
        print(f"  {key}: grew by {grown:.1f} (at most {most:.0f} is allowed)")
        if grown > most:
            wrong.append(f"{key} keeps growing: by {grown:.1f}")
    if left["descriptors"] > 100:
        wrong.append(f"{left['descriptors']:.0f} file descriptors are open when nobody asks anything any more")
    for word in ("Traceback", "panicked", "Signature="):
        if word in soak.mirror.log:
            line = next(line for line in soak.mirror.lines if word in line)
            wrong.append(f"the mirror's log has {word}: {line[:300]}")
    needed = ("plain: whole", "plain: range", "client: whole")
    return wrong + [f"nothing of the kind '{kind}' ever got through" for kind in needed if not soak.counts[kind]]


def check_at_the_end(soak: Soak) -> list[str]:
    """Without faults every file is right, and the cache holds nothing that is not."""
    wrong = []
    for name, data in soak.contents.items():
        status, body, _ = soak.get(f"/{REPO}/resolve/main/{name}")
        if status != 200 or hashlib.sha256(body).digest() != hashlib.sha256(data).digest():
            wrong.append(f"without faults, {name} is answered {status} with {len(body)} of {len(data)} bytes")
    found = run_xetway(soak.mirror.data, "cache", "verify", expect=(0, 1))
    if found.returncode:
        wrong.append(f"cache verify: {found.stdout}{found.stderr}")
    return wrong


def verdict(seed: str, wrong: list[str]) -> int:
    """Print what came out; returns the exit code."""
    if wrong:
        print(f"\nsoak: FAILED (seed {seed}):", *wrong[:20], sep="\n  ", file=sys.stderr)
        return 1
    print("\nsoak: passed")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)), help="repeats a load")
    parser.add_argument("--readers", type=int, default=6, help="plain readers (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=2, help="real clients (default: %(default)s)")
    chosen = parser.parse_args()
    if not Path("/proc/self/fd").exists():
        print("soak: needs /proc", file=sys.stderr)
        return 1
    random_ = random.Random(chosen.seed)  # noqa: S311  # as above
    print(f"soak: {chosen.minutes:g} minutes, seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="xetway-soak-") as folder:
        root = Path(folder)
        for name in ("hub", "mirror"):
            (root / name).mkdir()
        with ServerProcess(root / "hub", home=root) as hub:
            contents = fill(root, hub, random_)
            manners = Manners(page_entries=7, address_life_s=20.0, token_life_s=100.0, exact_ranges=True)
            options = ("--cache-size", CACHE)
            with (
                FaultUpstream(hub.url, hub.data, manners, seed=random_.randrange(10**9), remembered=2_000) as upstream,
                ServerProcess(root / "mirror", "--upstream", upstream.url, *options, home=root) as mirror,
            ):
                soak = Soak(root, hub, upstream, mirror, contents)
                samples = run(soak, chosen.minutes * 60, chosen.seed, chosen.readers, chosen.clients)
                left = settle(mirror, upstream)
                wrong = judge(soak, samples, left)
                if mirror.process.poll() is None:
                    wrong += check_at_the_end(soak)
    for kind, count in sorted(soak.counts.items()):
        print(f"  {count:6} {kind}")
    print(f"  at the end, idle: {', '.join(f'{value:.0f} {name}' for name, value in left.items())}")
    return verdict(chosen.seed, wrong)


if __name__ == "__main__":
    raise SystemExit(main())
