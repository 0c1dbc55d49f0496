"""Chunk boundaries, and hashes of whole contents and files."""

import errno
import os
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xetway
from tests.native import oracle, vectors
from tests.native.process import peak_bytes
from xetway import Chunker, StateError

CONTENTS = {name: (make(), *expected) for name, make, *expected in vectors.CONTENT}


@pytest.mark.parametrize("name", CONTENTS)
def test_vectors(name, tmp_path):
    data, count, ends, root, file = CONTENTS[name]
    found = xetway.chunk_boundaries(data)
    assert len(found) == count
    assert ends is None or found.tolist() == ends
    chunks = xetway.hash_chunks(data)
    assert [chunk.raw_bytes for chunk in chunks] == np.diff(found, prepend=np.uint64(0)).tolist()
    assert str(xetway.xorb_hash(chunks)) == root
    assert str(xetway.file_hash(chunks)) == file
    path = tmp_path / "content"
    path.write_bytes(data)
    assert xetway.hash_file(path) == xetway.FileHash(file, len(data))


@pytest.mark.parametrize(("pad", "byte", "ends"), vectors.STRESS)
def test_candidates_around_the_minimum(pad, byte, ends):
    base = vectors.STRESS_BASE + bytes(pad)
    data = (base * (65_536 // len(base) + 1))[:65_536]
    assert data[11_111] == byte
    assert xetway.chunk_boundaries(data).tolist() == ends == oracle.boundaries(data)


def test_early_candidates_are_passed_over():
    hashes = xetway.hash_chunks(CONTENTS["xorshift32 3145728"][0])
    assert hashes[44].raw_bytes == 131_072
    assert str(hashes[44].hash) == "8ee1833ff616a01e187888865c8e22f403c860b7a6c347ba28c4511995875086"
    assert min(chunk.raw_bytes for chunk in hashes[:-1]) == 9116


def test_the_answer_is_an_array_of_its_own():
    found = xetway.chunk_boundaries(bytes(300_000))
    assert found.dtype == np.uint64
    assert found.flags.owndata
    assert found.flags.writeable
    found[0] = 1
    assert xetway.chunk_boundaries(b"").shape == (0,)


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.integers(0, 400_000), st.sampled_from([1, 2, 3, 16, 256]))
def test_boundaries_agree_with_the_oracle(seed, size, values):
    data = (np.random.default_rng(seed).integers(0, values, size, dtype=np.uint8)).tobytes()
    assert xetway.chunk_boundaries(data).tolist() == oracle.boundaries(data)


@pytest.mark.parametrize("step", [1, 37, 255, 8127, 8192, 65_536, 131_073])
def test_pieces_do_not_matter(step):
    data = CONTENTS["sm 1 256000" if step == 1 else "sm 0 1000000"][0]
    chunker, ends = Chunker(), []
    for at in range(0, len(data), step):
        ends += chunker.update(memoryview(data)[at : at + step]).tolist()
    assert chunker.position == len(data)
    ends += chunker.finish().tolist()
    assert ends == xetway.chunk_boundaries(data).tolist()


@settings(max_examples=30)
@given(st.lists(st.integers(0, 120_000), max_size=12))
def test_random_pieces_do_not_matter(sizes):
    data = CONTENTS["sm 0 1000000"][0][: sum(sizes)]
    chunker, ends, at = Chunker(), [], 0
    for size in sizes:
        ends += chunker.update(data[at : at + size]).tolist()
        at += size
    ends += chunker.finish().tolist()
    assert ends == xetway.chunk_boundaries(data).tolist()


def test_a_finished_chunker_is_refused():
    chunker = Chunker()
    chunker.finish()
    with pytest.raises(StateError):
        chunker.update(b"more")
    with pytest.raises(StateError) as caught:
        chunker.finish()
    assert caught.value.code == "bad_state"


@pytest.mark.parametrize("kind", [str, os.fsencode])
def test_missing_files_are_the_usual_errors(tmp_path, kind):
    path = tmp_path / "nothing here"
    if kind is not str:
        with pytest.raises(TypeError):
            xetway.hash_file(kind(path))
        return
    with pytest.raises(FileNotFoundError) as caught:
        xetway.hash_file(kind(path))
    assert caught.value.errno == errno.ENOENT
    assert caught.value.filename == str(path)
    with pytest.raises(OSError, match="directory" if os.name == "posix" else ""):
        xetway.hash_file(tmp_path)


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 524_287, 524_288, 524_352, 524_353, 2_000_000, 8_388_609])
def test_files_of_any_size_have_the_hash_of_their_content(tmp_path, size):
    data = (CONTENTS["sm 0 1000000"][0] * 9)[:size]
    path = tmp_path / "file"
    path.write_bytes(data)
    chunks = xetway.hash_chunks(data)
    assert np.cumsum([chunk.raw_bytes for chunk in chunks]).tolist() == xetway.chunk_boundaries(data).tolist()
    assert xetway.hash_file(path) == xetway.FileHash(str(xetway.file_hash(chunks)), size)
    assert xetway.hash_files([path]) == [xetway.hash_file(path)]


def test_many_files_in_one_call(tmp_path):
    paths = [tmp_path / str(index) for index in range(30)]
    for index, path in enumerate(paths):
        path.write_bytes(bytes([index]) * (index * 20_011))
    with paths[7].open("wb") as file:
        file.truncate(9_000_000)
    assert xetway.hash_files(iter(paths)) == [xetway.hash_file(str(path)) for path in paths]
    assert xetway.hash_files([]) == []
    assert xetway.hash_files(paths[:3] * 1000) == xetway.hash_files(paths[:3]) * 1000
    for wrong in (tmp_path / "missing", tmp_path):
        with pytest.raises(OSError, match="directory" if os.name == "posix" else "") as caught:
            xetway.hash_files([paths[1], wrong, paths[2]])
        assert caught.value.filename == str(wrong)
    with pytest.raises(FileNotFoundError) as caught:
        xetway.hash_files([tmp_path, tmp_path / "missing", tmp_path / "another"])
    assert caught.value.filename == str(tmp_path / "missing")


@pytest.mark.skipif(os.name != "posix", reason="needs named pipes")
def test_a_pipe_is_hashed_as_it_comes(tmp_path):
    data = CONTENTS["sm 0 1000000"][0]
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(data,))
    writer.start()
    found = xetway.hash_file(pipe)
    writer.join()
    assert found == xetway.FileHash(str(xetway.file_hash(xetway.hash_chunks(data))), len(data))


def test_hash_file_needs_no_memory_for_the_file(tmp_path):
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    before = peak_bytes()
    assert xetway.hash_file(path).size == 300_000_000
    assert peak_bytes() - before < 16 * 1024 * 1024
