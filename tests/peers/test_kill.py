"""kill -9 at random moments during uploads: what was acknowledged is there, and the store is clean."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import ServerProcess, run_xetway

from tests.peers.clients import NEWEST, Client, sha256

REPO = "org/killed"
# One client commits a new random folder again and again; a line tells what the server has acknowledged.
UPLOADS = """
import json, random, sys
from pathlib import Path
from huggingface_hub import HfApi
repo, folder, seed = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
api, generator = HfApi(), random.Random(seed)
for number in range(1000):
    name = f"{seed}-{number}"
    (folder / "weights.bin").write_bytes(generator.randbytes(generator.choice([20_000, 400_000, 3_000_000])))
    (folder / "config.json").write_text(json.dumps({"name": name}))
    print(json.dumps("started"), flush=True)
    oid = api.upload_folder(repo_id=repo, folder_path=str(folder), commit_message=name).oid
    print(json.dumps([name, oid]), flush=True)
"""
PATIENCE = {"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1", "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms"}


def rebuilt(name: str) -> tuple[str, str]:
    """SHA-256 of the two files a client with this seed uploaded under this name."""
    seed, _, number = name.rpartition("-")
    generator = random.Random(seed)
    weights = b""
    for _ in range(int(number) + 1):
        weights = generator.randbytes(generator.choice([20_000, 400_000, 3_000_000]))
    config = json.dumps({"name": name}).encode()
    return hashlib.sha256(weights).hexdigest(), hashlib.sha256(config).hexdigest()


def upload_until_killed(
    server: ServerProcess, client: Client, folder: Path, seed: str, after_s: float
) -> list[list[str]]:
    """Kill the server `after_s` after the first upload has begun; returns what had been acknowledged."""
    uploads = client.start("python", "-c", UPLOADS, REPO, str(folder), seed)
    assert uploads.stdout is not None
    first = uploads.stdout.readline()
    assert first.strip() == '"started"', first + uploads.stdout.read()
    try:
        uploads.wait(after_s)
    except subprocess.TimeoutExpired:
        pass
    else:
        raise AssertionError(f"the client ended by itself:\n{uploads.stdout.read()}")
    server.kill()
    try:
        rest, _ = uploads.communicate(timeout=0.5)
    except subprocess.TimeoutExpired:
        uploads.kill()
        rest, _ = uploads.communicate()
    lines = (line for line in rest.splitlines() if line.startswith("["))
    return [json.loads(line) for line in lines]


def kill_rounds(rounds: int, make_server: Callable[..., ServerProcess], make_token, tmp_path: Path) -> None:
    """The whole story: `rounds` kills, then everything acknowledged is downloaded and compared."""
    server = make_server()
    data = server.data
    token = make_token(data)
    writer = Client(NEWEST, server, tmp_path / "writer", token, PATIENCE)
    writer.create_repo(repo_id=REPO)
    folder = tmp_path / "folder"
    folder.mkdir()
    seed = os.environ.get("XETWAY_KILL_SEED") or str(random.randrange(10**9))
    print(f"XETWAY_KILL_SEED={seed}")
    generator = random.Random(seed)
    acknowledged: list[list[str]] = []
    for number in range(rounds):
        acknowledged += upload_until_killed(server, writer, folder, f"{seed}.{number}", generator.uniform(0, 1.2))
        server = make_server(data=data)
        writer.server = server
        if number % 5 == 4 or number == rounds - 1:
            run_xetway(data, "fsck")
    print(f"{len(acknowledged)} uploads were acknowledged")
    assert len(acknowledged) > rounds / 4, "hardly an upload got through; nothing is shown"
    known = [commit["commit_id"] for commit in writer.list_repo_commits(repo_id=REPO)]
    # one commit of each round may have been made without the answer having arrived
    assert len(known) <= len(acknowledged) + rounds + 1
    reader = Client(NEWEST, server, tmp_path / "reader")
    target = tmp_path / "got"
    fetches = [
        ["snapshot_download", {"repo_id": REPO, "revision": oid, "local_dir": str(target / oid)}]
        for _, oid in acknowledged
    ]
    results = reader.calls(*fetches)
    assert len(results) == len(fetches)
    for (name, oid), result in zip(acknowledged, results, strict=True):
        assert "ok" in result, (name, result)
        assert oid in known
        got = sha256(target / oid / "weights.bin"), sha256(target / oid / "config.json")
        assert got == rebuilt(name), name
    left = [path for path in (data / "tmp").rglob("*") if path.is_file()] if (data / "tmp").exists() else []
    assert not left, "leftovers of killed uploads were not cleaned at the start"


@pytest.mark.heavy
@pytest.mark.timeout(420)
def test_thirty_kills(make_server, make_token, tmp_path: Path) -> None:
    kill_rounds(30, make_server, make_token, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(4200)
def test_three_hundred_kills(make_server, make_token, tmp_path: Path) -> None:
    kill_rounds(300, make_server, make_token, tmp_path)
