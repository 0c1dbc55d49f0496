"""What type checkers say of the public functions (mypy runs on this file), and that it is so."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import numpy as np
import pytest
from numpy.typing import NDArray

import xetway


def test_boundaries_are_unsigned_64_bit(tmp_path: Path) -> None:
    ends = assert_type(xetway.chunk_boundaries(bytes(300_000)), NDArray[np.uint64])
    assert ends.dtype == np.uint64
    assert type(ends) is np.ndarray


def test_every_buffer_is_accepted(tmp_path: Path) -> None:
    data = np.random.default_rng(1).integers(0, 256, 400_000, dtype=np.uint8)
    path = tmp_path / "data"
    path.write_bytes(data.tobytes())
    expected = xetway.chunk_boundaries(data.tobytes()).tolist()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        # numpy tells type checkers of its buffers from Python 3.12 on
        buffers: list[Any] = [bytearray(data), memoryview(data.data), data, mapped, data.view("<u4")]
        for buffer in buffers:
            assert xetway.chunk_boundaries(buffer).tolist() == expected


def test_hash_files_takes_any_paths(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    found = assert_type(xetway.hash_files([path, str(path)]), list[xetway.FileHash])
    assert found == [xetway.hash_file(path)] * 2


def test_hash_file_has_text_and_size(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    found = assert_type(xetway.hash_file(path), xetway.FileHash)
    assert_type(found.hash, str)
    assert_type(found.size, int)
    assert (type(found.hash), found.hash, type(found.size), found.size) == (str, "0" * 64, int, 0)


def test_hashes_are_hashes() -> None:
    one = assert_type(xetway.chunk_hash(b"a"), xetway.Hash)
    assert_type(one.hex, str)
    chunks = assert_type(xetway.hash_chunks(b"a"), list[xetway.Chunk])
    assert chunks[0].hash == one
    assert type(one) is xetway.Hash


def test_compression_takes_and_gives_what_it_says() -> None:
    scheme = assert_type(xetway.choose_scheme(bytes(100_000)), xetway.Scheme)
    payload = assert_type(xetway.compress(bytes(100_000), scheme), bytes)
    assert assert_type(xetway.decompress(payload, scheme, 100_000), bytes) == bytes(100_000)


def test_downloads_say_what_they_give() -> None:
    pieces = assert_type(xetway.stream("org/model", "model.bin", start=8), xetway.ByteStream)
    assert_type(pieces.size, int | None)
    assert type(pieces) is xetway.ByteStream
    if TYPE_CHECKING:
        assert_type(xetway.download_sync("org/model", "model.bin", to="here"), xetway.Downloaded)
        xetway.download_sync("org/model", "model.bin", from_="here")  # type: ignore[call-arg]


def test_wrong_types_are_refused_by_both() -> None:
    with pytest.raises(TypeError):
        xetway.chunk_hash("text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        xetway.hash_file(1.5)  # type: ignore[arg-type]
