"""Compression of chunks, against the C implementation of LZ4."""

import lz4.frame
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xetway
from tests.native import oracle
from xetway import FormatError, Scheme, TruncatedError

SCHEMES = list(Scheme)
RNG = np.random.default_rng(1)
SAMPLES = {
    "one": b"a",
    "zeros": bytes(131_072),
    "text": b"the quick brown fox " * 4000,
    "noise": RNG.bytes(70_001),
    "float32": RNG.normal(size=20_000).astype("<f4").tobytes(),
    "bfloat16": RNG.normal(size=40_000).astype("<f4").view("<u2")[1::2].tobytes(),
    "odd": b"abcabcabc" * 1001,
}


def payload(data, scheme):
    return oracle.group(data) if scheme == Scheme.BYTE_GROUPING_LZ4 else data


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", SAMPLES)
def test_round_trip_and_the_other_implementation_reads_it(name, scheme):
    data = SAMPLES[name]
    packed = xetway.compress(data, scheme)
    assert type(packed) is bytes
    assert xetway.decompress(packed, scheme, len(data)) == data
    if scheme == Scheme.NONE:
        assert packed == data
    else:
        assert lz4.frame.decompress(packed) == payload(data, scheme)


@pytest.mark.parametrize("scheme", SCHEMES[1:])
@pytest.mark.parametrize("block_size", [0, 4, 5, 6, 7])
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("checks", [(False, False), (True, True)])
@pytest.mark.parametrize("sized", [True, False])
def test_every_legal_frame_is_read(scheme, block_size, linked, checks, sized):
    for data in SAMPLES.values():
        frame = lz4.frame.compress(
            payload(data, scheme),
            block_size=block_size,
            block_linked=linked,
            content_checksum=checks[0],
            block_checksum=checks[1],
            store_size=sized,
            compression_level=9 if linked else 0,
        )
        assert xetway.decompress(frame, scheme, len(data)) == data


@given(st.binary(min_size=1, max_size=5000), st.sampled_from(SCHEMES), st.integers(1, 30))
def test_any_data_round_trips(data, scheme, times):
    data = (data * times)[:131_072]
    assert xetway.decompress(xetway.compress(data, scheme), scheme, len(data)) == data


def test_byte_groups():
    for size, order in {
        10: [0, 4, 8, 1, 5, 9, 2, 6, 3, 7],
        13: [0, 4, 8, 12, 1, 5, 9, 2, 6, 10, 3, 7, 11],
        15: [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11],
        8: [0, 4, 1, 5, 2, 6, 3, 7],
    }.items():
        data = bytes(range(size))
        frame = xetway.compress(data, Scheme.BYTE_GROUPING_LZ4)
        assert list(lz4.frame.decompress(frame)) == order
        assert oracle.ungroup(bytes(order)) == data


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_length_must_be_exact(scheme):
    data = SAMPLES["text"]
    packed = xetway.compress(data, scheme)
    for wrong in (0, 1, len(data) - 1, len(data) + 1, 131_072):
        with pytest.raises(FormatError):
            xetway.decompress(packed, scheme, wrong)


def test_no_chunk_is_longer_than_the_limit():
    with pytest.raises(FormatError) as caught:
        xetway.decompress(xetway.compress(bytes(131_073), Scheme.LZ4), Scheme.LZ4, 131_073)
    assert caught.value.code == "chunk_too_large"


@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_truncation_at_every_byte(scheme):
    data = SAMPLES["text"][:3000]
    packed = lz4.frame.compress(payload(data, scheme), content_checksum=True, block_checksum=True, store_size=True)
    for keep in range(len(packed)):
        with pytest.raises(FormatError):
            xetway.decompress(packed[:keep], scheme, len(data))
    with pytest.raises(FormatError):
        xetway.decompress(packed + b"\0", scheme, len(data))


@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_a_flipped_bit_never_gives_other_bytes_of_a_checked_frame(scheme):
    data = SAMPLES["text"][:3000]
    packed = lz4.frame.compress(payload(data, scheme), content_checksum=True, block_checksum=True)
    for bit in range(8 * len(packed)):
        broken = bytearray(packed)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            found = xetway.decompress(broken, scheme, len(data))
        except FormatError:
            continue
        assert found == data


@given(st.binary(max_size=2000), st.sampled_from(SCHEMES), st.integers(0, 140_000))
def test_garbage_is_refused_or_has_the_length_asked_for(garbage, scheme, size):
    for data in (garbage, xetway.compress(b"", 1)[:7] + garbage):
        try:
            assert len(xetway.decompress(data, scheme, size)) == size
        except FormatError as error:
            assert type(error).__module__ == "xetway.errors"  # noqa: PT017


@pytest.mark.parametrize("scheme", [3, 4, 99, 255])
def test_unknown_schemes_are_refused(scheme):
    for call in (lambda: xetway.compress(b"x", scheme), lambda: xetway.decompress(b"x", scheme, 1)):
        with pytest.raises(FormatError) as caught:
            call()
        assert caught.value.code == "bad_scheme"


def test_a_truncated_frame_says_so():
    with pytest.raises(TruncatedError) as caught:
        xetway.decompress(b"\x04\x22\x4d", Scheme.LZ4, 10)
    assert caught.value.code == "truncated"


def test_schemes_are_chosen_for_what_the_data_is():
    assert xetway.choose_scheme(SAMPLES["noise"]) is Scheme.NONE
    assert xetway.choose_scheme(SAMPLES["text"]) is Scheme.LZ4
    assert xetway.choose_scheme(SAMPLES["float32"]) is Scheme.BYTE_GROUPING_LZ4
    assert xetway.choose_scheme(b"") in SCHEMES
