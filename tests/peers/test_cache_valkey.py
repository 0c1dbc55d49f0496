"""Cached answers on a real server: shared by all who ask it, believed only if whole, and missed while it is away."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import valkey
from server_process import ServerProcess

from tests.conformance.model_server import ModelServer, answer, chat, events
from tests.peers.certificates import make_authority
from tests.peers.redis_server import RedisServer
from xetway.policy.key_server import TIMEOUT_S, KeyServer, connect
from xetway.policy.storage_valkey import PREFIX, ValkeyStorage

ASK = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "x"}]}
CHAT = "/v1/chat/completions"
ADMIN = "the-key-of-the-administrator"


@asynccontextmanager
async def keeping(
    url: str, clock: Callable[[], float] = lambda: 0.0, timeout_s: float = 20, max_value_bytes: int = 1000
) -> AsyncIterator[ValkeyStorage]:
    server = KeyServer(connect(url, "cache.url", timeout_s), "cache.url", "nothing is cached", clock, timeout_s)
    yield ValkeyStorage(server, max_value_bytes)
    await server.close()


def test_a_value_is_there_for_others_until_its_time_is_over(key_server: RedisServer) -> None:
    async def run() -> None:
        async with keeping(key_server.url) as one, keeping(key_server.url) as other:
            await one.put(b"\x00*k", b"value", 60)
            assert await other.get(b"\x00*k") == b"value"
            await other.put(b"\x00*k", b"", 60)
            assert await one.get(b"\x00*k") == b""
            await one.put(b"short", b"value", 0.0001)
            while await one.get(b"short") is not None:
                pass
            assert await one.get(b"never") is None

    asyncio.run(run())
    with valkey.Valkey.from_url(key_server.url) as client:
        assert 59_000 < client.pttl(PREFIX + b"\x00*k") <= 60_000


def test_what_is_too_large_is_neither_put_nor_read(key_server: RedisServer) -> None:
    async def run() -> None:
        async with keeping(key_server.url) as large, keeping(key_server.url, max_value_bytes=10) as small:
            await small.put(b"a", b"x" * 11, 60)
            await large.put(b"b", b"x" * 11, 60)
            await large.put(b"c", b"x" * 10, 60)
            assert [await small.get(key) for key in (b"a", b"b", b"c")] == [None, None, b"x" * 10]
            assert await large.get(b"a") is None

    asyncio.run(run())


def test_anything_else_that_stands_there_is_nothing(key_server: RedisServer) -> None:
    async def run() -> None:
        async with keeping(key_server.url) as storage:
            await storage.put(b"k", b"value", 60)
            with valkey.Valkey.from_url(key_server.url) as client:
                good = client.get(PREFIX + b"k")
                assert isinstance(good, bytes)
                flipped = good[:-1] + bytes([good[-1] ^ 1])
                for found in (b"", b"x", b"garbage" * 20, good[:-1], good + b"x", flipped):
                    client.set(PREFIX + b"k", found)
                    assert await storage.get(b"k") is None
                client.set(PREFIX + b"other", good)
                assert await storage.get(b"other") is None
                client.set(PREFIX.replace(b":1:", b":2:") + b"k", good)
                assert await storage.get(b"k") is None

    asyncio.run(run())


def test_keys_are_forgotten_by_how_they_begin(key_server: RedisServer) -> None:
    special = b"*?[a-z]\\^\x00\xff"

    async def run() -> None:
        async with keeping(key_server.url) as storage:
            for number in range(2500):
                await storage.put(b"m%d" % number, b"1", 60)
            for key in (special + b"1", b"z" + special):
                await storage.put(key, b"1", 60)
            assert await storage.delete(special)
            assert [await storage.get(key) for key in (special + b"1", b"z" + special, b"m7")] == [None, b"1", b"1"]
            assert await storage.delete(b"m")
            assert [await storage.get(key) for key in (b"m0", b"m2499", b"z" + special)] == [None, None, b"1"]
            assert await storage.delete(b"")

    with valkey.Valkey.from_url(key_server.url) as client:
        client.set("of somebody else", "1")
        asyncio.run(run())
        assert client.keys() == [b"of somebody else"]


def test_while_the_server_is_away_there_is_no_cache(key_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "xetway")
    now = 0.0

    async def run() -> None:
        nonlocal now
        async with keeping(key_server.url, clock=lambda: now) as storage:
            await storage.put(b"k", b"1", 60)
            key_server.stop()
            for _ in range(3):
                assert await storage.get(b"k") is None
                await storage.put(b"k", b"1", 60)
                assert not await storage.delete(b"")
                now += 0.9
            key_server.start()
            now += 2
            assert await storage.get(b"k") is None
            await storage.put(b"k", b"2", 60)
            assert await storage.get(b"k") == b"2"

    asyncio.run(run())
    told = [record.getMessage() for record in caplog.records if record.name == "xetway"]
    assert [("away, nothing is cached" in line, "back" in line) for line in told] == [(True, False), (False, True)]


def test_a_server_that_does_not_answer_is_not_waited_for() -> None:
    async def run() -> None:
        with closing(socket.create_server(("127.0.0.1", 0))) as silent:
            url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
            async with keeping(url, timeout_s=TIMEOUT_S) as storage:
                assert await asyncio.gather(*(storage.get(b"k") for _ in range(20))) == [None] * 20

    asyncio.run(run())


class Tunnel:
    """TLS in front of the server, with a certificate that fits `localhost` and 127.0.0.1."""

    def __init__(self, context: ssl.SSLContext, port: int) -> None:
        self._context = context
        self._to = port

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", 0, ssl=self._context)  # noqa: S104  (127.0.0.2 too)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(_copy(reader, to_server), _copy(from_server, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


@pytest.mark.parametrize("scheme", ["rediss", "valkeys"])
def test_over_tls_the_certificate_has_to_be_trusted_and_to_fit(
    key_server: RedisServer, tmp_path: Path, scheme: str
) -> None:
    authority = make_authority(tmp_path / "ca")

    async def run() -> None:
        async with Tunnel(authority.server_context(), key_server.port) as port:
            for host, query, works in (
                ("127.0.0.1", f"?ssl_ca_certs={authority.root}", True),
                ("127.0.0.1", "", False),
                ("127.0.0.2", f"?ssl_ca_certs={authority.root}", False),
            ):
                async with keeping(f"{scheme}://{host}:{port}/0{query}") as storage:
                    await storage.put(b"k", b"1", 60)
                    assert (await storage.get(b"k") is not None) == works

    asyncio.run(run())


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def gateway(
    tmp_path: Path, make_server: Callable[..., ServerProcess], key_server: RedisServer, upstream: ModelServer
) -> Iterator[Callable[..., httpx.Client]]:
    """`gateway(model="...")` is a client of another server each time, which caches on the same one."""
    clients: list[httpx.Client] = []

    def make(model: str = "") -> httpx.Client:
        config = tmp_path / f"gateway-{len(clients)}.toml"
        config.write_text(
            f'[[models]]\nname = "m"\nupstreams = [{{ url = "{upstream.url}" }}]\n{model}\n'
            f'[cache]\nenabled = true\nurl = "{key_server.url}"\n'
            f'[[auth.keys]]\nname = "root"\nkey = "{ADMIN}"\nscopes = ["infer", "admin"]\n'
        )
        headers = {"authorization": f"Bearer {ADMIN}"}
        url = make_server("--config", str(config)).url
        clients.append(httpx.Client(base_url=url, trust_env=False, timeout=30, headers=headers))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def marks(*clients: httpx.Client, **more: Any) -> list[str]:
    return [client.post(CHAT, json=ASK | more).headers["x-cache"] for client in clients]


def test_servers_share_answers_while_their_models_are_configured_alike(
    gateway: Callable[..., httpx.Client], upstream: ModelServer
) -> None:
    one, other, changed = gateway(), gateway(), gateway("set = { top_k = 1 }")
    assert marks(one, other, one, changed) == ["MISS", "HIT", "HIT", "MISS"]
    assert other.post(CHAT, json=ASK).content == chat("hi")
    assert len(upstream.asked) == 2
    assert other.get("/status").json()["cache"] == {
        "hits": 2, "misses": 0, "bypasses": 0, "shared": 0, "stored": 0,
    }  # fmt: skip


def test_a_stream_is_given_again_as_it_came(gateway: Callable[..., httpx.Client], upstream: ModelServer) -> None:
    upstream.manner = events(b'{"a":1}', b'{"b":2}', b"[DONE]")
    one, other = gateway(), gateway()
    first, again = (client.post(CHAT, json=ASK | {"stream": True}) for client in (one, other))
    assert [got.headers["x-cache"] for got in (first, again)] == ["MISS", "HIT"]
    assert again.headers["content-type"] == "text/event-stream"
    assert again.content == first.content == b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n'


def test_a_server_that_dies_or_holds_something_else_costs_only_the_cache(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, key_server: RedisServer
) -> None:
    client = gateway()
    assert marks(client, client) == ["MISS", "HIT"]
    with valkey.Valkey.from_url(key_server.url) as direct:
        (key,) = direct.keys(PREFIX + b"*")
        direct.set(key, b"something else")
    assert marks(client, client) == ["MISS", "HIT"]
    key_server.stop()
    upstream.manner = answer(chat("later"))
    for _ in range(3):
        got = client.post(CHAT, json=ASK)
        assert (got.status_code, got.headers["x-cache"], got.content) == (200, "MISS", chat("later"))
    key_server.start()
    while marks(client) != ["HIT"]:
        pass


def test_what_is_cleared_on_one_server_is_gone_for_all(
    gateway: Callable[..., httpx.Client], upstream: ModelServer, key_server: RedisServer
) -> None:
    one, other = gateway(), gateway()
    assert marks(one, other) == ["MISS", "HIT"]
    assert one.post("/admin/cache/clear", json={"model": "m"}).json() == {
        "success": True,
        "message": "the answers of m are forgotten",
    }
    assert marks(other, one) == ["MISS", "HIT"]
    key_server.stop()
    told = one.post("/admin/cache/clear").json()["message"]
    assert told == "the answers of all models are forgotten as soon as the cache's server can be reached"
