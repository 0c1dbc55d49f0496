"""A mirror in memory: its upstream is another Hub in this process, and content comes straight from that Hub's store."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.unit.http_driver import Client, scope
from tests.unit.hub_driver import HubDriver
from xetway._native import Hash
from xetway.cas import downloads
from xetway.cas.signing import UrlSigner, XetTokens
from xetway.errors import NotCachedError, TransportError, UpstreamIntegrityError
from xetway.http.app import Application
from xetway.http.router import Router
from xetway.hub import downloads as plain_downloads
from xetway.hub.routes import routes as hub_routes
from xetway.mirror.build import MirrorRoutes
from xetway.mirror.mirror import Mirror, MirrorSettings
from xetway.mirror.ports import Native

URL = "http://upstream.test"
Answer = tuple[int, list[tuple[str, str]], bytes, str]
Meddle = Callable[[str, str, dict[str, str], Answer], Answer]


def unreachable() -> TransportError:
    return TransportError("upstream.test refused the connection", code="connect_failed", host="upstream.test")


class UpstreamHub:
    """A Hub that is asked as `HttpClient` asks. `meddle` may change its answers; `is_down` breaks the connection."""

    def __init__(self, data: Path) -> None:
        self.driver = HubDriver(data)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.is_down = False
        self.meddle: Meddle | None = None
        # Tokens of this Hub, by the names that its users know them by.
        self.tokens: dict[str, str] = {}
        hub = self.driver.hub
        routes = chain(
            hub_routes(hub),
            plain_downloads.routes(hub),
            downloads.routes(hub.store, hub.xet_tokens, UrlSigner(hub.db)),
        )
        self._application = Application(Router(routes))

    async def request(
        self, method: str, url: str, headers: Sequence[tuple[str, str]] = (), body: bytes = b"", **options: Any
    ) -> Answer:
        named = dict(headers)
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        self.asked.append((method, target, dict(headers)))
        await asyncio.sleep(0)
        if self.is_down:
            raise unreachable()
        scheme, _, token = named.get("authorization", "").partition(" ")
        if token in self.tokens:
            named["authorization"] = f"{scheme} {self.tokens[token]}"
        named |= {"host": parts.netloc, "content-length": str(len(body))}
        client = Client((body,))
        await self._application(scope(method, target, named.items()), client.receive, client.send)
        answer: Answer = client.status, list(client.headers.items()), client.body, url
        return answer if self.meddle is None else self.meddle(method, target, dict(headers), answer)

    def stats(self) -> dict[str, int]:
        return {"requests": len(self.asked)}

    def count(self, method: str, part: str) -> int:
        return sum(asked == method and part in target for asked, target, _ in self.asked)


class Stream:
    """Bytes that are there already; with `failure`, they turn out wrong."""

    def __init__(self, data: bytes, failure: UpstreamIntegrityError | None = None) -> None:
        self._data = data
        self._failure = failure
        self.proven = True
        self.closed = False

    async def read_parts(self) -> list[bytes]:
        if self._failure is not None:
            raise self._failure
        piece, self._data = self._data[:1000], self._data[1000:]
        return [piece] if piece else []

    def close(self) -> None:
        self.closed = True


class StoreContent:
    """What `Mirror` of the compiled part does, on the upstream's own store; remembers what it was asked with."""

    def __init__(self, upstream: UpstreamHub) -> None:
        self._upstream = upstream
        self._store = upstream.driver.store
        self._hub = upstream.driver.hub
        self.held: set[Any] = set()
        self.fetched_with: list[Any] = []
        self.opened: list[tuple[Any, ...]] = []
        self.damage: list[str] = []

    def _hold(self, key: Any, source: Any) -> None:
        if key in self.held:
            return
        if source is None:
            raise NotCachedError("this was never fetched")
        if self._upstream.is_down:
            raise unreachable()
        self.fetched_with.append(source)
        self.held.add(key)

    def _stored(self, file: Hash, size: int | None) -> Any:
        stored = self._store.file(file)
        assert stored is not None
        if size not in {None, stored.size}:
            raise _wrong_size(stored.size, size)
        return stored

    async def plan(self, file: Hash, size: int | None, start: int, end: int | None, credentials: Any) -> Any:
        stored = self._stored(file, size)
        self._hold(file, credentials)
        if start >= stored.size:
            return None
        stop = stored.size if end is None else min(end, stored.size)
        return stored.size, 3, *self._store.xorbs.plan(stored.terms, start, stop)

    async def open_xorb(
        self, file: Hash, generation: int, xorb: Hash, start: int, end: int, session: str | None
    ) -> Stream:
        self.opened.append((generation, start, end, session))
        return Stream(_all(self._store.xorbs.open_xorb(xorb, start, end)))

    async def open_file(self, file: Hash, size: int, start: int, end: int, credentials: Any) -> Stream:
        stored = self._stored(file, size)
        self._hold(file, credentials)
        return Stream(_all(self._store.open(stored, start, end)))

    async def open_plain(
        self, algorithm: str, digest: bytes, size: int, start: int, end: int, url: str | None, headers: Any = ()
    ) -> Stream:
        data = self._blob(digest)
        if len(data) != size:
            return Stream(data, _wrong_size(len(data), size))
        self._hold(digest, url)
        self.opened.append((algorithm, digest, url, dict(headers)))
        return Stream(data[start:end])

    def _blob(self, digest: bytes) -> bytes:
        with self._hub.db.read() as tx:
            row = tx.execute("SELECT data FROM blobs WHERE oid = ? OR sha256 = ?", (digest, digest)).fetchone()
        return bytes(row[0])

    async def prefetch(self, file: Hash, size: int, credentials: Any, progress: Any = None) -> None:
        self._stored(file, size)
        self._hold(file, credentials)
        progress(1, 1)

    async def prefetch_plain(
        self, algorithm: str, digest: bytes, size: int, url: str | None, headers: Any = (), progress: Any = None
    ) -> None:
        data = self._blob(digest)
        if len(data) != size:
            raise _wrong_size(len(data), size)
        self._hold(digest, url)

    def known(self, file: Hash) -> tuple[int, int, bool] | None:
        stored = self._store.file(file)
        return (stored.size, stored.size, True) if file in self.held and stored is not None else None

    def known_plain(self, algorithm: str, digest: bytes, size: int) -> tuple[int, bool]:
        return (size, True) if digest in self.held else (0, False)

    def take_damage(self) -> list[str]:
        taken, self.damage = self.damage, []
        return taken

    def stats(self) -> dict[str, int]:
        return {"xorbs": len(self.held)}

    def close(self) -> None:
        pass


