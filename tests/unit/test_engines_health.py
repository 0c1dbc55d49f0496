"""Asking upstreams how they are."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from xetway.engines.health import HealthChecks
from xetway.engines.remote import RemoteTarget
from xetway.errors import RequestError, TransportError, TransportTimeoutError
from xetway.policy.breaker import Breaker
from xetway.ports import RawHeaders
from xetway.settings import gateway


class DoneError(Exception):
    """Ends the checks."""


def healths(outcomes: list[int | Exception]) -> list[bool]:
    """What a target is after each of these answers."""
    upstream = gateway.Upstream(url="http://127.0.0.1:1/v1", health="/health")
    asked: list[tuple[str, bytes]] = []
    seen: list[bool] = []

    def dial(root: gateway.Upstream, headers: RawHeaders, _timeout_s: float | None):
        async def send(method: str, path: bytes, _: RawHeaders, __: bytes, ___: RawHeaders):
            asked.append((f"{method} {root.url}", path))
            outcome = outcomes[len(asked) - 1]
            if isinstance(outcome, Exception):
                raise outcome
            return SimpleNamespace(status=outcome, close=lambda: None)

        assert not headers
        return send

    target = RemoteTarget(
        gateway.Model(name="m", upstreams=(upstream,)), upstream, dial(upstream, [], None), Breaker(gateway.Breaker())
    )

    async def sleep(_: float) -> None:
        seen.append(target.healthy)
        if len(seen) == len(outcomes):
            raise DoneError

    with pytest.raises(ExceptionGroup) as caught:
        asyncio.run(HealthChecks({"m": [target]}, dial, sleep).run())
    assert caught.group_contains(DoneError)
    assert set(asked) == {("GET http://127.0.0.1:1", b"/health")}
    return seen


def test_two_bad_answers_in_a_row_make_it_unhealthy_and_a_good_one_well() -> None:
    gone = TransportError("gone")
    assert healths([200, 503, 200, 500, gone, 404, 200]) == [True, True, True, True, False, False, True]


def test_a_check_that_cannot_be_sent_is_a_bad_answer() -> None:
    assert healths([RequestError("no such path"), TransportTimeoutError("late"), 200]) == [True, False, True]
