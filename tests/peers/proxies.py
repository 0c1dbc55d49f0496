"""Proxies of a test: HTTP (forwarding and CONNECT) and SOCKS5, both only for those who know the password."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from upstream.listener import Listener
from upstream.server import bind

USER, PASSWORD = "proxy-user", "proxy-p@ss:word"
QUOTED = "proxy-p%40ss%3Aword"


class Proxy:
    """Speaks both on one port, told apart by the first byte. A context manager."""

    def __init__(self) -> None:
        self.served: list[str] = []  # what was asked for, "HOW host:port"
        self.refused = 0
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        bound = bind(0)
        self.port: int = bound.getsockname()[1]
        self._listener = asyncio.run_coroutine_threadsafe(Listener.start(bound, self._serve), self._loop).result(10)

    def url(self, scheme: str = "http", password: str = QUOTED) -> str:
        return f"{scheme}://{USER}:{password}@127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            first = await reader.readexactly(1)
            await (self._socks(reader, writer) if first == b"\x05" else self._http(first, reader, writer))
        writer.transport.abort()

    async def _http(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = first + await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, target, _ = line.split(" ")
        known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if f"proxy-authorization: basic {known}".lower() not in head.decode("latin-1").lower():
            self.refused += 1
            writer.write(
                b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n'
                b"Content-Length: 0\r\nConnection: close\r\n\r\n"
            )
            await writer.drain()
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            self.served.append(f"CONNECT {target}")
            there = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            self.served.append(f"FORWARD {parts.netloc}")
            there = await asyncio.open_connection(parts.hostname, parts.port or 80)
            kept = [item for item in lines if not item.lower().startswith(("proxy-", "connection:"))]
            path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
            there[1].write("\r\n".join([f"{method} {path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode())
        await self._both_ways(reader, writer, *there)

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """RFC 1928 with the user name and password of RFC 1929."""
        await reader.readexactly((await reader.readexactly(1))[0])
        writer.write(b"\x05\x02")
        await reader.readexactly(1)
        user = await reader.readexactly((await reader.readexactly(1))[0])
        password = await reader.readexactly((await reader.readexactly(1))[0])
        if (user, password) != (USER.encode(), PASSWORD.encode()):
            self.refused += 1
            writer.write(b"\x01\x01")
            await writer.drain()
            return
        writer.write(b"\x01\x00")
        _, _, _, form = await reader.readexactly(4)
        if form == 1:
            host = ".".join(map(str, await reader.readexactly(4)))
        else:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.served.append(f"SOCKS {host}:{port}")
        there = await asyncio.open_connection(host, port)
        writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        await self._both_ways(reader, writer, *there)

    @staticmethod
    async def _both_ways(
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_there: asyncio.StreamReader,
        to_there: asyncio.StreamWriter,
    ) -> None:
        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while piece := await source.read(65_536):
                    target.write(piece)
                    await target.drain()
            target.close()

        try:
            await asyncio.gather(pass_on(reader, to_there), pass_on(from_there, writer))
        finally:
            to_there.transport.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            await self._listener.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # what they aborted is closed

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
