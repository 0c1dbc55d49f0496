"""Our own client under every fault, at random places: right bytes, or an error and no file; and it resumes.

XETWAY_FAULT_RUNS says how often each fault is tried, XETWAY_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from server_process import client_environment, program
from upstream import Fault, FaultUpstream, Rule
from weights import write_weights

import xetway
from tests.conformance.crafted_repo import CraftedFile, CraftedRepo, craft_repo
from tests.peers.clients import sha256
from tests.peers.conftest import MIB
from tests.peers.test_mirror_faults import JSON_FAULTS, MENDABLE, SEED, WRONG_BYTES
from tests.peers.test_revisions import filled
from xetway import _native, errors

RUNS = max(6, int(os.environ.get("XETWAY_FAULT_RUNS", "6")))
Outcome = str


def http() -> _native.HttpClient:
    return _native.HttpClient(user_agent="xetway-test", stall_window_s=1.0, retry_base_s=0.05)


def credentials(upstream: FaultUpstream, repo: CraftedRepo) -> _native.Credentials:
    return _native.Credentials.refresh(f"{upstream.url}/api/models/{repo.name}/xet-read-token/main", [])


def fetch_all(
    repo: CraftedRepo, folder: Path, fetch: Callable[[CraftedFile, Path], Awaitable[object]]
) -> dict[str, Outcome]:
    """Fetch all files at once; "right", or the error's code if nothing is left at the file's place."""

    async def one(file: CraftedFile) -> Outcome:
        try:
            await fetch(file, folder / file.name)
        except errors.XetwayError as error:
            return error.code
        return "right"

    async def every() -> list[Outcome]:
        return await asyncio.gather(*map(one, repo.files))

    folder.mkdir(exist_ok=True)
    got = dict(zip((file.name for file in repo.files), asyncio.run(every()), strict=True))
    for file in repo.files:
        path = folder / file.name
        assert path.exists() is (got[file.name] == "right"), f"{file.name}: {got[file.name]}"
        assert not path.exists() or path.read_bytes() == file.data, f"seed {SEED}: {file.name} is wrong"
    return got


def by_xet(upstream: FaultUpstream, repo: CraftedRepo, folder: Path) -> dict[str, Outcome]:
    async def fetch(file: CraftedFile, path: Path) -> None:
        await _native.download_file(http(), xetway.Hash(file.hash), path, credentials(upstream, repo))

    return fetch_all(repo, folder, fetch)


def by_stream(upstream: FaultUpstream, repo: CraftedRepo, folder: Path) -> dict[str, Outcome]:
    """As a stream: what came before an error may be wrong, what ended well may not."""

    async def fetch(file: CraftedFile, path: Path) -> None:
        stream = await _native.open_download(http(), xetway.Hash(file.hash), credentials(upstream, repo))
        got = b""
        while piece := await stream.read():
            got += piece
        await asyncio.to_thread(path.write_bytes, got)

    return fetch_all(repo, folder, fetch)


def by_plain(upstream: FaultUpstream, repo: CraftedRepo, folder: Path) -> dict[str, Outcome]:
    async def fetch(file: CraftedFile, path: Path) -> None:
        url = f"{upstream.url}/{repo.name}/resolve/main/{file.name}"
        digest = bytes.fromhex(file.sha256)
        await _native.download_plain(http(), url, [], path, size=len(file.data), algorithm="sha256", digest=digest)

    return fetch_all(repo, folder, fetch)


@pytest.fixture
def crafted(server, write_token: str) -> CraftedRepo:
    print(f"XETWAY_FAULT_SEED={SEED}")
    return craft_repo(server, write_token, files=RUNS, chunks=10)


@pytest.fixture
def upstream(make_upstream) -> FaultUpstream:
    return make_upstream(seed=int(SEED), exact_ranges=int(SEED) % 2 == 0)


def put_in_force(upstream: FaultUpstream, repo: CraftedRepo, fault: Fault, kind: str) -> list[Rule]:
    matches = {
        "xorb_bytes": [file.any_xorb for file in repo.files],
        "plain_bytes": [f"/blobs/{file.sha256}/" for file in repo.files],
        "cas_json": [file.hash for file in repo.files],
    }[kind]
    return [upstream.add(Rule(fault, kind, match, seconds=600 if fault is Fault.STALL else 0.5)) for match in matches]


@pytest.mark.parametrize("fault", [*MENDABLE, *WRONG_BYTES])
@pytest.mark.parametrize("way", [by_xet, by_stream])
def test_faults_of_xorbs(upstream, crafted: CraftedRepo, tmp_path: Path, fault: Fault, way) -> None:
    rules = put_in_force(upstream, crafted, fault, "xorb_bytes")
    got = way(upstream, crafted, tmp_path / "got")
    assert sum(rule.hits for rule in rules) == RUNS
    if fault in MENDABLE:
        assert set(got.values()) == {"right"}, (SEED, got)
    upstream.clear()
    assert set(way(upstream, crafted, tmp_path / "again").values()) == {"right"}


@pytest.mark.parametrize("fault", [*MENDABLE, *WRONG_BYTES])
def test_faults_of_plain_files(upstream, crafted: CraftedRepo, tmp_path: Path, fault: Fault) -> None:
    upstream.manners.plain = frozenset({crafted.name})
    rules = put_in_force(upstream, crafted, fault, "plain_bytes")
    got = by_plain(upstream, crafted, tmp_path / "got")
    assert sum(rule.hits for rule in rules) == RUNS
    if fault in MENDABLE and fault is not Fault.EXPIRED:  # its address was made a moment ago: 403 means no
        assert set(got.values()) == {"right"}, (SEED, got)
    upstream.clear()
    assert set(by_plain(upstream, crafted, tmp_path / "got").values()) == {"right"}


@pytest.mark.parametrize("fault", [fault for fault in JSON_FAULTS if fault is not Fault.STALL])
def test_faults_of_plans(upstream, crafted: CraftedRepo, tmp_path: Path, fault: Fault) -> None:
    put_in_force(upstream, crafted, fault, "cas_json")
    # A whole answer that is no plan is not asked for again; one that breaks off is.
    expected = {"bad_answer", "right"} if fault in {Fault.TRUNCATED, Fault.LOGIN} else {"right"}
    assert set(by_xet(upstream, crafted, tmp_path / "got").values()) <= expected
    upstream.clear()
    assert set(by_xet(upstream, crafted, tmp_path / "again").values()) == {"right"}


def test_addresses_that_end_while_they_are_used(upstream, crafted: CraftedRepo, tmp_path: Path) -> None:
    upstream.manners.address_life_s = 1.0
    upstream.add(Rule(Fault.DRIP, "xorb_bytes", times=2 * RUNS, probability=0.7, seconds=0.8))
    upstream.add(Rule(Fault.CUT, "xorb_bytes", times=2 * RUNS, probability=0.7))
    assert set(by_xet(upstream, crafted, tmp_path / "got").values()) == {"right"}


DOWNLOAD = """
import asyncio, sys, xetway
from xetway import _native
async def main():
    http = _native.HttpClient(user_agent="xetway-test")
    access = _native.Credentials.refresh(sys.argv[1], [])
    print("started", flush=True)
    print(await _native.download_file(http, xetway.Hash(sys.argv[2]), sys.argv[3], access), flush=True)
