"""The store of xorb files, through its Python face."""

import hashlib
import itertools
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xetway
from tests.native import oracle
from tests.native.oracle import sm
from xetway import FormatError, Hash, IntegrityError, StateError
from xetway._native import ByteReader, FileIngest, XorbStore, XorbWriter
from xetway.errors import StoreCorruptionError

CONTENT = sm(1, 700_000) + np.arange(60_000, dtype="<f4").tobytes() + b"text " * 40_000


def add(store, content, piece_bytes=1 << 18):
    ingest = store.ingest()
    for at in range(0, len(content), piece_bytes):
        ingest.write(memoryview(content)[at : at + piece_bytes])
    file, size, digest, terms, xorbs = ingest.finish()
    for _, writer, *_ in xorbs:
        assert writer.publish() is True
    return file, size, digest, terms, xorbs


def drain(reader):
    pieces = list(iter(reader.read, b""))
    assert reader.read() == b""
    assert reader.remaining == 0
    return b"".join(pieces)


@pytest.fixture
def store(tmp_path):
    return XorbStore(tmp_path)


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    store = XorbStore(tmp_path_factory.mktemp("store"))
    return store, *add(store, CONTENT)


def path_of(folder, xorb):
    return folder / "xorbs" / str(xorb)[:2] / f"{xorb}.xorb"


def temporary(folder):
    return [path.name for path in (folder / "tmp").iterdir()]


def test_what_goes_in_is_described_and_comes_out(store, tmp_path):
    file, size, digest, terms, xorbs = add(store, CONTENT)
    assert (size, digest) == (len(CONTENT), hashlib.sha256(CONTENT).digest())
    assert bytes(file) == oracle.file_hash(oracle.nodes_of(CONTENT))
    [(xorb, writer, chunks, raw_bytes, stored_bytes)] = xorbs
    assert [type(part) for part in (file, size, digest, terms, xorb, writer)] == [
        Hash,
        int,
        bytes,
        bytes,
        Hash,
        XorbWriter,
    ]
    assert raw_bytes == size
    assert drain(store.open_file(terms, 0, size)) == CONTENT
    assert store.check_file(file, terms, None) == size
    stored = path_of(tmp_path, xorb).read_bytes()
    found = list(oracle.decode(stored))
    assert b"".join(chunk for _, chunk, _ in found) == CONTENT
    assert (len(found), found[-1][2]) == (chunks, stored_bytes)
    listed = [(oracle.chunk_hash(chunk), len(chunk), end) for _, chunk, end in found]
    assert stored[stored_bytes:] == oracle.footer(bytes(xorb), listed)
    hashes, lengths, ends = store.chunks(xorb)
    assert hashes == b"".join(chunk for chunk, _, _ in listed)
    assert np.frombuffer(lengths, "<u4").tolist() == [length for _, length, _ in listed]
    assert np.frombuffer(ends, "<u4").tolist() == [end for _, _, end in listed]
    assert store.verify(xorb) == len(stored)
    assert store.list() == [xorb]
    assert {scheme for scheme, _, _ in found} == {0, 1, 2}


@settings(max_examples=60)
@given(st.data())
def test_any_range_in_any_pieces(filled, data):
    store, _, size, _, terms, [(xorb, _, _, _, stored_bytes)] = filled
    start = data.draw(st.integers(0, size))
    end = data.draw(st.integers(start, size))
    reader = store.open_file(terms, start, end)
    assert reader.remaining == end - start
    first = reader.read()
    assert bool(first) == (start < end)
    assert reader.remaining == end - start - len(first)
    assert first + drain(reader) == CONTENT[start:end]
    start = data.draw(st.integers(0, stored_bytes))
    end = data.draw(st.integers(start, stored_bytes))
    whole = drain(store.open_xorb(xorb, 0, stored_bytes))
    assert drain(store.open_xorb(xorb, start, end)) == whole[start:end]
    parts = list(itertools.chain.from_iterable(iter(store.open_xorb(xorb, start, end).read_parts, [])))
    assert b"".join(parts) == whole[start:end]
    assert all(0 < len(part) <= 256 * 1024 for part in parts)


