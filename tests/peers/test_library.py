"""The Python library against a server: downloads, streams, and the examples of its documentation."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from server_process import program

import xetway
from tests.peers.clients import User, sha256

LIBRARY = """
import asyncio, json, sys
import xetway
repo, target = sys.argv[1:]
async def main():
    seen = []
    done = await xetway.download(repo, "model.safetensors", to=target, progress=seen.append)
    head = b"".join([piece async for piece in xetway.stream(repo, "model.safetensors", start=8, end=100)])
    task = asyncio.create_task(xetway.download(repo, "model.safetensors", to=target + ".other", force=True))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    twin = xetway.download_sync(repo, "config.json", to=target + ".json")
    return [done.size, done.hash, done.received_bytes, len(seen) > 0, head.hex(), twin.size]
print(json.dumps(asyncio.run(main())))
"""


def test_library(user: User, published: tuple[str, Path], tmp_path: Path) -> None:
    repo, folder = published
    target = tmp_path / "library.bin"
    answer = subprocess.run(
        [program("python"), "-c", LIBRARY, repo, str(target)],
        env=user.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    size, found, received, progressed, head, small = json.loads(answer.stdout)
    whole = (folder / "model.safetensors").read_bytes()
    assert (size, found) == (len(whole), xetway.hash_file(folder / "model.safetensors").hash)
    assert 0 < received < 1.05 * size
    assert progressed
    assert bytes.fromhex(head) == whole[8:100]
    assert small == (folder / "config.json").stat().st_size
    assert sha256(target) == sha256(folder / "model.safetensors")
    assert not (tmp_path / "library.bin.other").exists()


EXAMPLES = """
import asyncio, doctest, inspect, json
import xetway
results = []
for function in (xetway.download, xetway.download_sync, xetway.stream):
    names = {"xetway": xetway}
    for example in doctest.DocTestParser().get_examples(function.__doc__):
        exec(example.source, names)
    value = (names.get("fetch") or names["head"])()
    value = asyncio.run(value) if inspect.iscoroutine(value) else value
    results.append(value.hex() if isinstance(value, bytes) else value)
print(json.dumps(results))
"""


def test_examples_of_the_library_do_what_they_say(author: User, user: User, folder: Path, tmp_path: Path) -> None:
    author.run("upload", "org/model", str(folder))
    (tmp_path / "train.csv").write_text("a,b")
    author.run("upload", "datasets/org/texts", str(tmp_path / "train.csv"))
    answer = subprocess.run(
        [program("python"), "-c", EXAMPLES],
        env=user.environment, cwd=user.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    size, path, head = json.loads(answer.stdout)
    assert size == (folder / "config.json").stat().st_size
    assert (user.home / path).read_text() == "a,b"
    assert bytes.fromhex(head) == (folder / "model.safetensors").read_bytes()[:8]