asyncio.run(main())
"""


def test_killed_again_and_again_it_goes_on(upstream, make_client, write_token: str, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    source, target = folder / "model.safetensors", tmp_path / "got.bin"
    size = write_weights(source, 64 * MIB, seed=3)
    filled(make_client(write_token), repo, folder)
    upstream.add(Rule(Fault.DRIP, "xorb_bytes", times=None, seconds=0.2))
    generator = random.Random(SEED)
    token = f"{upstream.url}/api/models/{repo}/xet-read-token/main"
    command = [sys.executable, "-c", DOWNLOAD, token, str(xetway.hash_file(source).hash), str(target)]
    part = tmp_path / "got.bin.xetway-part"
    kills = 0
    while True:
        goal = held_bytes(part) + generator.uniform(1, 12) * MIB
        running = subprocess.Popen(command, env=client_environment(tmp_path, upstream.url), stdout=subprocess.PIPE)
        while held_bytes(part) < goal and running.poll() is None:
            time.sleep(0.002)
        if running.poll() is not None:
            break
        running.kill()
        running.communicate()
        kills += 1
        assert not target.exists()
        assert kills < 60, "it does not go on where it was"
    said, _ = running.communicate()
    assert running.returncode == 0, said
    assert sha256(target) == sha256(source)
    assert kills >= 2
    assert sorted(path.name for path in tmp_path.glob("got.bin*")) == ["got.bin"]
    told, received, resumed = ast.literal_eval(said.decode().splitlines()[-1])
    assert told == size
    assert resumed > 0.2 * size
    assert received < 0.9 * size


def held_bytes(path: Path) -> int:
    """Bytes that a file with holes has on the disk."""
    return path.stat().st_blocks * 512 if path.exists() else 0


@pytest.mark.parametrize("name", ["got.bin.xetway-part", "got.bin.xetway-journal"])
@pytest.mark.parametrize("way", ["flip", "cut", "empty", "gone", "noise"])
def test_leftovers_that_were_damaged(upstream, crafted: CraftedRepo, tmp_path: Path, name: str, way: str) -> None:
    file, path = crafted.files[0], tmp_path / "got.bin"
    upstream.add(Rule(Fault.ERROR, "xorb_bytes", file.xorbs[1], times=None))
    patient = _native.HttpClient(user_agent="xetway-test", attempts=2, retry_base_s=0.01)

    async def fetch() -> tuple[int, int, int]:
        return await _native.download_file(patient, xetway.Hash(file.hash), path, credentials(upstream, crafted))

    with pytest.raises(errors.RemoteError):
        asyncio.run(fetch())
    left = tmp_path / name
    assert left.exists()
    held = left.read_bytes()
    damaged = {
        "flip": held[: len(held) // 3] + bytes([held[len(held) // 3] ^ 1]) + held[len(held) // 3 + 1 :],
        "cut": held[: len(held) // 2],
        "empty": b"",
        "noise": random.Random(SEED).randbytes(len(held)),
    }
    if way == "gone":
        left.unlink()
    else:
        left.write_bytes(damaged[way])
    upstream.clear()
    asyncio.run(fetch())
    assert path.read_bytes() == file.data
    assert [item.name for item in tmp_path.glob("got.bin*")] == ["got.bin"]


def test_the_command_line_under_all_faults(upstream, crafted: CraftedRepo, tmp_path: Path) -> None:
    """`xetway download` of a whole repository while everything that can be mended goes wrong now and then."""
    for fault in MENDABLE:
        if fault is not Fault.STALL:
            upstream.add(Rule(fault, "xorb_bytes", times=None, probability=0.03, seconds=0.5))
    for kind in ("plain_bytes", "cas_json"):
        for fault in (Fault.CUT, Fault.HANGUP, Fault.TOO_MANY, Fault.ERROR, Fault.DRIP):
            upstream.add(Rule(fault, kind, times=None, probability=0.03, seconds=0.5))
    target = tmp_path / "got"
    command = [program("xetway"), "download", crafted.name, "--local-dir", str(target), "--endpoint", upstream.url]
    answer = subprocess.run(
        [*command, "--json"],
        env=client_environment(tmp_path / "home", upstream.url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)
    for file in crafted.files:
        assert (target / file.name).read_bytes() == file.data


@pytest.mark.alone
def test_cancelled_it_stops(upstream, crafted: CraftedRepo, tmp_path: Path) -> None:
    upstream.add(Rule(Fault.STALL, "xorb_bytes", times=None))
    slow = _native.HttpClient(user_agent="xetway-test", stall_window_s=600)

    async def one(file: CraftedFile) -> None:
        path = tmp_path / file.name
        await _native.download_file(slow, xetway.Hash(file.hash), path, credentials(upstream, crafted))

    async def main() -> None:
        work = [asyncio.create_task(one(file)) for file in crafted.files]
        _, waiting = await asyncio.wait(work, timeout=2)
        assert len(waiting) == len(work)
        assert upstream.connections > 0
        for item in work:
            item.cancel()
        await asyncio.wait(work, timeout=5)
        assert all(item.cancelled() for item in work)

    asyncio.run(main())
    # What stalled was given up; a connection may be kept for the next request.
    deadline = time.monotonic() + 10
    while any(item.fault is None for item in upstream.seen if item.kind == "xorb_bytes") or len(
        [item for item in upstream.seen if item.kind == "xorb_bytes"]
    ) < min(RUNS, 4):
        assert time.monotonic() < deadline, upstream.log
        time.sleep(0.05)
