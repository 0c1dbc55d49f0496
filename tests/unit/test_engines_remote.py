"""Upstreams that run elsewhere: whom to try, in which order, and what each is told."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from xetway.engines.remote import RemoteRuntime, RemoteTarget, read_key
from xetway.errors import BusyError, ConfigError, TransportError
from xetway.policy.breaker import Breaker
from xetway.ports import Question, RawHeaders
from xetway.settings import gateway


class Said:
    """An answer that is only a status."""

    headers: RawHeaders
    body: bytes | None = b""
    until_close = False

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

    def dial(self, upstream: gateway.Upstream, extra: RawHeaders, _timeout_s: float | None):
        async def send(method: str, path: bytes, headers: RawHeaders, body: bytes, own: RawHeaders) -> Said:
            self.own = own
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
        models,
        network.dial,
        lambda _model, _upstream, _name: Breaker(options, lambda: time[0]),
        {"KEY": "s3cret\n", "NONE": ""},
    )


async def ask(target: RemoteTarget, path: bytes = b"/x", headers: RawHeaders | None = None, body: bytes = b"{}") -> int:
    question = Question(model(target.upstream), "POST", path, headers or [], body)
    return (await target.send(question)).status


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
    found = model(at(1, key_env="KEY", model="real"), set_headers={"X-Team": "a"}, remove_headers=("X-Secret",))
    (target,) = runtime(network, found).targets["m"]
    headers: RawHeaders = [(b"x-secret", b"1"), (b"accept", b"*/*")]
    asyncio.run(ask(target, b"/chat/completions?x=1", headers, b'{"model":"m"}'))
    assert network.sent == [
        (
            "http://127.0.0.1:1/api/v1",
            "POST",
            b"/chat/completions?x=1",
            [(b"accept", b"*/*")],
            [(b"x-team", b"a"), (b"authorization", b"Bearer s3cret")],
            b'{"model":"real"}',
        )
    ]
    form = b"--x\r\nContent-Disposition: form-data; name=model\r\n\r\n%s\r\n--x--\r\n"
    own: RawHeaders = [(b"content-type", b"multipart/form-data; boundary=x"), (b"x-secret", b"1")]
    asyncio.run(target.send(Question(found, "POST", b"/audio", [], form % b"m", is_json=False, own=own)))
    assert (network.sent[1][-1], network.own) == (form % b"real", own[:1])


@pytest.mark.parametrize("outcome", [TransportError("refused"), 502, 503])
def test_an_upstream_that_fails_is_left_alone_and_tried_again(outcome: int | Exception) -> None:
    network, now = Network(), [0.0]
    found = model(at(1))
    run = runtime(network, found, now=now)
    network.outcomes["http://127.0.0.1:1/api/v1"] = outcome

    async def once() -> int:
        (target,) = (await run.lease(found)).targets
        return await ask(target)

    for _ in range(2):
        if isinstance(outcome, Exception):
            with pytest.raises(TransportError, match="refused"):
                asyncio.run(once())
        else:
            assert asyncio.run(once()) == outcome
    with pytest.raises(BusyError) as caught:
        asyncio.run(once())
    assert (caught.value.code, caught.value.status, caught.value.retry_after_s) == ("no_upstream", 503, 30)
    assert dict(caught.value.headers) == {"retry-after": "30"}
    (target,) = run.targets["m"]
    with pytest.raises(TransportError) as refused:
        asyncio.run(ask(target))
    assert refused.value.code == "breaker_open"
    now[0] = 31
    network.outcomes.clear()
    assert asyncio.run(once()) == 200


def test_internal_errors_are_faults_unless_one_request_has_them_again_and_again() -> None:
    network = Network()
    found = model(at(1))
    (target,) = runtime(network, found).targets["m"]

    async def tell(status: int, body: bytes) -> bool:
        network.outcomes["http://127.0.0.1:1/api/v1"] = status
        assert await ask(target, body=body) == status
        return target.available

    async def main() -> None:
        assert all([await tell(500, b"1") for _ in range(10)])
        assert await tell(200, b"2")
        assert await tell(500, b"1")
        assert await tell(400, b"3")
        assert await tell(500, b"1")
        assert not await tell(500, b"4")

    asyncio.run(main())


@pytest.mark.parametrize("status", [200, 400, 404, 429, 500])
def test_mistakes_of_clients_and_limits_are_no_faults(status: int) -> None:
    network = Network()
    network.outcomes["http://127.0.0.1:1/api/v1"] = status
    found = model(at(1))
    (target,) = runtime(network, found).targets["m"]
    for _ in range(5):
        assert asyncio.run(ask(target)) == status
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
