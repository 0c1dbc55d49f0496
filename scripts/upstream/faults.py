"""What can go wrong on the way, as rules; and answers sent with one of them applied.

A rule is chosen for an answer by its kind and address. What is left to chance comes from one seeded generator, so
that a failing run can be run again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import threading
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from upstream.wire import Headers, Reply, Request, head_bytes

Pieces: TypeAlias = AsyncGenerator[bytes, None]

DRIP_BYTES = 512
DRIP_PAUSE_S = 0.1
EXPIRED = b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>'
LOGIN_PAGE = b"<!doctype html><title>Sign in to the guest network</title>"


class Fault(Enum):
    """One way to fail. Those about ranges and bytes make sense for data only."""

    CUT = "the connection ends after a part of the body"
    HANGUP = "the connection ends before any answer"
    STALL = "the body stops, and the connection stays open"
    EXPIRED = "403, as an address that is no longer valid"
    TOO_MANY = "429 with Retry-After"
    ERROR = "500, 502 or 503"
    TRUNCATED = "a shorter body than asked for, and a Content-Length that agrees with it"
    WHOLE = "200 with the whole content instead of the range"
    WRONG_RANGE = "another range than asked for, and a Content-Range that says so"
    SHIFTED = "bytes of another place under the right Content-Range"
    FLIP = "one byte is another"
    DRIP = "the body comes very slowly for a while"
    LOGIN = "200 with a page of some other server"


REFUSALS = frozenset({Fault.EXPIRED, Fault.TOO_MANY, Fault.ERROR, Fault.LOGIN})
DATA_ONLY = frozenset({Fault.WHOLE, Fault.WRONG_RANGE, Fault.SHIFTED})


@dataclass
class Rule:
    """When to fail, and how.

    The first `skip` matching answers are left alone, then `times` are hit (None: all), each with `probability`.
    `at` is the place in the body as a fraction; None is a random one. `value` is the status of ERROR or the
    seconds of Retry-After. `seconds` is how long DRIP drips and STALL stalls (until the other side gives up).
    """

    fault: Fault
    kind: str = "xorb_bytes"
    match: str = ""
    skip: int = 0
    times: int | None = 1
    probability: float = 1.0
    at: float | None = None
    value: int | None = None
    seconds: float = 600.0
    seen: int = 0
    hits: int = 0


class Faults:
    """The rules in force. Rules may be added and cleared from any thread."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # chance that can be repeated, no secret
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, reply: Reply, target: str) -> Rule | None:
        """The first rule that hits this answer, counted as used."""
        with self._lock:
            for rule in self._rules:
                if rule.kind != reply.kind or not re.search(rule.match, target):
                    continue
                if rule.fault in DATA_ONLY and reply.source is None:
                    continue
                rule.seen += 1
                exhausted = rule.times is not None and rule.hits >= rule.times
                if rule.seen > rule.skip and not exhausted and self.random.random() < rule.probability:
                    rule.hits += 1
                    return rule
        return None

    def place(self, rule: Rule, length: int) -> int:
        """Where in a body of `length` bytes the fault happens."""
        if length == 0:
            return 0
        return min(length - 1, int(length * rule.at)) if rule.at is not None else self.random.randrange(length)

    def status(self, rule: Rule) -> int:
        return rule.value or self.random.choice([500, 502, 503])

    def shift(self, reply: Reply) -> int:
        """How far another range of the same length lies from the one asked for; never 0 if there is room."""
        assert reply.source is not None
        room = reply.source.size - reply.end
        if room > 0:
            return self.random.randint(1, min(room, 100_000))
        return -self.random.randint(1, reply.start) if reply.start else 0


