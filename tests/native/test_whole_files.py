"""Files published into a folder and had back, by `xetway.Store`."""

import hashlib
import os
import subprocess
import sys
import threading

import pytest

import xetway
from tests.native.oracle import sm
from xetway import FormatError, Hash, ShardFile
from xetway._native import XorbStore
from xetway.errors import StoreCorruptionError

CONTENT = sm(1, 3_000_000) + b"line of a text\n" * 100_000 + sm(1, 800_000)

FORK = """
import os, sys, xetway
path, folder = sys.argv[1:]
store = xetway.Store(folder)
first = store.publish(path)
child = os.fork()
again = store.publish(path)
store.reconstruct(again, f"{folder}/copy of {child}")
assert again == first
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def store(tmp_path):
    return xetway.Store(tmp_path / "store")


def stored_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_published_file_is_described_and_had_back(store, source, tmp_path):
    file = store.publish(source)
    assert type(file) is ShardFile
    assert str(file.hash) == xetway.hash_file(source).hash
    assert file.sha256 == hashlib.sha256(CONTENT).digest()
    assert file.size == len(CONTENT)
    target = tmp_path / "copy"
    store.reconstruct(file, target)
    assert target.read_bytes() == CONTENT
    # All it takes can be written down.
    [described] = xetway.read_shard(xetway.write_shard(xetway.Shard((file,)))).files
    xetway.Store(tmp_path / "store").reconstruct(described, os.fspath(target))
    assert target.read_bytes() == CONTENT


def test_it_stores_what_an_ingest_of_pieces_does(store, source, tmp_path):
    store.publish(source)
    other = tmp_path / "other"
    ingest = XorbStore(other).ingest()
    for at in range(0, len(CONTENT), 100_000):
        ingest.write(CONTENT[at : at + 100_000])
    for _, writer, *_ in ingest.finish()[4]:
        writer.publish()
    ours, theirs = (stored_files(folder) for folder in (tmp_path / "store", other))
    assert [path.name for path in ours] == [path.name for path in theirs]
    assert [path.read_bytes() for path in ours] == [path.read_bytes() for path in theirs]


def test_publishing_twice_adds_nothing(store, source, tmp_path):
    first = store.publish(source)
    before = stored_files(tmp_path / "store")
    assert store.publish(source) == first
    assert stored_files(tmp_path / "store") == before


def test_the_empty_file(store, tmp_path):
    (tmp_path / "empty").touch()
    file = store.publish(tmp_path / "empty")
    assert file == ShardFile(Hash.ZERO, (), None, hashlib.sha256().digest())
    store.reconstruct(file, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_damage_and_false_claims_leave_the_target_alone(store, source, tmp_path):
    file = store.publish(source)
    target = tmp_path / "copy"
    target.write_bytes(b"former")
    claim = ShardFile(Hash.ZERO, file.terms)
    with pytest.raises(xetway.IntegrityError) as wrong:
        store.reconstruct(claim, target)
    assert wrong.value.code == "file_hash_mismatch"
    [xorb] = (tmp_path / "store" / "xorbs").rglob("*.xorb")
    data = bytearray(xorb.read_bytes())
    data[1_000_000] ^= 1
    xorb.write_bytes(data)
    with pytest.raises(StoreCorruptionError) as damaged:
        store.reconstruct(file, target)
    assert damaged.value.xorb == xorb.stem
    xorb.unlink()
    with pytest.raises(FormatError) as missing:
        xetway.Store(tmp_path / "store").reconstruct(file, target)
    assert missing.value.code == "unknown_xorb"
    assert target.read_bytes() == b"former"
    assert sorted(os.listdir(tmp_path)) == ["copy", "source", "store"]


def test_what_cannot_be_read_or_written_is_an_os_error(store, source, tmp_path):
    with pytest.raises(FileNotFoundError):
        store.publish(tmp_path / "none")
    file = store.publish(source)
    with pytest.raises(FileNotFoundError):
        store.reconstruct(file, tmp_path / "none" / "copy")


def test_from_several_threads_at_once(store, source, tmp_path):
    files = []

    def go(number):
        file = store.publish(source)
        store.reconstruct(file, tmp_path / f"copy {number}")
        files.append(file)

    threads = [threading.Thread(target=go, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files == files[:1] * 6
    assert all((tmp_path / f"copy {number}").read_bytes() == CONTENT for number in range(6))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_after_a_fork(source, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(source), str(tmp_path / "forked")]
    subprocess.run(command, check=True, timeout=20)
    copies = [path for path in (tmp_path / "forked").iterdir() if path.is_file()]
    assert [path.read_bytes() for path in copies] == [CONTENT] * 2


def test_what_a_killed_writer_left_goes(tmp_path):
    leftover = tmp_path / "tmp" / "1-dead-0.part"
    leftover.parent.mkdir()
    leftover.write_bytes(b"part of a xorb")
    xetway.Store(tmp_path)
    assert not leftover.exists()


FORKS_BESIDE_A_THREAD = """
import os, signal, sys, threading
import xetway
path = sys.argv[1]
xetway.hash_file(path)
for _ in range(100):
    thread = threading.Thread(target=lambda: [xetway.hash_file(path) for _ in range(5)])
    thread.start()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        xetway.hash_file(path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_has_threads_whatever_the_others_were_doing(tmp_path):
    path = tmp_path / "content"
    path.write_bytes(bytes(600_000))
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS_BESIDE_A_THREAD, path], check=True)
