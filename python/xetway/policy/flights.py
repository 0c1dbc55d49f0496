"""Identical requests under way at the same time: one leads, the others follow and get its answer.

The lead ends with an answer for all, with leave for all to go on by themselves, or, if there is no answer, with the
next one leading. Followers who leave are forgotten; what goes on for followers only ends with the last of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeAlias

import msgspec

from xetway.ports import RawHeaders

_HIT = (b"x-cache", b"HIT")


class Kept(msgspec.Struct, frozen=True):
    """An answer that was there."""

    content_type: bytes
    body: bytes
    age_s: int = 0

    def headers(self) -> RawHeaders:
        """Return what to send beside the length."""
        return [(b"content-type", self.content_type), _HIT, (b"age", b"%d" % self.age_s)]


Outcome: TypeAlias = "Kept | Lead | None"


class Flight:
    """A request under way, and who waits for its answer."""

    __slots__ = ("epoch", "followers", "key", "rest")

    def __init__(self, key: bytes, epoch: int) -> None:
        self.key = key
        self.epoch = epoch
        self.followers: deque[asyncio.Future[Outcome]] = deque()
        # What goes on for the followers when the leader's client has left.
        self.rest: asyncio.Task[None] | None = None

    def take_follower(self) -> asyncio.Future[Outcome] | None:
        """Take out who waits longest."""
        while self.followers:
            future = self.followers.popleft()
            if not future.done():
                return future
        return None


class Lead:
    """The duty to get an answer.

    The first of `land`, `give_up` and `leave` ends it, the others do nothing. Who drops it leaves.
    """

    __slots__ = ("_flight", "_flights", "key")

    def __init__(self, flights: Flights, flight: Flight) -> None:
        self.key = flight.key
        self._flights = flights
        self._flight: Flight | None = flight

    def __del__(self) -> None:
        self.leave()

    @property
    def wanted(self) -> bool:
        """Whether others wait."""
        return self._flight is not None and any(not future.done() for future in self._flight.followers)

    def leave(self) -> None:
        """Let the next one try: there is no answer."""
        flight, self._flight = self._flight, None
        if flight is None:
            return
        flight.rest = None
        following = flight.take_follower()
        if following is None:
            self._flights.forget(flight)
        else:
            following.set_result(Lead(self._flights, flight))

    def give_up(self) -> None:
        """Let all go on by themselves: there is an answer, but none to share."""
        self.land(None)

    def land(self, outcome: Kept | None) -> bool:
        """Give the answer to all who wait. Whether it may be kept: it may not if it was invalidated while it came."""
        flight, self._flight = self._flight, None
        if flight is None:
            return False
        self._flights.forget(flight)
        while (following := flight.take_follower()) is not None:
            following.set_result(outcome)
        return flight.epoch == self._flights.epoch

    def carry_on(self, rest: Coroutine[Any, Any, None]) -> None:
        """Go on without the client, for those who wait; `rest` ends the lead."""
        assert self._flight is not None
        self._flight.rest = asyncio.create_task(rest)


class Flights:
    """All that is under way, by key."""

    def __init__(self) -> None:
        self.epoch = 0
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: bytes) -> Flight | None:
        """Return what is under way and can be followed."""
        return self._flights.get(key)

    def start(self, key: bytes) -> Lead:
        """Lead; if another does so already, without followers."""
        flight = Flight(key, self.epoch)
        self._flights.setdefault(key, flight)
        return Lead(self, flight)

    async def follow(self, flight: Flight) -> Outcome:
        """Wait for the answer, the lead, or leave to go alone."""
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        flight.followers.append(future)
        try:
            return await future
        except BaseException:
            if future.done() and not future.cancelled():
                outcome = future.result()
                if isinstance(outcome, Lead):
                    outcome.leave()
            elif future in flight.followers:
                flight.followers.remove(future)
                if flight.rest is not None and not flight.followers:
                    flight.rest.cancel()
            raise

    def forget(self, flight: Flight) -> None:
        """Let new requests begin anew."""
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    def invalidate(self, prefix: bytes) -> None:
        """Nothing that is under way may be kept; what has such a key is joined by nobody any more."""
        self.epoch += 1
        for key in [key for key in self._flights if key.startswith(prefix)]:
            del self._flights[key]
