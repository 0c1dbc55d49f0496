"""A port whose connections are known from their first moment, so that closing it closes them all.

A server of asyncio's that is closed loses what it accepted a moment before: it is garbage then, and still open.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Self

from upstream.wire import MAX_HEAD_BYTES

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Connection(asyncio.StreamReaderProtocol):
    """One connection; in `among` from its beginning to its end."""

    def __init__(self, among: set[Connection], serve: Serve, is_closed: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(asyncio.StreamReader(MAX_HEAD_BYTES * 4, loop), serve, loop)
        self._among = among
        self._is_closed = is_closed

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.abort = transport.abort
        self._among.add(self)
        super().connection_made(transport)
        if self._is_closed():
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._among.discard(self)
        super().connection_lost(exc)


class Listener:
    """A port that is listened at, on an `asyncio.SelectorEventLoop`: others cannot stop accepting."""

    def __init__(self) -> None:
        self.connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    @classmethod
    async def start(cls, bound: socket.socket, serve: Serve, tls: ssl.SSLContext | None = None) -> Self:
        """Accept connections; `serve` is run for each."""
        self = cls()

        def connection() -> Connection:
            return Connection(self.connections, serve, lambda: self._server is None)

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connection, sock=bound, ssl=tls, backlog=1024)
        return self

    async def close(self) -> None:
        """Accept no more, and end all connections."""
        server, self._server = self._server, None
        assert server is not None
        for listening in server.sockets:
            asyncio.get_running_loop().remove_reader(listening)
        await asyncio.sleep(0)  # what was accepted is attached to the server, which must be open for that
        server.close()
        while self.connections:
            for connection in list(self.connections):
                connection.abort()
            await asyncio.sleep(0)
