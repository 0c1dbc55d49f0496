"""Minutes of mixed load on the gateway, over upstreams that fail in every way: what `make soak-gateway` runs.

Every answer is a function of its question, so a wrong byte is found, and so is an answer to someone else. What clients
counted has to be what /metrics tells. In the end nothing may be held for anyone, and nothing may have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import gateway_crowd as crowd
import msgspec
from model_upstream import ModelUpstream, Trouble
from raw_client import Link, ask_once, request
from server_process import ServerProcess
from soak import growth, sample, verdict

# Between the second and the last quarter of the time.
GROWTH = {"rss_mib": 12.0, "descriptors": 40.0, "threads": 2.0}
# More than there is when nobody has asked anything yet; unused connections to upstreams are not counted.
REST = {"descriptors": 16.0, "threads": 8.0, "asked": 0.0}
REST_S = 45.0
PLACES = 4
UPSTREAMS = {
    "steady": (Trouble.NONE,),
    "slow": (Trouble.SLOW,),
    "cut": (Trouble.CUT, Trouble.NONE, Trouble.NONE),
    "refusing": (Trouble.REFUSAL, Trouble.NONE),
    "rude": (Trouble.GARBAGE, Trouble.NONE),
    "poisoned": (Trouble.POISON, Trouble.NONE),
    "dripping": (Trouble.DRIP, Trouble.SLOW, Trouble.CLOSE, Trouble.NONE),
    "stalling": (Trouble.STALL, Trouble.NONE, Trouble.NONE),
}
LOG = Path(tempfile.gettempdir()) / "xetway-soak-gateway.log"
CONFIG = f"""
[auth]
enabled = true
[limits]
enabled = false
[queue]
max_size = 500
model_concurrency = 12
concurrency = 40
[breaker]
open_for = 0.2
[cache]
enabled = true
max_bytes = "256KiB"
max_answer_bytes = "64KiB"
ttl = 3
[batching]
enabled = true
[http]
max_body_bytes = {crowd.MAX_BODY_BYTES}
timeout = 60
idle_timeout = 20
"""
KINDS: list[tuple[crowd.Kind, int]] = [
    (crowd.ask_steadily, 4),
    (crowd.ask_in_trouble, 12),
    (crowd.ask_again, 3),
    (crowd.embed, 4),
    (crowd.transcribe, 1),
    (crowd.wait_for_a_place, 6),
    (crowd.ask_wrongly, 2),
    (crowd.administer, 1),
    (crowd.leave, 4),
]


def configuration(urls: dict[str, str]) -> str:
    """The gateway's settings: a model for each upstream, and some with several or with limits."""
    text = CONFIG
    for name, key in crowd.KEYS.items():
        more = 'scopes = ["infer", "admin"]' if name == "admin" else 'models = ["steady"]' if name == "narrow" else ""
        text += f'[[auth.keys]]\nname = "{name}"\nkey = "{key}"\n{more}\n'
    models = {name: ([name], "") for name in UPSTREAMS if name != "slow"} | {
        "mixed": (["cut", "steady", "refusing", "gone", "rude"], ""),
        "gone": (["gone"], ""),
        "away": (["steady", "slow", "stalling"], ""),
        "narrow-place": (["slow"], f"limit = {{ concurrency = {PLACES} }}"),
        "metered": (["steady"], "limit = { requests_per_minute = 600, burst = 5 }"),
    }
    models["steady"] = (["steady"], 'aliases = ["steady-by-another-name"]\nid = 41')
    models["stalling"] = (["stalling"], "timeout = 1")
    for name, (upstreams, more) in models.items():
        listed = ", ".join(f'{{ url = "{urls[upstream]}" }}' for upstream in upstreams)
        text += f'[[models]]\nname = "{name}"\nupstreams = [{listed}]\n{more}\n'
    return text


