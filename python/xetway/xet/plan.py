"""Reconstruction: which bytes of which xorbs make up a byte range of a file, and the answers that say so.

The structs here are the JSON bodies that Xet clients read: their field names are the protocol's, chunk
ranges are half-open, and byte ranges have *inclusive* ends, as in an HTTP Range header.

Source: draft-denis-xet-03, "Reconstruction"; the answers that `hf_xet` 1.8.0 reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from xetway import _native
from xetway._native import Hash
from xetway.xet.shards import write_terms
from xetway.xet.types import Term, Xorb
from xetway.xet.xorbs import row

Url = Callable[[Hash, int, int], str]
SharedUrl = Callable[[Hash, tuple[tuple[int, int], ...]], str]
NativePlan = tuple[int, list[tuple[Hash, int, int, int]], list[tuple[Hash, list[tuple[int, int, int, int]]]]]


class ChunkRange(msgspec.Struct, frozen=True):
    """Chunk indexes [start, end)."""

    start: int
    end: int


class ByteRange(msgspec.Struct, frozen=True):
    """Byte offsets, both inclusive."""

    start: int
    end: int


class AnswerTerm(msgspec.Struct, frozen=True):
    """Consecutive chunks of a xorb, in file order."""

    hash: str
    unpacked_length: int
    range: ChunkRange


class FetchV1(msgspec.Struct, frozen=True):
    """Where chunks are fetched, in a V1 answer."""

    range: ChunkRange
    url: str
    url_range: ByteRange


class ReconstructionV1(msgspec.Struct, frozen=True):
    """Answer of `GET /v1/reconstructions/{file}`."""

    offset_into_first_range: int
    terms: tuple[AnswerTerm, ...]
    fetch_info: dict[str, tuple[FetchV1, ...]]


class RangeV2(msgspec.Struct, frozen=True):
    """Chunks and the bytes that hold them, in a V2 answer."""

    chunks: ChunkRange
    bytes: ByteRange


class FetchV2(msgspec.Struct, frozen=True):
    """Where ranges of a xorb are fetched, in a V2 answer."""

    url: str
    ranges: tuple[RangeV2, ...]


class ReconstructionV2(msgspec.Struct, frozen=True):
    """Answer of `GET /v2/reconstructions/{file}`."""

    offset_into_first_range: int
    terms: tuple[AnswerTerm, ...]
    xorbs: dict[str, tuple[FetchV2, ...]]


class FetchRange(msgspec.Struct, frozen=True):
    """Chunks [chunk_start, chunk_end), which are serialized bytes [start, end) of their xorb."""

    chunk_start: int
    chunk_end: int
    start: int
    end: int


class XorbFetch(msgspec.Struct, frozen=True):
    """What is needed of a xorb: ranges in order, none touching another."""

    xorb: Hash
    ranges: tuple[FetchRange, ...]


class Plan(msgspec.Struct, frozen=True):
    """How a byte range is put together: decode the terms, drop the first `offset_bytes`, cut the end."""

    offset_bytes: int
    terms: tuple[Term, ...]
    fetches: tuple[XorbFetch, ...]

    def v1(self, url: Url) -> ReconstructionV1:
        """Return the V1 answer; `url(xorb, start, end)` names bytes [start, end) of a xorb."""
        fetches = {
            str(fetch.xorb): tuple(
                FetchV1(_chunks(part), url(fetch.xorb, part.start, part.end), _bytes(part)) for part in fetch.ranges
            )
            for fetch in self.fetches
        }
        return ReconstructionV1(self.offset_bytes, self._answer_terms(), fetches)

    def v2(self, url: Url) -> ReconstructionV2:
        """Return the V2 answer, each range under an address of its own."""
        return self.v2_shared(lambda xorb, spans: url(xorb, *spans[0]), 1)

    def v2_shared(self, url: SharedUrl, ranges_per_url: int) -> ReconstructionV2:
        """Return the V2 answer; `url(xorb, spans)` names up to so many byte ranges [start, end) of a xorb."""
        fetches = {
            str(fetch.xorb): tuple(
                FetchV2(
                    url(fetch.xorb, tuple((part.start, part.end) for part in parts)),
                    tuple(RangeV2(_chunks(part), _bytes(part)) for part in parts),
                )
                for first in range(0, len(fetch.ranges), ranges_per_url)
                for parts in (fetch.ranges[first : first + ranges_per_url],)
            )
            for fetch in self.fetches
        }
        return ReconstructionV2(self.offset_bytes, self._answer_terms(), fetches)

    def _answer_terms(self) -> tuple[AnswerTerm, ...]:
        return tuple(
            AnswerTerm(str(term.xorb), term.raw_bytes, ChunkRange(term.start, term.end)) for term in self.terms
        )


def plan_reconstruction(terms: Iterable[Term], xorbs: Iterable[Xorb], start: int = 0, end: int | None = None) -> Plan:
    """Plan bytes [start, end) of the file that `terms` make up.

    Args:
        terms: All terms of the file, in order.
        xorbs: At least the xorbs that the range touches.
        start: First byte.
        end: One past the last byte; the end of the file if not given or past it.

    Raises:
        FormatError: `range_outside`, or a term that doesn't fit its xorb, or whose xorb is not given.

    Example:
        >>> from xetway import Term, build_xorb, plan_reconstruction
        >>> _, xorb = build_xorb([b"Hello ", b"World!"])
        >>> plan = plan_reconstruction([Term(xorb.hash, 12, 0, 2)], [xorb], start=8)
        >>> plan.offset_bytes, plan.terms[0].start
        (2, 1)
        >>> plan.v1(lambda xorb, start, end: "https://xorbs.test/").fetch_info[str(xorb.hash)][0].url_range
        ByteRange(start=14, end=27)
    """
    terms = tuple(terms)
    stop = sum(term.raw_bytes for term in terms) if end is None else end
    rows = [
        (
            xorb.hash,
            b"".join(bytes(chunk.hash) for chunk in xorb.chunks),
            row(chunk.raw_bytes for chunk in xorb.chunks),
            row(chunk.end for chunk in xorb.chunks),
        )
        for xorb in xorbs
    ]
    return read_plan(_native.plan(write_terms(terms), rows, start, stop))


def read_plan(native: NativePlan) -> Plan:
    """Give the names to a plan as the native `plan` functions return it."""
    offset, parts, fetches = native
    return Plan(
        offset,
        tuple(Term(*part) for part in parts),
        tuple(XorbFetch(xorb, tuple(FetchRange(*part) for part in ranges)) for xorb, ranges in fetches),
    )


def _chunks(part: FetchRange) -> ChunkRange:
    return ChunkRange(part.chunk_start, part.chunk_end)


def _bytes(part: FetchRange) -> ByteRange:
    return ByteRange(part.start, part.end - 1)
