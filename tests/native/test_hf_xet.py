"""Against `hf_xet`: the same hashes, and the objects it writes are read by us as what they are."""

import hashlib
import os
import pathlib
import subprocess
import sys

import hf_xet
import numpy as np
import pytest

import xetway
from tests.native.oracle import sm
from xetway import Hash
from xetway._native import XorbStore
from xetway.xet.shards import write_terms

FILES = {
    "empty": b"",
    "hello": b"Hello World!",
    "one chunk": sm(5, 9000),
    "noise": sm(6, 1_500_000),
    "zeros": bytes(2_000_000),
    "float32": np.random.default_rng(1).normal(size=400_000).astype("<f4").tobytes(),
    "text": b"".join(b"line %d of many lines\n" % line for line in range(60_000)),
    "repeated": sm(7, 300_000) * 4,
}

UPLOAD = """
import sys, hf_xet
endpoint, *paths = sys.argv[1:]
for info in hf_xet.upload_files(paths, endpoint, None, None, None, None):
    print(info.hash, info.filesize)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    paths = {}
    for name, content in FILES.items():
        paths[name] = folder / name
        paths[name].write_bytes(content)
    return paths


def upload(folder, paths):
    """Have hf_xet upload files to a `local://` store in a folder; return the lines that it reported."""
    environment = os.environ | {"HF_HOME": str(folder / "home"), "HF_XET_TELEMETRY_ENABLED": "0"}
    done = subprocess.run(
        [sys.executable, "-c", UPLOAD, f"local://{folder}", *map(str, paths)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def uploaded(files, tmp_path_factory):
    """The folder of a `local://` store that hf_xet uploaded all files to, and the hashes it reported."""
    folder = tmp_path_factory.mktemp("local")
    hashes = upload(folder, files.values())
    return folder, {name: (file, int(size)) for name, (file, size) in zip(files, hashes, strict=True)}


def objects(folder, kind, pattern):
    return [path for path in pathlib.Path(folder).rglob(pattern) if path.parent.name == kind]


@pytest.mark.parametrize("name", FILES)
def test_file_hashes_agree(files, name):
    [theirs] = hf_xet.hash_files([str(files[name])])
    ours = xetway.hash_file(files[name])
    assert ours == xetway.FileHash(theirs.hash, theirs.file_size if hasattr(theirs, "file_size") else theirs.filesize)


def test_random_sizes_agree(tmp_path):
    rng = np.random.default_rng(3)
    paths = []
    for index, size in enumerate(rng.integers(0, 400_000, 40)):
        paths.append(tmp_path / str(index))
        paths[-1].write_bytes(rng.integers(0, 1 + index % 4 * 85, size, dtype=np.uint8).tobytes())
    theirs = [info.hash for info in hf_xet.hash_files([str(path) for path in paths])]
    assert [xetway.hash_file(path).hash for path in paths] == theirs


def test_its_xorbs_are_read(uploaded):
    folder, _ = uploaded
    paths = [path for path in objects(folder, "xorbs", "default.*") if path.suffix != ".tagset"]
    assert paths
    schemes = set()
    for path in paths:
        data = path.read_bytes()
        name = Hash(path.name.removeprefix("default."))
        xorb, content = xetway.unpack_xorb(data, name)
        assert xorb.hash == name
        assert xetway.read_xorb(data[: xorb.stored_bytes], name) == xorb
        assert len(content) == xorb.raw_bytes
        schemes |= {data[chunk.start + 4] for chunk in xorb.chunks}
    assert schemes == {0, 1, 2}


def weights(kind):
    values = np.random.default_rng(2).normal(scale=0.02, size=1_000_000).astype("<f4")
    blocks = np.zeros(60_000, np.dtype([("scale", "<f2"), ("values", "i1", 32)]))
    blocks["scale"] = np.abs(values[:60_000])
    blocks["values"] = (values[: 60_000 * 32 // 2].repeat(2) * 1500).reshape(-1, 32)
    return {
        "bf16": values.view("<u2")[1::2],
        "f32": values,
        "f16": values.astype("<f2"),
        "fp8": (values.astype("<f2").view("<u2") >> 8).astype("u1"),
        "int8": (values * 1000).astype("i1"),
        "blocks": blocks,
    }[kind].tobytes()


@pytest.mark.parametrize("kind", ["bf16", "f32", "f16", "fp8", "int8", "blocks"])
def test_weights_take_no_more_bytes_than_its_objects(kind, tmp_path):
    content = weights(kind)
    file = tmp_path / kind
    file.write_bytes(content)
    upload(tmp_path / "local", [file])
    theirs = 0
    for path in objects(tmp_path / "local", "xorbs", "default.*"):
        if path.suffix != ".tagset":
            theirs += xetway.unpack_xorb(path.read_bytes(), Hash(path.name.removeprefix("default.")))[0].stored_bytes
    ends = xetway.chunk_boundaries(content).tolist()
    chunks = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    _, xorb = xetway.build_xorb(chunks, footer=False)
    assert xorb.stored_bytes <= theirs * 1.01


def test_its_shards_are_read_and_rebuilt(uploaded):
    folder, hashes = uploaded
    found = {}
    for path in objects(folder, "shards", "*.mdb"):
        data = path.read_bytes()
        assert str(xetway.shard_hash(data)) == path.stem
        shard = xetway.read_shard(data)
        assert xetway.write_shard(shard, created_s=0) == data
        found |= {str(file.hash): file for file in shard.files}
    for name, (file, size) in hashes.items():
        assert found[file].size == size == len(FILES[name])
        if size:
            assert found[file].sha256 == hashlib.sha256(FILES[name]).digest()


def test_its_files_are_read_from_our_store(uploaded, tmp_path):
    folder, hashes = uploaded
    store = XorbStore(tmp_path)
    for path in objects(folder, "xorbs", "default.*"):
        if path.suffix == ".tagset":
            continue
        writer = store.create(Hash(path.name.removeprefix("default.")))
        writer.write(path.read_bytes())
        writer.finish()
        assert writer.publish()
    files = {}
    for path in objects(folder, "shards", "*.mdb"):
        files |= {str(file.hash): file for file in xetway.read_shard(path.read_bytes()).files}
    for name, (file, size) in hashes.items():
        described = files[file]
        terms = write_terms(described.terms)
        proofs = b"".join(map(bytes, described.verification))
        assert store.check_file(Hash(file), terms, proofs) == size
        assert b"".join(iter(store.open_file(terms, 0, size).read, b"")) == FILES[name]
