"""Against `hf_xet`, on more content and of more kinds than fits beside the other tests: the same file hashes."""

import pathlib
import zlib

import hf_xet
import numpy as np
import pytest

import xetway

MIB = 1 << 20
SHARED_LIBRARY = pathlib.Path(xetway._native.__file__)


def mixed(seed, size):
    """`size` bytes of seven kinds in turn, each in runs of many lengths."""
    rng = np.random.default_rng(seed)
    library = SHARED_LIBRARY.read_bytes()
    words = [b"%d " % number for number in rng.integers(0, 5000, 4000)]
    packed = zlib.compress(b"".join(words) * 400, 1)
    noise = rng.bytes(4 * MIB)
    normal = rng.normal(size=MIB).astype("<f4")
    kinds = [
        noise,
        bytes(3 * MIB),
        b"".join(words[index] for index in rng.integers(0, len(words), MIB // 2)),
        normal.tobytes(),
        (normal.view("<u4") >> 16).astype("<u2").tobytes(),
        library,
        packed,
    ]
    left = size
    while left > 0:
        for index in rng.permutation(len(kinds)):
            start = int(rng.integers(0, len(kinds[index]) // 2))
            piece = kinds[index][start : start + int(rng.integers(1, 3 * MIB))][: max(left, 0)]
            yield piece
            left -= len(piece)


def write(folder, seed, sizes):
    paths = []
    for index, size in enumerate(sizes):
        paths.append(folder / f"{seed}-{index}")
        with paths[-1].open("wb") as file:
            for piece in mixed(seed * 1000 + index, size):
                file.write(piece)
        assert paths[-1].stat().st_size == size
    return paths


def compare(paths):
    theirs = [info.hash for info in hf_xet.hash_files([str(path) for path in paths])]
    assert [file.hash for file in xetway.hash_files(paths)] == theirs
    assert [xetway.hash_file(path).hash for path in paths] == theirs


def test_a_quarter_of_a_gib_agrees(tmp_path):
    small = np.random.default_rng(7).integers(1, 2 * MIB, 20).tolist()
    compare(write(tmp_path, 1, [200 * MIB + 17, 40 * MIB, 8 * MIB, 8 * MIB + 1, *small]))


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_ten_gib_agree(tmp_path):
    for seed in range(2, 13):
        small = np.random.default_rng(seed).integers(1, 6 * MIB, 40).tolist()
        paths = write(tmp_path, seed, [900 * MIB + seed, *small])
        compare(paths)
        for path in paths:
            path.unlink()