def test_ranges_outside_are_refused(filled):
    store, _, size, _, terms, [(xorb, _, _, _, stored_bytes)] = filled
    for call in (
        lambda: store.open_file(terms, 0, size + 1),
        lambda: store.open_file(terms, 2, 1),
        lambda: store.open_xorb(xorb, 0, stored_bytes + 1),
        lambda: store.plan(terms, size + 1, size + 1),
    ):
        with pytest.raises(FormatError) as caught:
            call()
        assert caught.value.code == "range_outside"
    for call in (lambda: store.open_file(terms, -1, 1), lambda: store.open_xorb(xorb, 0, 2**64)):
        with pytest.raises(OverflowError):
            call()
    with pytest.raises(FormatError):
        store.open_file(terms[:-1], 0, 1)


def test_plans_agree_with_the_library(filled):
    store, _, size, _, terms, [(xorb, *_)] = filled
    hashes, _, ends = store.chunks(xorb)
    described = xetway.read_xorb(drain(store.open_xorb(xorb, 0, int.from_bytes(ends[-4:], "little"))))
    assert described.hash == xorb
    assert b"".join(bytes(chunk.hash) for chunk in described.chunks) == hashes
    parsed = xetway.xet.shards.read_terms(terms)
    for start, end in [(0, size), (200_000, 200_001), (size - 1, size), (5, 5)]:
        offset, planned, fetches = store.plan(terms, start, end)
        plan = xetway.plan_reconstruction(parsed, [described], start, end)
        assert offset == plan.offset_bytes
        assert planned == [(term.xorb, term.raw_bytes, term.start, term.end) for term in plan.terms]
        assert fetches == [
            (fetch.xorb, [(part.chunk_start, part.chunk_end, part.start, part.end) for part in fetch.ranges])
            for fetch in plan.fetches
        ]


def test_claims_are_checked(filled):
    store, file, size, _, terms, [(xorb, *_)] = filled
    hashes = store.chunks(xorb)[0]
    proofs = b""
    for term in xetway.xet.shards.read_terms(terms):
        proofs += oracle.verification_hash([hashes[32 * i : 32 * i + 32] for i in range(term.start, term.end)])
    assert store.check_file(file, terms, proofs) == size
    unknown = bytes(32) + terms[32:]
    longer = terms[:36] + (int.from_bytes(terms[36:40], "little") + 1).to_bytes(4, "little") + terms[40:]
    beyond = terms[:44] + (99_999).to_bytes(4, "little") + terms[48:]
    for claim, code, kind in [
        ((Hash.ZERO, terms, proofs), "file_hash_mismatch", IntegrityError),
        ((file, terms, bytes(len(proofs))), "verification_mismatch", IntegrityError),
        ((file, terms, proofs + bytes(32)), "verification_count", IntegrityError),
        ((file, longer, proofs), "length_mismatch", IntegrityError),
        ((file, beyond, proofs), "chunk_range", FormatError),
        ((file, unknown, proofs), "unknown_xorb", FormatError),
        ((file, terms, proofs[:-1]), "bad_hash_length", FormatError),
    ]:
        with pytest.raises(FormatError) as caught:
            store.check_file(*claim)
        assert (type(caught.value), caught.value.code) == (kind, code)
        assert caught.value.status == 400


def test_unknown_xorbs(store):
    for call in (lambda: store.chunks(Hash.ZERO),):
        with pytest.raises(FormatError) as caught:
            call()
        assert caught.value.code == "unknown_xorb"
    for call in (lambda: store.verify(Hash.ZERO), lambda: store.open_xorb(Hash.ZERO, 0, 0)):
        with pytest.raises(StoreCorruptionError) as caught:
            call()
        assert caught.value.code == "stored_data_missing"
    assert store.exists(Hash.ZERO) is False
    assert store.remove(Hash.ZERO) is False
    store.invalidate(Hash.ZERO)


def test_sha256_in_steps(filled):
    store, _, size, digest, terms, _ = filled
    reader = store.sha256_file(terms, 300_000)
    with pytest.raises(StateError):
        reader.digest()
    steps = []
    while not steps or steps[-1] < size:
        steps.append(reader.step())
    lengths = [step - before for before, step in itertools.pairwise([0, *steps])]
    assert steps[-1] == size
    assert all(300_000 <= length < 300_000 + 512 * 1024 for length in lengths[:-1])
    assert reader.digest() == reader.digest() == digest
    assert reader.step() == size
    empty = store.sha256_file(b"")
    assert (empty.step(), empty.digest()) == (0, hashlib.sha256().digest())


def test_the_empty_file(store):
    assert add(store, b"") == (Hash.ZERO, 0, hashlib.sha256().digest(), b"", [])
    assert store.check_file(Hash.ZERO, b"", b"") == 0
    assert drain(store.open_file(b"", 0, 0)) == b""
    assert store.plan(b"", 0, 0) == (0, [], [])


