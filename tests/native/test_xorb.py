"""Xorbs in memory."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xetway
from tests.native import oracle
from tests.native.oracle import sm
from xetway import FormatError, Hash, IntegrityError, Scheme, TruncatedError, Xorb, XorbChunk

HELLO = bytes.fromhex(
    "000c0000000c000048656c6c6f20576f726c6421584554424c4f4201a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763"
    "a3e858424c424853480001000000a29cfb08e608d4d8726dd8659a90b9134b3240d5d8e42d5fcb28e2a6e763a3e858424c42424e440101000000"
    "140000000c000000010000005c000000300000000000000000000000000000000000000084000000"
)
CHUNKS = [sm(1, 900), b"abcd" * 300, bytes(2000), b"x"]


def sample(schemes=(0, 1, 2, 0)):
    data, name, listed = oracle.xorb(CHUNKS, schemes)
    return data, Hash.from_bytes(name), listed


def described(name, listed):
    starts = [0, *(end for _, _, end in listed)]
    return Xorb(
        name,
        tuple(
            XorbChunk(Hash.from_bytes(chunk), size, start, end)
            for (chunk, size, end), start in zip(listed, starts, strict=False)
        ),
    )


def test_published_bytes():
    data, xorb = xetway.build_xorb([b"Hello World!"])
    assert data == HELLO
    assert str(xorb.hash) == "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb"
    assert xetway.build_xorb([b"Hello World!"], footer=False)[0] == HELLO[:20]
    assert xetway.read_xorb(HELLO) == xetway.read_xorb(HELLO[:20]) == xorb


@pytest.mark.parametrize("footer", [None, 0, 1])
def test_the_oracles_xorb_is_read(footer):
    data, name, listed = sample()
    whole = data if footer is None else data + oracle.footer(bytes(name), listed, footer)
    expected = described(name, listed)
    assert xetway.read_xorb(whole) == xetway.read_xorb(whole, name) == expected
    assert xetway.unpack_xorb(memoryview(whole)) == (expected, b"".join(CHUNKS))
    assert expected.raw_bytes == sum(map(len, CHUNKS))
    assert expected.stored_bytes == len(data)


@pytest.mark.parametrize("scheme", [None, *Scheme])
def test_the_oracle_reads_our_xorb(scheme):
    data, xorb = xetway.build_xorb(CHUNKS, scheme=scheme)
    _, name, _ = sample()
    assert xorb.hash == name
    found = list(oracle.decode(data))
    assert [chunk for _, chunk, _ in found] == CHUNKS
    assert [end for _, _, end in found] == [chunk.end for chunk in xorb.chunks]
    assert all(used in (0, scheme) or scheme is None for used, _, _ in found)
    for chunk in xorb.chunks:
        assert chunk.end - chunk.start <= chunk.raw_bytes + 8
    listed = [(bytes(chunk.hash), chunk.raw_bytes, chunk.end) for chunk in xorb.chunks]
    assert data[xorb.stored_bytes :] == oracle.footer(bytes(name), listed)


@given(st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=12), st.booleans())
def test_any_chunks_round_trip(parts, footer):
    data, xorb = xetway.build_xorb(parts, footer=footer)
    assert xetway.unpack_xorb(data, xorb.hash) == (xorb, b"".join(parts))
    assert bytes(xorb.hash) == oracle.root([(oracle.chunk_hash(part), len(part)) for part in parts])


@pytest.mark.parametrize("footer", [None, 0, 1])
def test_truncation_at_every_byte(footer):
    data, name, listed = sample()
    whole = data if footer is None else data + oracle.footer(bytes(name), listed, footer)
    for keep in range(len(whole)):
        if keep == len(data) and footer is not None:
            continue
        with pytest.raises(FormatError):
            xetway.read_xorb(whole[:keep], name)
    with pytest.raises(TruncatedError):
        xetway.read_xorb(data[:-1])


@pytest.mark.parametrize("footer", [0, 1])
def test_a_flipped_bit_anywhere_is_refused(footer):
    data, name, listed = sample()
    whole = data + oracle.footer(bytes(name), listed, footer)
    reserved = range(len(whole) - 20, len(whole) - 4)
    for at in range(len(whole)):
        for bit in (0, 7) if at > 100 else range(8):
            broken = bytearray(whole)
            broken[at] ^= 1 << bit
            if at in reserved:
                xetway.read_xorb(broken, name)
                continue
            try:
                found = xetway.unpack_xorb(broken, name)
            except FormatError:
                continue
            # A bit of an LZ4 frame that means nothing for its content.
            assert at < len(data)
            assert found[1] == b"".join(CHUNKS)


@pytest.mark.parametrize("tail", [b"\0", bytes(8), b"X", b"XETBLOB", b"XETBLOB\1" + bytes(300), b"\1" * 8])
def test_bytes_after_the_chunks_are_refused(tail):
    data, name, _ = sample()
    with pytest.raises(FormatError):
        xetway.read_xorb(data + tail, name)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda listed: listed[:-1], "footer_mismatch"),
        (lambda listed: [*listed[:-1], (listed[-1][0], 1, listed[-1][2] + 1)], "footer_mismatch"),
        (lambda listed: [*listed[:-1], (bytes(32), 1, listed[-1][2])], "footer_mismatch"),
        (lambda listed: [(chunk, size + 1, end) for chunk, size, end in listed], "footer_mismatch"),
    ],
)
def test_a_footer_that_tells_otherwise_is_refused(change, code):
    data, name, listed = sample()
    with pytest.raises(FormatError) as caught:
        xetway.read_xorb(data + oracle.footer(bytes(name), change(listed)), name)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (oracle.chunk_header(4, 0, 4, version=1), "chunk_version"),
        (oracle.chunk_header(4, 3, 4), "bad_scheme"),
        (oracle.chunk_header(4, 99, 4), "bad_scheme"),
        (oracle.chunk_header(4, 0, 5), "decoded_length"),
        (oracle.chunk_header(0, 0, 0), "chunk_empty"),
        (oracle.chunk_header(4, 0, 131_073), "chunk_too_large"),
        (oracle.chunk_header(262_145, 1, 4), "chunk_too_large"),
        (oracle.chunk_header(5, 0, 5), "truncated"),
        (oracle.chunk_header(0xFFFFFF, 0, 0xFFFFFF), "chunk_too_large"),
    ],
)
def test_lying_headers_are_refused(header, code):
    with pytest.raises(FormatError) as caught:
        xetway.read_xorb(header + b"data")
    assert caught.value.code == code


def test_another_hash_is_refused_with_both():
    data, name, _ = sample()
    with pytest.raises(IntegrityError) as caught:
        xetway.read_xorb(data, Hash.ZERO)
    error = caught.value
    assert (error.code, error.expected, error.actual) == ("xorb_hash", "0" * 64, str(name))


def test_nothing_is_no_xorb():
    for call in (lambda: xetway.read_xorb(b""), lambda: xetway.build_xorb([])):
        with pytest.raises(FormatError) as caught:
            call()
        assert caught.value.code == "xorb_empty"
    for chunk in (b"", bytes(131_073)):
        with pytest.raises(FormatError):
            xetway.build_xorb([chunk])


def test_limits_count_raw_bytes_and_chunks():
    one = bytes(131_072)
    data, xorb = xetway.build_xorb([one] * 512)
    assert xorb.raw_bytes == 67_108_864
    assert xetway.read_xorb(data) == xorb
    with pytest.raises(FormatError) as caught:
        xetway.build_xorb([one] * 512 + [b"x"])
    assert caught.value.code == "xorb_raw_bytes"
    body = data[: xorb.stored_bytes]
    with pytest.raises(FormatError) as caught:
        xetway.read_xorb(body + oracle.encode(b"x", 0))
    assert caught.value.code == "xorb_raw_bytes"
    tiny = oracle.encode(b"x", 0)
    assert len(xetway.read_xorb(tiny * 8192).chunks) == 8192
    with pytest.raises(FormatError) as caught:
        xetway.read_xorb(tiny * 8193)
    assert caught.value.code == "xorb_chunks"


def test_a_footer_length_that_lies_is_refused():
    data, name, listed = sample()
    footer = oracle.footer(bytes(name), listed)
    for length in (0, len(footer) - 5, len(footer) - 3, 0xFFFFFFFF):
        with pytest.raises(FormatError):
            xetway.read_xorb(data + footer[:-4] + struct.pack("<I", length), name)
