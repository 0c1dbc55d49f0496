"""Native calls of several threads run at the same time, and objects made for sharing can be shared."""

import itertools
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import certifi
import pytest

import xetway
from tests.native import oracle
from tests.native.oracle import sm
from xetway._native import XorbStore

BLOCK = sm(1, 1 << 20)
DATA, LITTLE = BLOCK * 32, BLOCK[:16_384]
CHUNKS = [BLOCK[:131_072]] * 256
LIST = [xetway.Chunk(xetway.Hash.ZERO, 131_072)] * 100_000
# A thread that may run still has to wait for a core.
ATTEMPTS = 100
CALLS = {
    "chunk_boundaries": (xetway.chunk_boundaries, DATA, LITTLE),
    "chunk_hash": (xetway.chunk_hash, DATA, LITTLE),
    "shard_hash": (xetway.shard_hash, DATA, LITTLE),
    "hash_chunks": (xetway.hash_chunks, DATA, LITTLE),
    "file_hash": (xetway.file_hash, LIST, LIST[:1]),
    "merkle_root": (xetway.merkle_root, LIST, LIST[:1]),
    "verification_hash": (xetway.verification_hash, [xetway.Hash.ZERO] * 200_000, [xetway.Hash.ZERO]),
    "update": (lambda data: xetway.Chunker().update(data), DATA, LITTLE),
    "compress": (lambda data: xetway.compress(data, xetway.Scheme.BYTE_GROUPING_LZ4), DATA, LITTLE),
    "build_xorb": (xetway.build_xorb, CHUNKS, [LITTLE]),
    "read_xorb": (xetway.read_xorb, xetway.build_xorb(CHUNKS)[0], xetway.build_xorb([LITTLE])[0]),
}


@pytest.fixture
def _no_switches():
    """No thread is made to let go of the interpreter lock for another: it does so by itself or keeps it."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    yield
    sys.setswitchinterval(usual)


def run_at_once(function, long, short):
    """Whether many calls with `short` in another thread fit into one with `long`, five times over.

    Without switches none would if the call kept the interpreter lock, and about one if it took a lock of its own.
    """
    calls, stop = 0, threading.Event()

    def repeat():
        nonlocal calls
        while not stop.is_set():
            function(short)
            calls += 1
            time.sleep(0)

    def calls_during():
        before = calls
        function(long)
        return calls - before

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        fitting = (True for _ in range(ATTEMPTS) if calls_during() >= 10)
        return sum(itertools.islice(fitting, 5)) == 5
    finally:
        stop.set()
        thread.join()


def keep(store, content):
    """Put a file into a store; its terms, its size, its xorb."""
    ingest = store.ingest()
    ingest.write(content)
    _, size, _, terms, xorbs = ingest.finish()
    for _, writer, *_ in xorbs:
        writer.publish()
    return terms, size, xorbs[0][0]


@pytest.mark.alone
@pytest.mark.usefixtures("_no_switches")
@pytest.mark.parametrize("name", CALLS)
def test_calls_run_at_the_same_time(name):
    assert run_at_once(*CALLS[name])


@pytest.mark.alone
@pytest.mark.usefixtures("_no_switches")
def test_files_are_hashed_at_the_same_time(tmp_path):
    long, short = tmp_path / "long", tmp_path / "short"
    long.write_bytes(DATA)
    short.write_bytes(LITTLE)
    assert run_at_once(xetway.hash_file, long, short)


@pytest.mark.alone
@pytest.mark.usefixtures("_no_switches")
def test_a_store_works_for_several_threads_at_the_same_time(tmp_path):
    store = XorbStore(tmp_path)
    (_, _, long), (_, _, short) = files = [
        keep(store, content) for content in (random.Random(9).randbytes(1 << 25), LITTLE)
    ]
    assert run_at_once(store.verify, long, short)
    assert run_at_once(lambda file: list(iter(store.open_file(file[0], 0, file[1]).read, b"")), *files)
    assert run_at_once(lambda content: store.ingest().write(content), DATA, LITTLE)


def test_threads_with_buffers_of_their_own():
    contents = [sm(seed, 200_000 + seed) for seed in range(8)]

    def there_and_back(content):
        chunks = xetway.hash_chunks(content)
        ends = xetway.chunk_boundaries(content).tolist()
        xorb, _ = xetway.build_xorb(
            [content[end - chunk.raw_bytes : end] for chunk, end in zip(chunks, ends, strict=True)]
        )
        assert xetway.unpack_xorb(xorb)[1] == content
        return ends, bytes(xetway.file_hash(chunks))

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(there_and_back, contents * 8))
    assert (
        results
        == [(oracle.boundaries(content), oracle.file_hash(oracle.nodes_of(content))) for content in contents] * 8
    )


def test_one_store_for_many_threads(tmp_path):
    store = XorbStore(tmp_path)
    contents = [sm(seed, 300_000) for seed in range(8)]

    def there_and_back(content):
        terms, size, xorb = keep(store, content)
        for _ in range(5):
            assert b"".join(iter(store.open_file(terms, 0, size).read, b"")) == content
        return xorb

    with ThreadPoolExecutor(8) as pool:
        xorbs = list(pool.map(there_and_back, contents * 2))
    assert store.list() == sorted(set(xorbs))
    assert store.clean_temporary() == 0


def test_a_mutable_buffer_that_changes_meanwhile_does_no_harm():
    data = bytearray(BLOCK * 50)
    stop = threading.Event()

    def scribble():
        at = 0
        while not stop.is_set():
            data[at % len(data)] ^= 255
            at += 65_537

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(5):
            ends = xetway.chunk_boundaries(data)
            assert ends[-1] == len(data)
            xetway.build_xorb([memoryview(data)[:131_072]] * 20)
    finally:
        stop.set()
        thread.join()


REFUSED_IN_A_FORK = """
import os, signal, sys
from xetway import XetwayError
from xetway._native import HttpClient

http = HttpClient(user_agent="test/1", ca_bundle=sys.argv[1])
os.remove(sys.argv[1])
asked = 0

def refused():
    global asked
    asked += 1
    try:
        http.stats()
    except XetwayError:
        return asked

def ask_again(frame, event, _):
    if event == "call" and frame.f_code.co_name == "__init__" and asked == 1:
        refused()

child = os.fork()
if child == 0:
    signal.alarm(20)
    sys.setprofile(ask_again)
    os._exit(refused())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_an_exception_is_made_without_a_lock_held(tmp_path):
    bundle = shutil.copy(certifi.where(), tmp_path)
    command = [sys.executable, "-W", "ignore", "-c", REFUSED_IN_A_FORK, bundle]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"2\n"
