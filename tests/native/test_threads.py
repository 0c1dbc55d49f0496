"""The interpreter lock is released, and objects made for sharing can be shared."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import xetway
from tests.native.oracle import sm
from xetway._native import XorbStore

BLOCK = sm(1, 1 << 20)


def beats_during(call):
    """How often another thread gets to run while `call` does."""
    beats, stop = 0, threading.Event()

    def beat():
        nonlocal beats
        while not stop.wait(0.001):
            beats += 1

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        call()
    finally:
        stop.set()
        thread.join()
    return beats


def work(name, folder):
    """A call that takes a while, with everything it needs made before."""
    data = BLOCK * 150
    chunks = [BLOCK[:131_072]] * 512
    xorb, _ = xetway.build_xorb(chunks)
    chunker, ingest = xetway.Chunker(), XorbStore(folder).ingest()
    return {
        "chunk_boundaries": lambda: xetway.chunk_boundaries(data),
        "chunk_hash": lambda: xetway.chunk_hash(data),
        "hash_chunks": lambda: xetway.hash_chunks(data),
        "update": lambda: chunker.update(data),
        "build_xorb": lambda: xetway.build_xorb(chunks),
        "read_xorb": lambda: xetway.read_xorb(xorb),
        "ingest": lambda: ingest.write(data),
    }[name]


@pytest.mark.parametrize(
    "name", ["chunk_boundaries", "chunk_hash", "hash_chunks", "update", "build_xorb", "read_xorb", "ingest"]
)
def test_other_threads_go_on(name, tmp_path):
    assert beats_during(work(name, tmp_path)) >= 3


def test_other_threads_go_on_while_a_file_is_hashed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(BLOCK * 100)
    assert beats_during(lambda: xetway.hash_file(path)) >= 3


def test_other_threads_go_on_while_the_store_reads(tmp_path):
    store = XorbStore(tmp_path)
    ingest = store.ingest()
    ingest.write(sm(9, 1 << 25))
    _, size, _, terms, [(xorb, writer, *_)] = ingest.finish()
    writer.publish()
    reader = store.open_file(terms, 0, size)
    assert beats_during(lambda: list(iter(reader.read, b""))) >= 3
    assert beats_during(lambda: store.verify(xorb)) >= 3


def test_one_store_for_many_threads(tmp_path):
    store = XorbStore(tmp_path)
    contents = [sm(seed, 300_000) for seed in range(8)]

    def there_and_back(content):
        ingest = store.ingest()
        ingest.write(content)
        _, size, _, terms, xorbs = ingest.finish()
        for _, writer, *_ in xorbs:
            writer.publish()
        for _ in range(5):
            assert b"".join(iter(store.open_file(terms, 0, size).read, b"")) == content
        return xorbs[0][0]

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