class Keys:
    """Stands for `Credentials`: what it is made of can be looked at."""

    @staticmethod
    def fixed(cas_url: str, token: str) -> Any:
        return ("fixed", cas_url, token)

    @staticmethod
    def refresh(url: str, headers: Sequence[tuple[str, str]]) -> Any:
        return ("refresh", url, dict(headers))


def _seal(key: bytes, label: bytes, plain: bytes) -> bytes:
    return hmac.new(key, label + plain, hashlib.sha256).digest() + bytes(byte ^ 0x5A for byte in plain)


def _unseal(key: bytes, label: bytes, sealed: bytes) -> bytes | None:
    plain = bytes(byte ^ 0x5A for byte in sealed[32:])
    return plain if hmac.compare_digest(_seal(key, label, plain), sealed) else None


class MirrorDriver:
    """Sends requests to a server with a hub of its own and a mirror. `now` is the mirror's clock."""

    def __init__(
        self,
        data: Path,
        upstream: UpstreamHub,
        *,
        offline: bool = False,
        fallback: str | None = None,
        stale_s: int = 1000,
    ) -> None:
        self.upstream = upstream
        self.own = HubDriver(data)
        self.now = 1_800_000_000.0
        self.content = StoreContent(upstream)
        native = Native(upstream, self.content, Keys(), _seal, _unseal)
        settings = MirrorSettings(url=URL, offline=offline, max_stale_s=stale_s)
        self.mirror = Mirror(
            settings, data / "mirror", self.own.store.db, native, fallback=fallback, now=lambda: self.now
        )
        hub = self.own.hub
        parts = MirrorRoutes(self.mirror)
        self.routes = [
            *parts.hub_routes(hub, chain(hub_routes(hub), plain_downloads.routes(hub))),
            *parts.content_routes(downloads.routes(hub.store, XetTokens(hub.db), UrlSigner(hub.db))),
        ]
        self._application = Application(Router(self.routes))

    def send(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        status: int | None = 200,
    ) -> Client:
        return self.send_all((method, target, body), token=token, headers=headers, status=status)[0]

    def send_all(
        self,
        *requests: tuple[str, str, bytes],
        token: str | None = None,
        headers: dict[str, str] | None = None,
        status: int | None = 200,
    ) -> list[Client]:
        """Send requests at the same time."""
        named = dict(headers or {}) | ({} if token is None else {"authorization": f"Bearer {token}"})

        async def one(method: str, target: str, body: bytes) -> Client:
            client = Client((body,))
            more = {"content-length": str(len(body))} if body else {}
            await self._application(scope(method, target, (named | more).items()), client.receive, client.send)
            if status is not None:
                assert client.status == status, (client.status, client.body, client.headers)
            return client

        async def go() -> list[Client]:
            return await asyncio.gather(*(one(*request) for request in requests))

        return asyncio.run(go())

    def get(self, target: str, **options: Any) -> Client:
        return self.send("GET", target, **options)


def with_length(more: int) -> Meddle:
    """Let the upstream say that files are `more` bytes longer."""

    def meddle(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        lengths = {"content-length", "x-linked-size"} if method == "HEAD" else set()
        told = [(name, str(int(value) + more) if name in lengths else value) for name, value in answer[1]]
        return answer[0], told, *answer[2:]

    return meddle


def _wrong_size(actual: int, claimed: int | None) -> UpstreamIntegrityError:
    return UpstreamIntegrityError("another length", expected=f"{claimed} bytes", actual=f"{actual} bytes")


def _all(reader: Any) -> bytes:
    return b"".join(iter(reader.read, b""))
