"""The codec and the store beside their peers, on every corpus: `python -m pytest benches/bench_codec.py`.

hf_xet is the client that is deployed; blake3 and lz4 are what others would put a codec together from; fastcdc cuts
elsewhere and is there for context; memcpy is the ceiling.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import blake3
import hf_xet
import lz4.frame
import pytest
from contest import OURS, Side

import xetway
from xetway import Scheme, Store
from xetway.bench.machine import usable_cores
from xetway.bench.source import Crew, open_source, split

pytestmark = pytest.mark.timeout(0)
try:
    import fastcdc
except ImportError:  # no wheel for this machine
    fastcdc = None
THREADS = sorted({1, 2, 4, usable_cores(), 2 * usable_cores()})
CALLS = 10_000
Run = Callable[..., None]
SMALL = bytes(range(64))
SMALL_PACKED = xetway.compress(SMALL, Scheme.LZ4)
DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")


def folder(place: Path) -> dict[str, Any]:
    """A side's work in a new folder each time, removed afterwards."""
    return {"prepare": lambda: Path(tempfile.mkdtemp(dir=place)), "clear": shutil.rmtree}


def upload(session: hf_xet.XetSession, file: Path, target: Path) -> str:
    with session.new_upload_commit(endpoint=f"local://{target}") as commit:
        handle = commit.start_upload_file(str(file))
    assert handle.result().xet_info.file_size == file.stat().st_size
    return handle.result().xet_info.hash


def download(session: hf_xet.XetSession, stored: Path, info: hf_xet.XetFileInfo, target: Path) -> Path:
    with session.new_file_download_group(endpoint=f"local://{stored}") as group:
        group.start_download_file(info, str(target))
    return target


def same_file(expected: Path):
    """A file counts by whether it has these bytes: compared in pieces, so that it need not fit into memory."""
    source = open_source(expected)

    def compare(target: Path) -> bool:
        rebuilt = open_source(target)
        assert rebuilt.size == source.size
        return all(one == other for one, other in zip(source.windows(), rebuilt.windows(), strict=True))

    return compare


def test_hash(contest: Run, corpus: str, file: Path) -> None:
    sides = {
        OURS: Side(lambda _: xetway.hash_file(file).hash),
        "hf_xet": Side(lambda _: hf_xet.hash_files([str(file)])[0].hash),
    }
    contest("hash", corpus, file.stat().st_size, sides)


@pytest.mark.parametrize("threads", THREADS)
def test_hash_files_at_once(contest: Run, weights: Path, threads: int) -> None:
    sides = {
        OURS: Side(lambda _: [found.hash for found in xetway.hash_files([weights] * threads)]),
        "hf_xet": Side(lambda _: [found.hash for found in hf_xet.hash_files([str(weights)] * threads)]),
    }
    contest("hash at once", "bf16", weights.stat().st_size * threads, sides, threads=threads)


def test_publish(contest: Run, corpus: str, file: Path, place: Path) -> None:
    session = hf_xet.XetSession()
    sides = {
        OURS: Side(lambda to: str(Store(to).publish(file).hash), **folder(place)),
        "hf_xet": Side(lambda to: upload(session, file, to), **folder(place)),
    }
    contest("publish", corpus, file.stat().st_size, sides)


def test_reconstruct(contest: Run, corpus: str, file: Path, place: Path) -> None:
    session, size = hf_xet.XetSession(), file.stat().st_size
    ours, theirs, target = place / "ours", place / "theirs", place / "target"
    store = Store(ours)
    stored = store.publish(file)
    info = hf_xet.XetFileInfo(upload(session, file, theirs), size)
    same = same_file(file)

    def reconstruct(_: None) -> Path:
        store.reconstruct(stored, target)
        return target

    works = {
        OURS: reconstruct,
        "hf_xet": lambda _: download(session, theirs, info, target),
    }
    # Compared here: each side overwrites what the other has written.
    assert all(same(work(None)) for work in works.values()), "other bytes came"
    sides = {name: Side(work, clear=lambda _: target.unlink()) for name, work in works.items()}
    contest("reconstruct", corpus, size, sides)
    for made in (ours, theirs):
        shutil.rmtree(made)


