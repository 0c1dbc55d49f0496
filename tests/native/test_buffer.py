"""What counts as bytes, and that it is read in place."""

import array
import ctypes
import mmap

import numpy as np
import pytest

import xetway
from tests.native.oracle import sm
from tests.native.process import peak_bytes
from xetway._native import XorbStore

DATA = sm(3, 400_000)
ENDS = xetway.chunk_boundaries(DATA).tolist()
HASH = xetway.chunk_hash(DATA)


def buffers():
    floats = np.frombuffer(DATA, dtype="<f4")
    return {
        "bytes": DATA,
        "bytearray": bytearray(DATA),
        "memoryview": memoryview(DATA),
        "readonly array": floats,
        "writable array": floats.copy(),
        "matrix": floats.reshape(100, 1000),
        "cast memoryview": memoryview(DATA).cast("Q"),
        "array.array": array.array("d", DATA),
        "ctypes": (ctypes.c_ubyte * len(DATA)).from_buffer_copy(DATA),
        "slice": memoryview(b"x" + DATA + b"x")[1:-1],
        "odd offset": np.frombuffer(b"x" + DATA, dtype=np.uint8)[1:],
    }


@pytest.mark.parametrize("kind", buffers())
def test_buffers_of_every_kind(kind):
    data = buffers()[kind]
    assert xetway.chunk_boundaries(data).tolist() == ENDS
    assert xetway.chunk_hash(data) == HASH
    assert xetway.decompress(xetway.compress(DATA[:1000], 0), 0, 1000) == DATA[:1000]


def test_mapped_file(tmp_path):
    path = tmp_path / "mapped"
    path.write_bytes(DATA)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert xetway.chunk_boundaries(mapped).tolist() == ENDS


@pytest.mark.parametrize(
    "data",
    [
        memoryview(DATA)[::2],
        memoryview(DATA)[::-1],
        np.zeros((10, 10), dtype=np.float32)[:, ::2],
        np.zeros((10, 10), dtype=np.float32).T[1:],
        np.asfortranarray(np.zeros((10, 10))),
    ],
)
def test_scattered_buffers_are_refused_with_a_way_out(data):
    with pytest.raises(BufferError, match="contiguous"):
        xetway.chunk_hash(data)


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2], object()])
def test_other_things_are_refused(data):
    with pytest.raises(TypeError):
        xetway.chunk_hash(data)


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b""), np.zeros(0, dtype=np.float32), np.zeros((0, 5))])
def test_nothing(empty):
    assert xetway.chunk_boundaries(empty).tolist() == []
    assert xetway.chunk_hash(empty) == xetway.chunk_hash(b"")


def test_buffers_are_let_go_after_the_call():
    data = bytearray(DATA)
    xetway.chunk_boundaries(data)
    xetway.Chunker().update(data)
    data.clear()
    assert not data


def test_buffers_are_let_go_after_an_error(tmp_path):
    data = bytearray(b"no xorb")
    writer = XorbStore(tmp_path).create(HASH)
    with pytest.raises(xetway.FormatError):
        writer.write(data)
    with pytest.raises(xetway.FormatError):
        xetway.read_xorb(data)
    data.clear()
    assert not data


def test_big_buffers_are_not_copied():
    data = np.zeros(200_000_000, dtype=np.uint8)
    data[::4096] = 1
    before = peak_bytes()
    xetway.chunk_boundaries(data)
    xetway.hash_chunks(data)
    assert peak_bytes() - before < 20_000_000


def test_items_need_no_format_character():
    assert xetway.chunk_boundaries(np.frombuffer(DATA, dtype="M8[s]")).tolist() == ENDS
    assert xetway.chunk_hash(np.float64(1.5).reshape(())) == xetway.chunk_hash(np.float64(1.5).tobytes())
    structured = np.frombuffer(DATA, dtype=[("a", "<f4"), ("b", ">i2"), ("c", "V2")])
    assert xetway.chunk_boundaries(structured).tolist() == ENDS
