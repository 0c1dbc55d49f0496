"""Shards."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xetway
from tests.native import oracle
from xetway import FormatError, Hash, Shard, ShardChunk, ShardFile, ShardXorb, Term

LISTED = [(bytes([9 - i]) * 32, 1000 + i, 0) for i in range(4)]
XORB = oracle.root([(chunk, size) for chunk, size, _ in LISTED])
TERMS = [(XORB, 1000, 0, 1), (XORB, 3006, 1, 4)]
PROOFS = [oracle.verification_hash([LISTED[0][0]]), oracle.verification_hash([chunk for chunk, _, _ in LISTED[1:]])]
DIGEST = hashlib.sha256(b"content").digest()
EMPTY = (bytes(32), [], [], bytes(32))
FILE = (oracle.file_hash([(chunk, size) for chunk, size, _ in LISTED]), TERMS, PROOFS, DIGEST)

hashes = st.binary(min_size=32, max_size=32).filter(lambda raw: raw != b"\xff" * 32).map(Hash.from_bytes)
u32 = st.integers(0, 2**32 - 1)
terms = st.builds(Term, hashes, u32, u32, u32)
xorbs = st.builds(
    ShardXorb, hashes, u32, st.lists(st.builds(ShardChunk, hashes, u32, u32, u32), max_size=4).map(tuple), u32
)


@st.composite
def shards(draw):
    proven = draw(st.booleans())
    files = []
    for name in draw(st.lists(hashes, max_size=3, unique=True)):
        listed = tuple(draw(st.lists(terms, max_size=3)))
        proofs = tuple(term.xorb for term in listed) if proven else None
        digest = draw(st.none() | st.binary(min_size=32, max_size=32))
        flags = proven << 31 | (digest is not None) << 30
        files.append(ShardFile(name, listed, proofs, digest, flags))
    return Shard(tuple(files), tuple(draw(st.lists(xorbs, max_size=3))))


def expected_file():
    return ShardFile(
        Hash.from_bytes(FILE[0]),
        tuple(Term(Hash.from_bytes(xorb), size, start, end) for xorb, size, start, end in TERMS),
        tuple(map(Hash.from_bytes, PROOFS)),
        DIGEST,
        0xC0000000,
    )


def stored(key=bytes(32), listed=LISTED):
    head = oracle.shard([FILE], [(XORB, listed)], footer_bytes=200)
    xorbs_at = head.index(oracle.BOOKEND) + 48
    return head + oracle.shard_footer(48, xorbs_at, len(head), key, 5, 6, (0, 4006, 4006))


def test_the_oracles_upload_is_read():
    shard = xetway.read_shard(oracle.shard([FILE, EMPTY], [(XORB, LISTED)]))
    assert shard.files[0] == expected_file()
    assert shard.files[0].size == 4006
    assert shard.files[1] == ShardFile(Hash.ZERO, (), (), bytes(32), 0xC0000000)
    assert shard.xorbs[0].hash == Hash.from_bytes(XORB)
    assert [(bytes(chunk.hash), chunk.raw_bytes) for chunk in shard.xorbs[0].chunks] == [row[:2] for row in LISTED]
    assert [chunk.offset for chunk in shard.xorbs[0].chunks] == [0, 1000, 2001, 3003]
    assert shard.footer is None


def test_the_oracles_stored_form_is_read():
    shard = xetway.read_shard(stored(bytes(range(32))))
    footer = shard.footer
    assert (footer.key, footer.created_s, footer.expiry_s) == (bytes(range(32)), 5, 6)
    assert (footer.disk_bytes, footer.materialized_bytes, footer.stored_bytes) == (0, 4006, 4006)
    assert shard.files == (expected_file(),)


def test_our_bytes_are_the_oracles():
    upload = oracle.shard([FILE, EMPTY], [(XORB, LISTED)])
    assert xetway.write_shard(xetway.read_shard(upload)) == upload
    assert xetway.write_shard(xetway.read_shard(stored()), created_s=5, expiry_s=6) == stored()


def test_the_form_of_hf_xet_1_2_is_read():
    # It says that there is a footer and sends none.
    upload = oracle.shard([FILE], [(XORB, LISTED)], footer_bytes=200)
    assert xetway.read_shard(upload).footer is None


def test_a_keyed_shard_hides_chunk_hashes():
    key = bytes(range(32))
    listed = [(oracle.keyed(key, chunk), size, end) for chunk, size, end in LISTED]
    shard = xetway.read_shard(oracle.shard([FILE], [(XORB, LISTED)]))
    assert xetway.write_shard(shard, created_s=5, expiry_s=6, key=key) == stored(key, listed)
    with pytest.raises(FormatError) as caught:
        xetway.write_shard(shard, key=key)
    assert caught.value.code == "key_without_footer"


@given(shards(), st.none() | st.integers(0, 2**63))
def test_any_shard_round_trips(shard, created_s):
    again = xetway.read_shard(xetway.write_shard(shard, created_s=created_s, expiry_s=7))
    assert (again.files, again.xorbs) == (shard.files, shard.xorbs)
    assert (again.footer is None) == (created_s is None)


def test_what_could_not_be_read_back_is_not_written():
    bookend = Hash.from_bytes(b"\xff" * 32)
    for shard in (Shard((ShardFile(bookend, ()),)), Shard((), (ShardXorb(bookend, 0, ()),))):
        with pytest.raises(FormatError) as caught:
            xetway.write_shard(shard)
        assert caught.value.code == "reserved_hash"
    proven = expected_file()
    with pytest.raises(FormatError) as caught:
        xetway.write_shard(Shard((proven, ShardFile(Hash.ZERO, ()))))
    assert caught.value.code == "verification_missing"
    with pytest.raises(FormatError) as caught:
        xetway.write_shard(Shard((ShardFile(Hash.ZERO, proven.terms, proven.verification[:1]),)))
    assert caught.value.code == "verification_count"


def test_published_shard():
    content = b"Hello World!"
    chunk = oracle.chunk_hash(content)
    file = oracle.file_hash([(chunk, 12)])
    proof = bytes.fromhex("4ccb988e4563cb8923b7a7a5506bbe7592e648535df0824b2b86c35daf1ab75f")
    upload = oracle.shard(
        [(file, [(chunk, 12, 0, 1)], [proof], hashlib.sha256(content).digest())], [(chunk, [(chunk, 12, 20)])]
    )
    assert len(upload) == 432
    assert bytes.fromhex("53fcf17f65b1837f5dd6a14881c12db92877d6a31f4b2dfc69906d1200d2dd4a") in upload
    shard = xetway.read_shard(upload)
    assert shard.files[0].verification == (xetway.verification_hash([xetway.chunk_hash(content)]),)
    assert shard.files[0].sha256 == hashlib.sha256(content).digest()
    flagged = Shard(
        shard.files, tuple(ShardXorb(x.hash, 12, (ShardChunk(x.chunks[0].hash, 12, 0, 1 << 31),)) for x in shard.xorbs)
    )
    stored_form = xetway.write_shard(flagged, created_s=0)
    assert len(stored_form) == 632
    assert str(xetway.shard_hash(stored_form)) == "526a4dff0d5131cc71e1c375c96c81ab67797a76f535554abec681fd2a56d18c"


@pytest.mark.parametrize("whole", [oracle.shard([FILE, EMPTY], [(XORB, LISTED)]), stored()])
def test_truncation_at_every_byte(whole):
    # Without its footer a stored shard is what hf_xet 1.2 uploads.
    complete = {len(whole) - 200} if whole[40] else set()
    for keep in set(range(len(whole))) - complete:
        with pytest.raises(FormatError):
            xetway.read_shard(whole[:keep])


@pytest.mark.parametrize("tail", [b"\0", bytes(48), bytes(199), bytes(200)])
def test_bytes_after_an_upload_are_refused(tail):
    with pytest.raises(FormatError):
        xetway.read_shard(oracle.shard([FILE], [(XORB, LISTED)]) + tail)


def test_a_flipped_bit_is_refused_or_read_as_it_stands():
    whole = stored()
    for bit in range(8 * len(whole)):
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            shard = xetway.read_shard(broken)
        except FormatError:
            continue
        assert shard != xetway.read_shard(whole) or 32 <= bit // 8 < 40 or bit // 8 >= 48


@pytest.mark.parametrize("count", [0x7FFFFFFF, 0xFFFFFFFF, 1_000_000])
def test_counts_that_lie_take_no_memory(count):
    upload = bytearray(oracle.shard([FILE], [(XORB, LISTED)]))
    struct.pack_into("<I", upload, 48 + 36, count)
    with pytest.raises(FormatError):
        xetway.read_shard(upload)
    upload = bytearray(oracle.shard([], [(XORB, LISTED)]))
    struct.pack_into("<I", upload, 48 + 48 + 36, count)
    with pytest.raises(FormatError):
        xetway.read_shard(upload)


@pytest.mark.parametrize(
    "data", [b"", b"HFRepoMetaData", bytes(48), oracle.TAG[:14] + b"X" + oracle.TAG[15:] + bytes(300)]
)
def test_other_bytes_are_no_shard(data):
    with pytest.raises(FormatError):
        xetway.read_shard(data)


@given(st.binary(max_size=600))
def test_garbage_is_refused(garbage):
    for head in (b"", oracle.TAG, oracle.TAG + struct.pack("<QQ", 2, 0)):
        try:
            xetway.write_shard(xetway.read_shard(head + garbage))
        except FormatError as error:
            assert error.format  # noqa: PT017