def by_fastcdc(data: bytes) -> int:
    """Cut with our sizes; returns where the last chunk ends."""
    return sum(cut.length for cut in fastcdc.fastcdc(data, min_size=8192, avg_size=65536, max_size=131072))


def test_chunk(contest: Run, corpus: str, file: Path) -> None:
    data = file.read_bytes()
    target = bytearray(len(data))

    def copy(_: None) -> int:
        memoryview(target)[:] = data
        return len(target)

    sides = {OURS: Side(lambda _: int(xetway.chunk_boundaries(data)[-1])), "memcpy": Side(copy)}
    if fastcdc:
        sides["fastcdc"] = Side(lambda _: by_fastcdc(data))
    contest("chunk", corpus, len(data), sides)


def test_blake3(contest: Run, corpus: str, file: Path) -> None:
    data = memoryview(file.read_bytes())
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    sides = {
        OURS: Side(lambda _: [bytes(xetway.chunk_hash(piece)) for piece in pieces]),
        "blake3": Side(lambda _: [blake3.blake3(piece, key=DATA_KEY).digest() for piece in pieces]),
    }
    contest("hash chunks of 64 KiB", corpus, len(data), sides)


def pack(file: Path) -> list[tuple[bytes, int]]:
    """LZ4 frames of 64 KiB each, and how long they are when decoded."""
    data = file.read_bytes()
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)]
    return [(lz4.frame.compress(piece, store_size=False), len(piece)) for piece in pieces]


def by_xetway(packed: list[tuple[bytes, int]]) -> list[bytes]:
    return [xetway.decompress(payload, Scheme.LZ4, size) for payload, size in packed]


def by_lz4(packed: list[tuple[bytes, int]]) -> list[bytes]:
    return [lz4.frame.decompress(payload) for payload, _ in packed]


def test_lz4(contest: Run, corpus: str, file: Path) -> None:
    packed = pack(file)
    sides = {OURS: Side(lambda _: by_xetway(packed)), "lz4": Side(lambda _: by_lz4(packed))}
    contest("decompress LZ4", corpus, file.stat().st_size, sides)


@pytest.mark.parametrize("threads", THREADS)
def test_lz4_at_once(contest: Run, text: Path, threads: int) -> None:
    packed, crew = pack(text), Crew(threads)
    groups = [packed[start:end] for start, end in split(len(packed), threads)]
    sides = {
        OURS: Side(lambda _: crew.map(by_xetway, groups)),
        "lz4": Side(lambda _: crew.map(by_lz4, groups)),
    }
    contest("decompress at once", "text", text.stat().st_size, sides, threads=threads)
    crew.close()


CALLED = {
    "chunk_hash": (lambda: bytes(xetway.chunk_hash(SMALL)), lambda: blake3.blake3(SMALL, key=DATA_KEY).digest()),
    "decompress": (
        lambda: xetway.decompress(SMALL_PACKED, Scheme.LZ4, len(SMALL)),
        lambda: lz4.frame.decompress(SMALL_PACKED),
    ),
    "chunk_boundaries": (lambda: int(xetway.chunk_boundaries(SMALL)[-1]), lambda: len(SMALL)),
}
PEERS = {"chunk_hash": "blake3", "decompress": "lz4", "chunk_boundaries": "len"}


@pytest.mark.parametrize("call", CALLED)
def test_call_overhead(contest: Run, call: str) -> None:
    def many(work: Callable[[], Any]) -> Side:
        return Side(lambda _: [work() for _ in range(CALLS)][-1])

    ours, theirs = CALLED[call]
    contest(call, f"{len(SMALL)} bytes", CALLS, {OURS: many(ours), PEERS[call]: many(theirs)}, unit="calls")