class Sender:
    """Sends one answer, with or without a fault. Counts its body in `sent_bytes`, and by kind in `totals`."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, faults: Faults, totals: Counter[str]
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._totals = totals
        self.sent_bytes = 0

    async def send(self, request: Request, reply: Reply, rule: Rule | None) -> bool:
        """Send it; True if the connection can be used again."""
        fault = rule.fault if rule else None
        if rule is None:
            return await self._body(request, reply, reply.headers, reply.length, _content(reply))
        if fault is Fault.HANGUP:
            self._writer.transport.abort()
            return False
        if fault in REFUSALS:
            other = self._refusal(reply.kind, rule)
            return await self._body(request, other, other.headers, other.length, _content(other))
        if fault in DATA_ONLY:
            return await self._other_range(request, reply, rule)
        place = self._faults.place(rule, reply.length)
        if fault in {Fault.CUT, Fault.STALL}:
            return await self._stopped(request, reply, rule, place)
        length, pieces = self._changed(reply, rule, place)
        return await self._body(request, reply, reply.headers, length, pieces)

    @staticmethod
    def _changed(reply: Reply, rule: Rule, place: int) -> tuple[int, Pieces]:
        """The body of TRUNCATED, FLIP and DRIP, and the length it is announced with."""
        if rule.fault is Fault.TRUNCATED:
            return place, _first(_content(reply), place)
        if rule.fault is Fault.FLIP:
            return reply.length, _flipped(_content(reply), place)
        return reply.length, _dripped(_content(reply), place, rule.seconds)

    def _refusal(self, kind: str, rule: Rule) -> Reply:
        if rule.fault is Fault.EXPIRED:
            return Reply(kind, 403, [("content-type", "application/xml")], EXPIRED)
        if rule.fault is Fault.LOGIN:
            return Reply(kind, 200, [("content-type", "text/html")], LOGIN_PAGE)
        if rule.fault is Fault.TOO_MANY:
            wait = 1 if rule.value is None else rule.value
            headers = [("retry-after", str(wait)), ("ratelimit", f'"api";r=0;t={wait}')]
            return Reply(kind, 429, [("content-type", "application/json"), *headers], b'{"error":"Too many requests"}')
        return Reply(kind, self._faults.status(rule), [("content-type", "text/plain")], b"upstream trouble")

    async def _other_range(self, request: Request, reply: Reply, rule: Rule) -> bool:
        source = reply.source
        assert source is not None
        headers = [item for item in reply.headers if item[0] != "content-range"]
        if rule.fault is Fault.WHOLE:
            whole = Reply(reply.kind, 200, headers, source=source, start=0, end=source.size)
            return await self._body(request, whole, headers, whole.length, _content(whole))
        shift = self._faults.shift(reply)
        start, end = reply.start + shift, reply.end + shift
        moved = Reply(reply.kind, reply.status, source=source, start=start, end=end)
        if rule.fault is Fault.SHIFTED:
            return await self._body(request, reply, reply.headers, reply.length, _content(moved))
        headers.append(("content-range", f"bytes {start}-{end - 1}/{source.size}"))
        return await self._body(request, Reply(reply.kind, 206), headers, moved.length, _content(moved))

    async def _stopped(self, request: Request, reply: Reply, rule: Rule, place: int) -> bool:
        """CUT and STALL: the head, a part of the body, and no more."""
        self._writer.write(head_bytes(reply.status, [*reply.headers, ("content-length", str(reply.length))]))
        await self._pieces(request, reply.kind, _first(_content(reply), place))
        if rule.fault is Fault.STALL:
            with contextlib.suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(self._reader.read(1), rule.seconds)  # until the other side leaves
        if rule.fault is Fault.STALL or self._faults.random.random() < 0.5:
            self._writer.transport.abort()  # a reset: what was not read yet is lost too
        return False

    async def _body(self, request: Request, reply: Reply, headers: Headers, length: int, pieces: Pieces) -> bool:
        extra = [] if reply.status == 304 else [("content-length", str(length))]
        if any(name == "content-length" for name, _ in headers):
            extra = []
        self._writer.write(head_bytes(reply.status, [*headers, *extra]))
        await self._pieces(request, reply.kind, pieces)
        return request.headers.get("connection", "").lower() != "close"

    async def _pieces(self, request: Request, kind: str, pieces: Pieces) -> None:
        async with contextlib.aclosing(pieces):
            async for piece in pieces:
                if request.method == "HEAD":
                    break
                self._writer.write(piece)
                await self._writer.drain()
                self.sent_bytes += len(piece)
                self._totals[kind] += len(piece)
        await self._writer.drain()


async def _content(reply: Reply) -> Pieces:
    if reply.source is None:
        if reply.body:
            yield reply.body
        return
    async with contextlib.aclosing(reply.source.pieces(reply.start, reply.end)) as pieces:
        async for piece in pieces:
            yield piece


async def _first(whole: Pieces, count: int) -> Pieces:
    async with contextlib.aclosing(whole) as pieces:
        async for piece in pieces:
            if count <= 0:
                return
            yield piece[:count]
            count -= len(piece)


async def _flipped(whole: Pieces, place: int) -> Pieces:
    at = 0
    async with contextlib.aclosing(whole) as pieces:
        async for piece in pieces:
            if at <= place < at + len(piece):
                changed = bytearray(piece)
                changed[place - at] ^= 0x10
                yield bytes(changed)
            else:
                yield piece
            at += len(piece)


async def _dripped(whole: Pieces, place: int, seconds: float) -> Pieces:
    """From `place` on, a little at a time for so long; then the rest at once."""
    at, until = 0, 0.0
    clock = asyncio.get_running_loop().time
    async with contextlib.aclosing(whole) as pieces:
        async for piece in pieces:
            begin = max(0, min(len(piece), place - at))
            at += len(piece)
            yield piece[:begin]
            rest = piece[begin:]
            if rest and not until:
                until = clock() + seconds
            while rest and clock() < until:
                yield rest[:DRIP_BYTES]
                rest = rest[DRIP_BYTES:]
                await asyncio.sleep(DRIP_PAUSE_S)
            yield rest
