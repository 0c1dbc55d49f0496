"""The cache of a mirror, looked into from outside: listing, checking, shrinking."""

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.native.content_store import Store
from tests.native.loopback import serving
from tests.native.oracle import sm
from xetway._native import Cache, Credentials, Hash, HttpClient, Mirror

CONTENT = sm(7, 600_000)
PLAIN = sm(8, 150_000)
DIGEST = hashlib.sha256(PLAIN).digest()


@pytest.fixture
def filled(tmp_path):
    """A folder that a mirror filled with a xorb and a plain file; gives the folder and the store."""
    store = Store(CONTENT)

    async def answer(asked):
        return (200, [], PLAIN) if asked.path == "/plain" else await store.answer(asked)

    async def main():
        async with serving(answer) as server:
            mirror = Mirror(HttpClient(user_agent="test/1"), tmp_path, min_free_bytes=0)
            await mirror.prefetch(store.file, len(CONTENT), Credentials.refresh(server.url + "/token", []))
            await mirror.prefetch_plain("sha256", DIGEST, len(PLAIN), server.url + "/plain")
            mirror.close()

    asyncio.run(main())
    return tmp_path, store


def test_an_empty_cache(tmp_path):
    cache = Cache(tmp_path / "new")
    assert cache.entries() == []
    assert cache.verify(lambda *_: pytest.fail("damage in nothing")) == (0, 0, 0, 0, 0)
    assert cache.prune(0) == (0, 0)
    total, limit, free, xorbs, plain = cache.usage()
    assert (total, limit, xorbs, plain) == (0, None, 0, 0)
    assert free > 0


def test_what_is_listed(filled):
    folder, store = filled
    cache = Cache(str(folder))
    entries = {kind: (name, size, used, chunks, proven) for kind, name, size, used, chunks, proven in cache.entries()}
    assert set(entries) == {"xorb", "plain"}
    name, size, used, chunks, proven = entries["xorb"]
    assert (name, chunks, proven) == (str(store.xorb.hash), len(store.xorb.chunks), len(store.xorb.chunks))
    assert size >= store.xorb.stored_bytes
    assert abs(time.time() - used) < 3600
    assert entries["plain"][0].endswith(DIGEST.hex())
    assert cache.usage()[3:] == (1, 1)
    assert cache.usage()[0] >= len(CONTENT) + len(PLAIN)


def test_what_holds_a_file_can_be_removed(filled):
    folder, store = filled
    cache = Cache(folder)
    assert cache.holding(store.file) == (len(CONTENT), [str(store.xorb.hash)])
    assert cache.holding(Hash("1" * 64)) is None
    removed, freed = cache.remove({str(store.xorb.hash), "nothing"})
    assert removed == 1
    assert freed >= store.xorb.stored_bytes
    assert [kind for kind, *_ in cache.entries()] == ["plain"]
    assert cache.holding(store.file) == (0, [str(store.xorb.hash)])


def test_damage_is_found_and_removed(filled):
    folder, store = filled
    cache = Cache(folder)
    found = []
    xorbs, plain_files, _, checked_bytes, damaged = cache.verify(lambda *damage: found.append(damage))
    assert (found, damaged) == ([], 0)
    assert (xorbs, plain_files) == cache.usage()[3:] == (1, 1)
    assert checked_bytes >= len(CONTENT) + len(PLAIN)
    [data] = [path for path in folder.rglob("*") if store.xorb.hash.hex in path.name and path.suffix == ".data"]
    with data.open("r+b") as file:
        file.seek(60_000)
        byte = file.read(1)
        file.seek(60_000)
        file.write(bytes([byte[0] ^ 1]))
    assert cache.verify(lambda *damage: found.append(damage))[4] == 1
    [(kind, name, what)] = found
    assert (kind, name) == ("xorb", str(store.xorb.hash))
    assert what.startswith("chunk ")
    assert str(folder) not in what
    assert cache.verify(lambda *damage: found.append(damage))[4] == 0


def test_what_the_function_raises_ends_the_check(filled):
    folder, _ = filled
    for path in folder.rglob("*.data"):
        path.write_bytes(bytes(path.stat().st_size))

    def on_damage(*_):
        raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        Cache(folder).verify(on_damage)


def test_pruning(filled):
    folder, _ = filled
    cache = Cache(folder)
    entries, freed = cache.prune(0)
    assert entries >= 2
    assert freed >= len(CONTENT) + len(PLAIN)
    assert cache.entries() == []


INTERRUPTED = """
import sys
from xetway._native import Cache
cache = Cache(sys.argv[1])
try:
    print("ready", flush=True)
    while True:
        cache.verify(print)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has other signals")
def test_a_check_can_be_interrupted(filled):
    command = [sys.executable, "-c", INTERRUPTED, str(filled[0])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
    assert process.returncode == 0