async def run(seconds: float, seed: str, root: Path) -> list[str]:
    """Do all of it; what is wrong comes back."""
    chance = random.Random(seed)  # noqa: S311  # a load that can be repeated, no secret
    async with AsyncExitStack() as stack:
        upstreams = {
            name: await stack.enter_async_context(ModelUpstream(random.Random(f"{seed} {name}"), troubles))  # noqa: S311
            for name, troubles in UPSTREAMS.items()
        }
        urls = {name: upstream.url for name, upstream in upstreams.items()}
        urls["gone"] = await asyncio.to_thread(closed_address)
        config = root / "gateway.toml"
        config.write_text(configuration(urls))
        (root / "data").mkdir()
        server = await asyncio.to_thread(ServerProcess, root / "data", "--config", str(config), home=root)
        try:
            wrong = await soak(server, upstreams, seconds, chance)
        finally:
            await asyncio.to_thread(server.stop)
        if wrong:
            LOG.write_text(server.log)
            wrong.append(f"the log of the gateway is in {LOG}")
        return wrong


def closed_address() -> str:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"http://127.0.0.1:{found.getsockname()[1]}/v1"


async def soak(
    server: ServerProcess, upstreams: dict[str, ModelUpstream], seconds: float, chance: random.Random
) -> list[str]:
    """Let the crowd ask, then see what is left."""
    tally, until, wrong = crowd.Tally(), asyncio.Event(), []
    fresh = {**sample(server), "asked": 0.0}
    clients = [
        asyncio.create_task(
            crowd.work(crowd.Client(tally, random.Random(chance.random()), Link(server.url)), kind, until, wrong)  # noqa: S311
        )
        for kind, count in KINDS
        for _ in range(count)
    ]
    samples = await watch(server, tally, seconds, until)
    until.set()
    _, late = await asyncio.wait(clients, timeout=90)
    wrong += [f"{len(late)} clients got stuck"] * bool(late)
    if server.process.poll() is not None:
        return [*wrong, f"the gateway ended with exit code {server.process.returncode}:\n{server.log[-3000:]}"]
    rested = await rest(server, fresh, upstreams)
    wrong += await compare(server, tally)
    wrong += await places(server)
    report(tally, samples, fresh, rested, seconds)
    wrong += [f"{key} keeps growing: by {grown:.1f}" for key in GROWTH if (grown := growth(samples, key)) > GROWTH[key]]
    wrong += [
        f"{key} at rest: {rested[key]:.0f}, once {fresh[key]:.0f}"
        for key in REST
        if rested[key] > fresh[key] + REST[key]
    ]
    for word in ("Traceback", "panicked", "internal_error", "never retrieved", *crowd.KEYS.values()):
        wrong += [f"the log has {word}: {line[:3000]}" for line in server.lines if word in line][:1]
    return wrong + [f"nothing of the kind {kind.__name__} was done" for kind in missing(tally)]


def missing(tally: crowd.Tally) -> list[crowd.Kind]:
    """What should have been seen and was not."""
    words = {
        crowd.ask_steadily: "stream: right",
        crowd.ask_in_trouble: "mixed whole: right",
        crowd.ask_again: "again: HIT",
        crowd.embed: "embeddings",
        crowd.transcribe: "form",
        crowd.ask_wrongly: "wrong: ",
        crowd.administer: "administered",
        crowd.leave: "left: ",
    }
    return [kind for kind, word in words.items() if not any(seen.startswith(word) for seen in tally.kinds)]


async def watch(
    server: ServerProcess, tally: crowd.Tally, seconds: float, until: asyncio.Event
) -> list[dict[str, float]]:
    """Measure until the time is over."""
    samples: list[dict[str, float]] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not until.is_set() and server.process.poll() is None:
        await asyncio.sleep(min(5.0, seconds / 12, left))
        samples.append(now := sample(server))
        if len(samples) % 6 == 0:
            print(
                f"  {left:5.0f} s left: {now['rss_mib']:5.1f} MiB, {now['descriptors']:3.0f} files, "
                f"{now['threads']:2.0f} threads, {sum(tally.kinds.values())} done",
                flush=True,
            )
    return samples


async def rest(server: ServerProcess, fresh: dict[str, float], upstreams: dict[str, ModelUpstream]) -> dict[str, float]:
    """What is left when nobody asks anything; waits until it is little. `asked`: what upstreams still work for."""
    end = time.monotonic() + REST_S
    while True:
        found = sample(server)
        found["descriptors"] -= sum(len(upstream.connections) for upstream in upstreams.values())
        found["asked"] = sum(upstream.answering for upstream in upstreams.values())
        if time.monotonic() > end or all(found[key] <= fresh[key] + most for key, most in REST.items()):
            return found
        await asyncio.sleep(0.5)


