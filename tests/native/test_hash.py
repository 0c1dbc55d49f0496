"""Hashes, and the `Hash` type."""

import copy
import pickle

import blake3
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xetway
from tests.native import oracle, vectors
from xetway import Chunk, FormatError, Hash

HELLO = "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb"
raw_hashes = st.binary(min_size=32, max_size=32)
nodes = st.lists(st.tuples(raw_hashes, st.integers(0, 2**40)), max_size=80)


def listed(pairs):
    return [Chunk(Hash.from_bytes(raw), size) for raw, size in pairs]


def test_text_form_is_four_little_endian_integers():
    ordered = Hash.from_bytes(bytes(range(32)))
    assert str(ordered) == "07060504030201000f0e0d0c0b0a090817161514131211101f1e1d1c1b1a1918"
    raw = bytes.fromhex("16af3a84044b83d6be998a42e20399f2cc5650eaf99950639f50418aece7954e")
    assert Hash.from_bytes(raw).hex == "d6834b04843aaf16f29903e2428a99be635099f9ea5056cc4e95e7ec8a41509f"


@given(raw_hashes, raw_hashes)
def test_hash_behaves_as_a_value(one, two):
    first, second = Hash.from_bytes(one), Hash.from_bytes(two)
    assert bytes(first) == one
    assert str(first) == first.hex == oracle.text(one)
    assert Hash(first.hex.upper()) == first
    assert hash(Hash(first.hex)) == hash(first)
    assert (first == second) == (one == two)
    assert (first < second, first <= second) == (first.hex < second.hex, first.hex <= second.hex)
    assert (first > second, first >= second) == (first.hex > second.hex, first.hex >= second.hex)
    assert eval(repr(first)) == first  # noqa: S307
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(first, protocol)) == first
    assert copy.copy(first) is first
    assert copy.deepcopy([first])[0] == first


def test_hash_is_immutable_and_is_no_text():
    value = Hash(HELLO)
    with pytest.raises(AttributeError):
        value.hex = "0"
    with pytest.raises(AttributeError):
        value.other = 1
    assert value != HELLO
    assert value not in (None, 1, bytes(value))
    with pytest.raises(TypeError):
        assert value < HELLO
    assert Hash("0" * 64) == Hash.ZERO
    assert type(value.hex) is str


@pytest.mark.parametrize(
    "text", ["", "0" * 63, "0" * 65, "g" + "0" * 63, "0" * 62 + "é", " " + "0" * 63, "0x" + "0" * 62]
)
def test_bad_text_is_refused(text):
    with pytest.raises(FormatError) as caught:
        Hash(text)
    assert caught.value.code == "bad_hash_hex"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_bad_length_is_refused(size):
    with pytest.raises(FormatError) as caught:
        Hash.from_bytes(bytes(size))
    assert caught.value.code == "bad_hash_length"


@pytest.mark.parametrize("value", [b"0" * 64, 0, None])
def test_only_text_is_parsed(value):
    with pytest.raises(TypeError):
        Hash(value)


def test_published_hashes():
    assert str(xetway.chunk_hash(b"Hello World!")) == HELLO
    assert bytes(xetway.chunk_hash(b"Hello World!")).hex() == (
        "a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e8"
    )
    assert str(xetway.chunk_hash(b"")) == "e0f2cf784e7e5f10c34f84af150e9a5ff9664216debad915364d741049870f67"
    key = bytes(range(1, 33))
    assert str(xetway.keyed_hash(Hash(HELLO), key)) == (
        "02cc111763c1c960f0c3439d32c5becdf0c4bd2cc825f9f823b400a48d9c1e83"
    )
    pair = [
        Hash("c28f58387a60d4aa200c311cda7c7f77f686614864f5869eadebf765d0a14a69"),
        Hash("6e4e3263e073ce2c0e78cc770c361e2778db3b054b98ab65e277fc084fa70f22"),
    ]
    node = xetway.merkle_root([Chunk(pair[0], 100), Chunk(pair[1], 200)])
    assert str(node) == "be64c7003ccd3cf4357364750e04c9592b3c36705dee76a71590c011766b6c14"
    proof = xetway.verification_hash(pair)
    assert str(proof) == "eb06a8ad81d588ac05d1d9a079232d9c1e7d0b07232fa58091caa7bf333a2768"


@given(st.binary(max_size=300_000))
def test_chunk_hash_is_keyed_blake3(data):
    expected = blake3.blake3(data, key=oracle.DATA_KEY).digest()
    assert bytes(xetway.chunk_hash(data)) == bytes(xetway.shard_hash(data)) == expected


@given(raw_hashes, raw_hashes)
def test_keyed_hash_is_blake3_of_the_raw_hash(raw, key):
    assert bytes(xetway.keyed_hash(Hash.from_bytes(raw), key)) == blake3.blake3(raw, key=key).digest()


@pytest.mark.parametrize(("atoms", "root", "file"), vectors.MERKLE)
def test_merkle_vectors(atoms, root, file):
    chunks = [Chunk(Hash(vectors.ATOMS[atom]), 100 * atom) for atom in atoms]
    assert str(xetway.merkle_root(chunks)) == str(xetway.xorb_hash(iter(chunks))) == root
    assert str(xetway.file_hash(chunks)) == file


def test_salted_file_hash():
    salt = bytes(Hash("285371a6a3c8c4e561469c97766c46f0b9799bd8ea51a4ad27a082df8c28b7da"))
    chunks = [Chunk(Hash(vectors.ATOMS[1]), 100)]
    expected = "6c18994ed5e6a223aeff68a6e386dbba7b3c25de076245dc77892b4ad49ac978"
    assert str(xetway.file_hash(chunks, salt)) == expected
    assert xetway.file_hash(chunks, bytes(32)) == xetway.file_hash(chunks)
    with pytest.raises(FormatError):
        xetway.file_hash(chunks, b"short")


@given(nodes, raw_hashes)
def test_merkle_agrees_with_the_oracle(pairs, salt):
    assert bytes(xetway.merkle_root(listed(pairs))) == oracle.root(pairs)
    assert bytes(xetway.file_hash(listed(pairs), salt)) == oracle.file_hash(pairs, salt)


@given(st.lists(raw_hashes, max_size=20))
def test_verification_agrees_with_the_oracle(raws):
    assert bytes(xetway.verification_hash(map(Hash.from_bytes, raws))) == oracle.verification_hash(raws)
