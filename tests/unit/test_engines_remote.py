"""Upstreams that run elsewhere: whom to try, in which order, and what each is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from xetway.engines.remote import RemoteRuntime, read_key, worth_another
from xetway.errors import BusyError, ConfigError, TransportError
from xetway.policy.breaker import Breaker
from xetway.ports import RawHeaders
from xetway.settings import gateway


class Said:
    """An answer that is only a status."""

    headers: RawHeaders
    body: bytes | None = b""

    def __init__(self, status: int) -> None:
        self.status = status
        self.headers = []

    async def read(self) -> bytes:
        return b""

    def close(self) -> None:
        pass


class Network:
    """Notes what is sent, and answers as it is told to: a status, or an error."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bytes, RawHeaders, RawHeaders, bytes]] = []
        self.outcomes: dict[str, int | Exception] = {}

    def dial(self, upstream: gateway.Upstream):
        async def send(method: str, path: bytes, headers: RawHeaders, extra: RawHeaders, body: bytes) -> Said:
            self.sent.append((upstream.url, method, path, headers, extra, body))
            outcome = self.outcomes.get(upstream.url, 200)
            if isinstance(outcome, Exception):
                raise outcome
            return Said(outcome)

        return send


def runtime(network: Network, *models: gateway.Model, now: list[float] | None = None) -> RemoteRuntime:
    time = now or [0.0]
    options = gateway.Breaker(failures=2, open_for=30)
    return RemoteRuntime(
        models, network.dial, lambda: Breaker(options, lambda: time[0]), {"KEY": "s3cret\n", "NONE": ""}
    )


def model(*upstreams: gateway.Upstream, **more: object) -> gateway.Model:
    return gateway.Model(name="m", upstreams=upstreams, **more)


def at(port: int, **more: object) -> gateway.Upstream:
    return gateway.Upstream(url=f"http://127.0.0.1:{port}/api/v1", **more)


def test_weights_are_kept_and_spread() -> None:
    found = model(at(1, weight=5), at(2, weight=2), at(3, weight=1))
    run = runtime(Network(), found)

    async def firsts() -> list[str]:
        return [(await run.lease(found)).targets[0].name for _ in range(80)]

    names = asyncio.run(firsts())
    assert Counter(names) == {"127.0.0.1:1": 50, "127.0.0.1:2": 20, "127.0.0.1:3": 10}
    assert not any(names[start : start + 5] == ["127.0.0.1:1"] * 5 for start in range(75))


def test_all_upstreams_follow_so_that_the_next_can_be_tried() -> None:
    found = model(at(1), at(2), at(3))
    lease = asyncio.run(runtime(Network(), found).lease(found))
    assert sorted(target.name for target in lease.targets) == ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]
    lease.release()


def test_what_an_upstream_is_told() -> None:
    network = Network()
    found = model(
        at(1, key_env="KEY", model="real"), set_headers={"X-Team": "a"}, remove_headers=("X-Secret",), set={"k": 1}
    )
    (target,) = runtime(network, found).targets["m"]
    headers: RawHeaders = [(b"x-secret", b"1"), (b"accept", b"*/*")]
    asyncio.run(target.send("POST", b"/chat/completions?x=1", headers, b"{}"))
    assert network.sent == [
        (
            "http://127.0.0.1:1/api/v1",
            "POST",
            b"/api/v1/chat/completions?x=1",
            [(b"accept", b"*/*")],
            [(b"x-team", b"a"), (b"authorization", b"Bearer s3cret")],
            b"{}",
        )
    ]
    assert target.edits.apply(b'{"model":"m"}') == b'{"model":"real","k":1}'


@pytest.mark.parametrize("outcome", [TransportError("refused"), 500, 503])
def test_an_upstream_that_fails_is_left_alone_and_tried_again(outcome: int | Exception) -> None:
    network, now = Network(), [0.0]
    found = model(at(1))
    run = runtime(network, found, now=now)
    network.outcomes["http://127.0.0.1:1/api/v1"] = outcome

    async def ask() -> int:
        (target,) = (await run.lease(found)).targets
        return (await target.send("POST", b"/x", [], b"")).status

    for _ in range(2):
        if isinstance(outcome, Exception):
            with pytest.raises(TransportError, match="refused"):
                asyncio.run(ask())
        else:
            assert asyncio.run(ask()) == outcome
    with pytest.raises(BusyError) as caught:
        asyncio.run(ask())
    assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("no_upstream", 503, 30)
    assert dict(caught.value.headers) == {"retry-after": "30"}
    (target,) = run.targets["m"]
    with pytest.raises(TransportError) as refused:
        asyncio.run(target.send("POST", b"/x", [], b""))
    assert refused.value.code == "breaker_open"
    now[0] = 31
    network.outcomes.clear()
    assert asyncio.run(ask()) == 200


@pytest.mark.parametrize("status", [200, 400, 404, 429])
def test_mistakes_of_clients_and_limits_are_no_faults(status: int) -> None:
    network = Network()
    network.outcomes["http://127.0.0.1:1/api/v1"] = status
    found = model(at(1))
    (target,) = runtime(network, found).targets["m"]
    for _ in range(5):
        assert asyncio.run(target.send("POST", b"/x", [], b"")).status == status
    assert target.available


def test_one_that_is_not_healthy_is_not_tried() -> None:
    found = model(at(1), at(2))
    run = runtime(Network(), found)
    first, second = run.targets["m"]
    first.healthy = False
    assert [target.name for target in asyncio.run(run.lease(found)).targets] == [second.name]
    second.healthy = False
    with pytest.raises(BusyError) as caught:
        asyncio.run(run.lease(found))
    assert caught.value.retry_after_s == 5


def test_which_answers_another_upstream_may_better() -> None:
    assert [status for status in (200, 400, 404, 429, 500, 502, 503, 504) if worth_another(status)] == [
        429, 502, 503, 504,
    ]  # fmt: skip


def test_keys_of_upstreams_are_read_and_never_told(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("  abc \n")
    assert read_key(at(1, key_file=path), {}) == "abc"
    assert read_key(at(1), {}) is None
    path.write_text("two\nlines")
    wrong = [at(1, key_env="NONE"), at(1, key_env="UNSET"), at(1, key_file=tmp_path / "no"), at(1, key_file=path)]
    for upstream in wrong:
        with pytest.raises(ConfigError) as caught:
            read_key(upstream, {"NONE": " "})
        assert "lines" not in caught.value.message