def test_a_posted_xorb(store, tmp_path):
    data, xorb = xetway.build_xorb([CONTENT[at : at + 50_000] for at in range(0, len(CONTENT), 50_000)])
    for body in (data, data[: xorb.stored_bytes]):
        writer = store.create(xorb.hash)
        for at in range(0, len(body), 9999):
            writer.write(body[at : at + 9999])
        assert writer.finish() == (len(xorb.chunks), len(CONTENT), xorb.stored_bytes)
        assert writer.publish() is (body is data)
        writer.abort()
        assert path_of(tmp_path, xorb.hash).read_bytes() == data
    assert temporary(tmp_path) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (lambda _: b"", "xorb_empty"),
        (lambda data: data[:-1], "truncated"),
        (lambda data: data + b"\0", "truncated"),
        (lambda data: data + b"x", "chunk_version"),
        (lambda data: data + data, "xorb_hash"),
        (lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:], "xorb_hash"),
    ],
)
def test_a_bad_xorb_leaves_nothing(store, tmp_path, body, code):
    data, xorb = xetway.build_xorb([b"noise" + sm(1, 1000)], scheme=0, footer=False)
    writer = store.create(xorb.hash)

    def send():
        writer.write(body(data))
        writer.finish()

    with pytest.raises(FormatError) as caught:
        send()
    assert caught.value.code == code
    with pytest.raises(StateError):
        writer.write(b"")
    with pytest.raises(StateError):
        writer.publish()
    writer.abort()
    assert temporary(tmp_path) == []
    assert store.list() == []


def test_leftovers_of_dead_writers_go_and_living_ones_stay(store, tmp_path):
    (tmp_path / "tmp" / "1-dead.lock").touch()
    (tmp_path / "tmp" / "1-dead-0.part").write_bytes(b"part of a xorb")
    ingest = store.ingest()
    ingest.write(CONTENT)
    assert XorbStore(tmp_path).clean_temporary() == 1
    [(_, writer, *_)] = ingest.finish()[4]
    assert XorbStore(tmp_path).clean_temporary() == 0
    assert writer.publish()


def test_objects_that_ended_are_refused(store):
    ingest = store.ingest()
    ingest.finish()
    for call in (ingest.finish, lambda: ingest.write(b"")):
        with pytest.raises(StateError):
            call()
    ingest.abort()
    writer = store.create(Hash.ZERO)
    with pytest.raises(StateError):
        writer.publish()
    writer.abort()
    for call in (writer.finish, writer.publish, lambda: writer.write(b"")):
        with pytest.raises(StateError):
            call()


def test_deduplication_answer(filled):
    store, _, size, _, _, [(xorb, *_)] = filled
    key = bytes(range(32))
    shard = xetway.read_shard(store.dedup_shard([xorb, Hash.ZERO], key, 10, 20))
    assert shard.files == ()
    assert [(item.hash, item.raw_bytes) for item in shard.xorbs] == [(xorb, size)]
    hashes = store.chunks(xorb)[0]
    first = xetway.keyed_hash(Hash.from_bytes(hashes[:32]), key)
    assert shard.xorbs[0].chunks[0].hash == first
    assert (shard.footer.key, shard.footer.created_s, shard.footer.expiry_s) == (key, 10, 20)


def test_a_closed_reader_gives_nothing(filled):
    store, _, size, _, terms, _ = filled
    reader = store.open_file(terms, 0, size)
    assert type(reader) is ByteReader
    reader.read()
    reader.close()
    reader.close()
    assert (reader.read(), reader.remaining) == (b"", 0)


def test_one_object_is_for_one_thread_at_a_time(store):
    ingest = store.ingest()
    data = sm(1, 1 << 16) * 200
    refusals = []

    def write():
        while not refusals:
            try:
                ingest.write(data)
            except StateError as error:
                refusals.append(error.message)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(refusals) == {"ingest is in use by another thread"}
    ingest.write(data)


def test_abort_while_another_thread_writes_takes_effect(store, tmp_path):
    ingest = store.ingest()
    assert type(ingest) is FileIngest
    data = sm(2, 1 << 16) * 1200
    thread = threading.Thread(target=ingest.write, args=(data,))
    thread.start()
    while not any(name.endswith(".part") for name in temporary(tmp_path)):
        time.sleep(0)
    ingest.abort()
    thread.join()
    with pytest.raises(StateError):
        ingest.finish()
    assert temporary(tmp_path) == []
