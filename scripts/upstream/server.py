"""Runs the three ports in a thread of their own, counts what goes through, and takes orders while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
import traceback
from collections import Counter, deque
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from upstream.data import Addresses, Cas, Cdn
from upstream.faults import Fault, Faults, Rule, Sender
from upstream.hub import Hub
from upstream.listener import Listener
from upstream.manners import Manners
from upstream.wire import Backend, Reply, Request, WireError, read_request

ROLES = {"hub": "127.0.0.1", "cas": "127.0.0.1", "cdn": "localhost"}
DATA_KINDS = ("xorb_bytes", "plain_bytes")
ORDER_TIMEOUT_S = 20.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Seen:
    """A request and what became of it. `bytes` are those of the body that were sent; `target` has no query."""

    role: str
    kind: str
    method: str
    target: str
    headers: dict[str, str]
    status: int
    bytes: int
    fault: Fault | None

    def __str__(self) -> str:
        fault = f", {self.fault.name}" if self.fault else ""
        return f"{self.role} {self.method} {self.target} -> {self.status}, {self.bytes} B{fault}"


@dataclass(frozen=True)
class Count:
    """Requests of one kind, and the bytes sent in answer."""

    requests: int = 0
    bytes: int = 0


def bind(port: int) -> socket.socket:
    """A socket with an address on loopback; port 0 is any that is free."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("127.0.0.1", port))
    return made


class FaultUpstream:
    """The stand-in; a context manager. `url` is what a mirror is given as `--upstream`.

    `behind` is the hosted server, `data` its folder. Everything here may be called from any thread.
    """

    def __init__(
        self,
        behind: str,
        data: Path,
        manners: Manners | None = None,
        *,
        seed: int = 1,
        tls: ssl.SSLContext | None = None,
        remembered: int = 200_000,
    ) -> None:
        self.manners = manners or Manners()
        self.seen: deque[Seen] = deque(maxlen=remembered)
        self.failures: list[str] = []
        self._sent_bytes: Counter[str] = Counter()
        self._faults = Faults(seed)
        self._tls = tls
        self._ports: dict[str, int] = {}
        self._listeners: dict[str, Listener] = {}
        self._bound: dict[str, socket.socket] = {}
        self._addresses = Addresses(self.manners)
        backend = Backend(behind)
        self._answering: dict[str, Hub | Cas | Cdn] = {
            "hub": Hub(backend, self.manners, self._addresses, self),
            "cas": Cas(backend, self.manners, self._addresses),
            "cdn": Cdn(data, self.manners, self._addresses),
        }
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="upstream", daemon=True)
        self._thread.start()
        self.up()
        self._addresses.cdn_url = self.cdn_url

    # -- where it is

    def _address(self, role: str) -> str:
        return f"{'https' if self._tls else 'http'}://{ROLES[role]}:{self._ports[role]}"

    @property
    def url(self) -> str:
        """The Hub's address."""
        return self._address("hub")

    hub_url = url

    @property
    def cas_url(self) -> str:
        return self._address("cas")

    @property
    def cdn_url(self) -> str:
        return self._address("cdn")

    # -- what went through

    def count(self, kind: str) -> Count:
        """Of `hub_api`, `cas_json`, `xorb_bytes` or `plain_bytes`, since the start or `forget`.

        Bytes are counted as they are sent, requests when they are through.
        """
        requests = sum(item.kind == kind for item in list(self.seen))
        return Count(requests, self._sent_bytes[kind])

    @property
    def data_bytes(self) -> int:
        """Bytes of content sent: xorb ranges and plain files."""
        return sum(self.count(kind).bytes for kind in DATA_KINDS)

    @property
    def log(self) -> str:
        """The last requests, to be shown when something failed."""
        return "\n".join(map(str, list(self.seen)[-60:]))

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return sum(len(listener.connections) for listener in list(self._listeners.values()))

    def forget(self) -> None:
        """Begin counting anew."""
        self.seen.clear()
        self._sent_bytes.clear()

    # -- what shall go wrong

    def add(self, *rules: Rule) -> Rule:
        """Put rules in force; returns the last one, whose `hits` tell how often it was applied."""
        for rule in rules:
            self._faults.add(rule)
        return rules[-1]

    def clear(self) -> None:
        """No more faults, and every port open."""
        self._faults.clear()
        self.up()

    def pretend_cdn(self, url: str | None) -> None:
        """Sign addresses of data for another origin; None goes back to the true one."""
        self._addresses.cdn_url = url or self.cdn_url

    def down(self, *roles: str) -> None:
        """Close ports (all of them if none is named) and every connection to them: connections are refused."""
        self._order(self._close(roles or tuple(ROLES)))

    def up(self) -> None:
        """Open all ports again, where they were."""
        self._order(self._open())

    def _order(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ORDER_TIMEOUT_S)

    async def _open(self) -> None:
        for role in ROLES:
            if role not in self._listeners:
                bound = self._bound.pop(role, None) or bind(0)
                self._ports[role] = bound.getsockname()[1]
                self._listeners[role] = await Listener.start(bound, partial(self._serve, role), self._tls)

    async def _close(self, roles: tuple[str, ...]) -> None:
        for role in roles:
            if role in self._listeners:
                await self._listeners.pop(role).close()
                # Bound and not listening: connections are refused, and nobody else gets the port meanwhile.
                self._bound[role] = bind(self._ports[role])

    # -- connections

    async def _serve(self, role: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await read_request(role, reader)) and await self._one(request, reader, writer):
                pass
        except (ConnectionError, WireError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass  # the other side left, or is no HTTP client, or all ends here
        except Exception:  # noqa: BLE001  # a failure of ours must not pass for one of the mirror
            self.failures.append(traceback.format_exc())
        finally:
            writer.close()

    async def _one(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            reply = await self._answering[request.role].answer(request)
        except (WireError, ConnectionError) as error:
            reply = Reply("hub_api", 502, [("content-type", "text/plain")], f"{error}".encode())
        rule = self._faults.take(reply, request.target)
        sender = Sender(reader, writer, self._faults, self._sent_bytes)
        try:
            return await sender.send(request, reply, rule)
        finally:
            self.seen.append(
                Seen(
                    request.role,
                    reply.kind,
                    request.method,
                    urlsplit(request.target).path,
                    request.headers,
                    reply.status,
                    sender.sent_bytes,
                    rule.fault if rule else None,
                )
            )

    # -- the end

    async def _end(self) -> None:
        await self._close(tuple(ROLES))
        while self._bound:
            self._bound.popitem()[1].close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)
        await asyncio.sleep(0)  # what they aborted is closed

    def stop(self) -> None:
        """End it. Raises AssertionError if it failed itself."""
        if self._loop.is_running():
            with contextlib.suppress(TimeoutError):
                self._order(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
        assert not self.failures, "\n".join(self.failures)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
