"""Damage on disk, seen through the Python face: an error that names the place, never other bytes."""

import pytest

import xetway
from tests.native.oracle import sm
from xetway import Term
from xetway._native import XorbStore
from xetway.errors import StoreCorruptionError
from xetway.xet.shards import write_terms

CHUNKS = [sm(1, 3000), b"text " * 1000, bytes(9000), sm(2, 200)]
CONTENT = b"".join(CHUNKS)


def drain(reader):
    return b"".join(iter(reader.read, b""))


class Stored:
    def __init__(self, folder):
        self.store = XorbStore(folder)
        self.data, self.xorb = xetway.build_xorb(CHUNKS)
        writer = self.store.create(self.xorb.hash)
        writer.write(self.data)
        writer.finish()
        writer.publish()
        name = str(self.xorb.hash)
        self.path = folder / "xorbs" / name[:2] / f"{name}.xorb"
        self.terms = write_terms([Term(self.xorb.hash, len(CONTENT), 0, len(CHUNKS))])

    def overwrite(self, data):
        self.path.write_bytes(data)
        self.store.invalidate(self.xorb.hash)

    def reads(self):
        end = self.xorb.stored_bytes
        return {
            "content": lambda: b"".join(iter(self.store.open_file(self.terms, 0, len(CONTENT)).read, b"")),
            "data": lambda: b"".join(iter(self.store.open_xorb(self.xorb.hash, 0, end).read, b"")),
            "verify": lambda: self.store.verify(self.xorb.hash),
            "sha256": lambda: self.store.sha256_file(self.terms).step(),
        }

    def assert_detected(self):
        for read in self.reads().values():
            with pytest.raises(StoreCorruptionError) as caught:
                read()
            assert caught.value.xorb == str(self.xorb.hash)


@pytest.fixture
def stored(tmp_path):
    return Stored(tmp_path)


def test_a_flipped_bit_of_every_byte(stored):
    reserved = range(len(stored.data) - 20, len(stored.data) - 4)
    for at in range(len(stored.data)):
        if at in reserved or (at > 3000 and at < stored.xorb.chunks[1].start):
            continue
        broken = bytearray(stored.data)
        broken[at] ^= 1 << at % 8
        stored.overwrite(broken)
        if at % 7 == 0 or at >= stored.xorb.stored_bytes:
            stored.assert_detected()
            continue
        with pytest.raises(StoreCorruptionError):
            stored.store.verify(stored.xorb.hash)


def test_truncation_at_every_byte(stored):
    for keep in range(0, len(stored.data), 1 if len(stored.data) < 2000 else 7):
        stored.overwrite(stored.data[:keep])
        with pytest.raises(StoreCorruptionError):
            stored.store.verify(stored.xorb.hash)
    stored.overwrite(stored.data[:-1])
    stored.assert_detected()
    stored.overwrite(b"")
    stored.assert_detected()
    stored.overwrite(stored.data + b"\0")
    stored.assert_detected()


def test_the_chunk_is_named_and_sound_ones_are_served(stored):
    broken = bytearray(stored.data)
    broken[stored.xorb.chunks[3].start + 20] ^= 1
    stored.overwrite(broken)
    reader = stored.store.open_file(stored.terms, 0, len(CONTENT))
    for _ in range(2):
        with pytest.raises(StoreCorruptionError) as caught:
            reader.read()
        assert caught.value.chunk == 3
        assert caught.value.code == "stored_data_corrupt"
    end = stored.xorb.chunks[3].start
    assert len(b"".join(iter(stored.store.open_xorb(stored.xorb.hash, 0, end).read, b""))) == end


def test_what_the_footer_says_wrong_is_named(stored):
    broken = bytearray(stored.data)
    broken[1] ^= 1
    stored.overwrite(broken)
    with pytest.raises(StoreCorruptionError) as caught:
        stored.store.verify(stored.xorb.hash)
    assert "chunk 0" in str(caught.value)


def test_terms_that_do_not_fit_the_xorb_are_corruption(stored):
    for term in (Term(stored.xorb.hash, len(CONTENT) + 1, 0, 4), Term(stored.xorb.hash, len(CONTENT), 0, 5)):
        with pytest.raises(StoreCorruptionError):
            stored.store.open_file(write_terms([term]), 0, 10)


def test_a_missing_file_is_named_before_anything_is_read(stored):
    stored.path.unlink()
    with pytest.raises(StoreCorruptionError) as caught:
        stored.store.open_file(stored.terms, 0, 1)
    assert caught.value.code == "stored_data_missing"


def test_a_folder_in_the_place_of_a_file_is_an_error(stored):
    stored.path.unlink()
    stored.path.mkdir()
    with pytest.raises((OSError, StoreCorruptionError)):
        stored.store.verify(stored.xorb.hash)
    assert stored.store.list() == [stored.xorb.hash]