async def ask_admin(server: ServerProcess, path: str) -> bytes:
    """Ask for numbers."""
    asked = request("GET", path, {"authorization": f"Bearer {crowd.KEYS['admin']}"})
    return (await ask_once(server.url, asked)).body


async def compare(server: ServerProcess, tally: crowd.Tally) -> list[str]:
    """What the gateway counted, beside what clients and upstreams did."""
    wrong = []
    text = (await ask_admin(server, "/metrics")).decode()
    counted: Counter[tuple[str, int]] = Counter()
    for model, status, count in re.findall(r'xetway_requests_total\{model="([^"]+)",status="(\d+)"\} (\d+)', text):
        counted[model, int(status)] += int(count)
    models = {model for model, _ in [*counted, *tally.statuses]} - {"away"}
    for model in sorted(models):
        # A stream that breaks is counted as what broke it; what limits refuse may be counted or not.
        seen = {status: count for (name, status), count in tally.statuses.items() if name == model and status}
        told = {status: count for (name, status), count in counted.items() if name == model}
        seen["failed"] = sum(seen.pop(status, 0) for status in (502, 504)) + tally.broken[model]
        told["failed"] = sum(told.pop(status, 0) for status in (502, 504))
        if told.get(429, 0) - seen.get(429, 0) in {0, tally.statuses[model, 0]}:
            told.pop(429, None), seen.pop(429, None)
        if seen != told:
            wrong.append(f"{model}: clients saw {seen}, the gateway counted {told}")
    if (away := sum(count for (model, _), count in counted.items() if model == "away")) > tally.left["away"]:
        wrong.append(f"away: {tally.left['away']} were asked, and {away} counted")
    for model, kind, count in re.findall(r'xetway_tokens_total\{model="([^"]+)",kind="(\w+)"\} (\d+)', text):
        if model != "away" and int(count) != tally.tokens[model, kind]:
            wrong.append(f"{model}: answers had {tally.tokens[model, kind]} {kind} tokens, {count} were counted")
    return wrong


async def places(server: ServerProcess) -> list[str]:
    """Nobody waits, nothing runs, and all places of the model with few can be had at once."""
    stats: dict[str, Any] = msgspec.json.decode(await ask_admin(server, "/admin/queue/stats"))
    held = {name: stats[name] for name in ("running", "current_size") if stats[name]}
    wrong = [f"at rest the queue has {held}"] if held else []
    body = b'{"model":"narrow-place","messages":[{"content":"x"}],"size":1}'
    asked = request("POST", crowd.CHAT, {"x-api-key": crowd.KEYS["one"]}, body)
    answers = await asyncio.gather(*(ask_once(server.url, asked) for _ in range(PLACES)))
    found = [answer.status for answer in answers]
    return wrong + ([f"{PLACES} at once were answered {found}"] if found != [200] * PLACES else [])


def report(
    tally: crowd.Tally,
    samples: list[dict[str, float]],
    fresh: dict[str, float],
    rested: dict[str, float],
    seconds: float,
) -> None:
    """Print figures."""
    for kind, count in sorted(tally.kinds.items()):
        print(f"  {count:7} {kind}")
    total = sum(tally.kinds.values())
    print(f"  {total} in {seconds:.0f} s, {tally.bytes / 2**20:.0f} MiB of answers, all compared")
    for key in GROWTH:
        print(f"  {key}: {fresh[key]:.1f} at first, grew by {growth(samples, key):.1f}, {rested[key]:.1f} at rest")
    print(f"  {rested['asked']:.0f} requests still worked for by upstreams at rest")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)), help="repeats a load")
    chosen = parser.parse_args()
    if not Path("/proc/self/fd").exists():
        print("soak: needs /proc", file=sys.stderr)
        return 1
    print(f"soak of the gateway: {chosen.seconds:g} s, seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="xetway-soak-") as folder:
        wrong = asyncio.run(run(chosen.seconds, chosen.seed, Path(folder)))
    return verdict(chosen.seed, wrong)


if __name__ == "__main__":
    raise SystemExit(main())
