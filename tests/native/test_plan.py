"""Reconstruction plans, followed by hand with the oracle."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xetway
from tests.native import oracle
from tests.native.oracle import sm
from xetway import FormatError, Hash, Term

PARTS = [[sm(seed * 10 + i, 50 + 37 * i) for i in range(6)] for seed in (1, 2)]
BUILT = [xetway.build_xorb(parts) for parts in PARTS]
XORBS = [xorb for _, xorb in BUILT]


def term(xorb, start, end):
    return Term(XORBS[xorb].hash, sum(len(part) for part in PARTS[xorb][start:end]), start, end)


def content(terms):
    names = [xorb.hash for xorb in XORBS]
    return b"".join(b"".join(PARTS[names.index(item.xorb)][item.start : item.end]) for item in terms)


def follow(answer, fetched):
    """Do what a client does with an answer: fetch, decode, join the terms, drop what is before the range."""
    chunks = {}
    for name, parts in fetched.items():
        data = BUILT[[str(xorb.hash) for xorb in XORBS].index(name)][0]
        for chunk_range, first, last in parts:
            decoded = [chunk for _, chunk, _ in oracle.decode(data[first : last + 1])]
            assert len(decoded) == chunk_range.end - chunk_range.start
            for index, chunk in enumerate(decoded, start=chunk_range.start):
                assert (name, index) not in chunks
                chunks[name, index] = chunk
    out = b""
    for item in answer.terms:
        joined = b"".join(chunks[item.hash, index] for index in range(item.range.start, item.range.end))
        assert len(joined) == item.unpacked_length
        out += joined
    return out[answer.offset_into_first_range :]


spans = st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(1, 6)).map(
    lambda s: (s[0], s[1], min(6, s[1] + s[2]))
)


@settings(max_examples=200)
@given(st.lists(spans, max_size=6), st.integers(0, 3000), st.integers(0, 3000))
def test_answers_lead_to_the_bytes(picked, start, length):
    terms = [term(*span) for span in picked]
    data = content(terms)
    start = min(start, len(data))
    end = start + length
    plan = xetway.plan_reconstruction(terms, XORBS, start, end)
    asked = []

    def url(xorb, first, last):
        asked.append((xorb, first, last))
        return f"/{xorb}?{first}-{last}"

    v1 = plan.v1(url)
    fetched = {
        name: [(part.range, part.url_range.start, part.url_range.end) for part in parts]
        for name, parts in v1.fetch_info.items()
    }
    assert follow(v1, fetched)[:length] == data[start:end]
    v2 = plan.v2(url)
    fetched = {
        name: [(part.chunks, part.bytes.start, part.bytes.end) for fetch in fetches for part in fetch.ranges]
        for name, fetches in v2.xorbs.items()
    }
    assert follow(v2, fetched)[:length] == data[start:end]
    assert v1.terms == v2.terms
    # Nothing is fetched that no term uses.
    used = {(item.hash, index) for item in v1.terms for index in range(item.range.start, item.range.end)}
    offered = {
        (name, index)
        for name, parts in v1.fetch_info.items()
        for part in parts
        for index in range(part.range.start, part.range.end)
    }
    assert used == offered
    assert all(type(xorb) is Hash and first < last for xorb, first, last in asked)


def test_json_of_the_answers():
    plan = xetway.plan_reconstruction([term(0, 0, 2), term(0, 2, 3), term(1, 4, 5)], XORBS, 60)
    name, other = (str(xorb.hash) for xorb in XORBS)
    v1 = msgspec.json.decode(msgspec.json.encode(plan.v1(lambda _, start, end: f"u{start}-{end}")))
    ends = [chunk.end for chunk in XORBS[0].chunks]
    assert v1["offset_into_first_range"] == 10
    assert v1["terms"][0] == {"hash": name, "unpacked_length": 87, "range": {"start": 1, "end": 2}}
    assert v1["fetch_info"][name] == [
        {
            "range": {"start": 1, "end": 3},
            "url": f"u{ends[0]}-{ends[2]}",
            "url_range": {"start": ends[0], "end": ends[2] - 1},
        }
    ]
    v2 = msgspec.json.decode(msgspec.json.encode(plan.v2(lambda _, start, end: f"u{start}-{end}")))
    assert v2["xorbs"][name] == [
        {
            "url": f"u{ends[0]}-{ends[2]}",
            "ranges": [{"chunks": {"start": 1, "end": 3}, "bytes": {"start": ends[0], "end": ends[2] - 1}}],
        }
    ]
    assert list(v1["fetch_info"]) == list(v2["xorbs"]) == [name, other]


def test_the_empty_file():
    plan = xetway.plan_reconstruction([], [])
    url = lambda *_: "never"  # noqa: E731
    assert msgspec.to_builtins(plan.v1(url)) == {"offset_into_first_range": 0, "terms": (), "fetch_info": {}}
    assert msgspec.to_builtins(plan.v2(url)) == {"offset_into_first_range": 0, "terms": (), "xorbs": {}}


@pytest.mark.parametrize(
    ("terms", "span", "code"),
    [
        ([term(0, 0, 2)], (138, 200), "range_outside"),
        ([term(0, 0, 2)], (2, 1), "range_outside"),
        ([Term(XORBS[0].hash, 10, 5, 7)], (0, 10), "chunk_range"),
        ([Term(XORBS[0].hash, 10, 3, 3)], (0, 10), "chunk_range"),
        ([Term(XORBS[0].hash, 51, 0, 1)], (0, 10), "length_mismatch"),
        ([Term(Hash.ZERO, 51, 0, 1)], (0, 10), "unknown_xorb"),
    ],
)
def test_plans_that_cannot_be(terms, span, code):
    with pytest.raises(FormatError) as caught:
        xetway.plan_reconstruction(terms, XORBS, *span)
    assert caught.value.code == code
