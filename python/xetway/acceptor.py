"""Granian in this process and on its loop: it accepts connections from a listener and speaks HTTP.

**New certificates.** Granian reads them once. So a second one begins on the same socket with the new ones, and the
first stops: it accepts no more, and lets its connections finish. Connections that neither has accepted wait in the
socket's queue, so none is lost.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings, HTTP2Settings
from granian.server.embed import Server

from xetway.certificates import Certificates
from xetway.errors import ConfigError
from xetway.http.app import Application
from xetway.http.errors import describe
from xetway.listening import BACKLOG
from xetway.quiet import close_quiet
from xetway.settings.gateway import Http

logger = logging.getLogger("xetway")

# What one connection may buffer either way; with it the largest request head that is parsed at all. Larger values take
# uploads in fewer, larger pieces, and cost this much more for each client that does not read.
CONNECTION_BUFFER_BYTES = 128 * 1024
# Besides the headers, in a head: the request line, and what HTTP/2 counts for each header.
_HEAD_SLACK_BYTES = 16 * 1024
_LOOK_EVERY_S = 1.0
# Granian tells at once if it cannot begin.
_BEGIN_S = 0.5


class Acceptor:
    """Answers what comes in on a listener.

    `begun` is called each time that Granian has set up its own logging. The number of connections is that of
    Granian's backpressure: idle ones count too, and those beyond it wait in the listener's queue.
    """

    def __init__(
        self,
        application: Application,
        listener: socket.socket,
        limits: Http,
        certificates: Certificates | None,
        begun: Callable[[], None],
    ) -> None:
        self._application = application
        self._listener = listener
        self._limits = limits
        self._certificates = certificates
        self._begun = begun
        self._running: dict[asyncio.Task[None], Server] = {}
        self._current: asyncio.Task[None] | None = None
        self._beside: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Accept until `stop`, then wait for the last connection to close.

        Raises:
            BaseException: Whatever ended it before; it may be Granian's own.
        """
        self._current = self._begin()
        if self._certificates is not None:
            self._beside.append(asyncio.create_task(self._follow(self._certificates)))
            quiet = close_quiet(self._listener, self._limits.header_timeout, self._application.clients)
            self._beside.append(asyncio.create_task(quiet))
        while self._running:
            done, _ = await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                del self._running[task]
                if task is self._current:
                    task.result()
                    raise RuntimeError("it ended without a reason")
                if (error := task.exception()) is not None:
                    logger.error("the new certificate is not used: %s", error)

    def stop(self) -> None:
        """Accept no more; close idle connections, and others after their answers."""
        self._current = None
        for task in self._beside:
            task.cancel()
        self._listener.close()
        for server in self._running.values():
            server.stop()  # type: ignore[no-untyped-call]

    def _begin(self) -> asyncio.Task[None]:
        server = _Embedded(self._application, self._listener, self._limits, self._certificates)
        self._begun()
        task = asyncio.create_task(server.serve())
        self._running[task] = server
        return task

    async def _follow(self, certificates: Certificates) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if not certificates.changed():
                continue
            try:
                certificates.check()
                new = self._begin()
            except (ConfigError, OSError) as error:
                logger.error("the new certificate is not used: %s", describe(error))  # noqa: TRY400
                continue
            await asyncio.wait({new}, timeout=_BEGIN_S)
            if not new.done():
                assert self._current is not None
                old, self._current = self._current, new
                self._running[old].stop()  # type: ignore[no-untyped-call]
                logger.info("new connections get the new certificate")


class _Embedded(Server):
    """Granian's embedded server on a socket that is there already."""

    def __init__(
        self, application: Application, listener: socket.socket, limits: Http, certificates: Certificates | None
    ) -> None:
        files = certificates.files if certificates is not None else None
        super().__init__(
            application,
            interface=Interfaces.ASGI,
            # Without TLS nobody would ask for HTTP/2 but a program that was told to.
            http=HTTPModes.auto if files is not None else HTTPModes.http1,
            http1_settings=HTTP1Settings(
                header_read_timeout=int(limits.header_timeout * 1000),
                max_buffer_size=max(CONNECTION_BUFFER_BYTES, limits.max_header_bytes + _HEAD_SLACK_BYTES),
            ),
            http2_settings=HTTP2Settings(max_headers_size=limits.max_header_bytes + _HEAD_SLACK_BYTES),
            websockets=False,
            backlog=BACKLOG,
            backpressure=limits.max_connections,
            log_enabled=False,
            ssl_cert=files.cert if files is not None else None,
            ssl_key=files.key if files is not None else None,
            ssl_ca=files.client_ca if files is not None else None,
            ssl_client_verify=files is not None and files.client_ca is not None,
            ssl_protocol_min=SSLProtocols.tls12,
        )
        self._listener = listener

    def _init_shared_socket(self) -> None:
        # Closed with the last connection's end by Granian, which owns the descriptor from here on.
        arguments: tuple[Any, ...] = (self._listener.dup().detach(),)
        if sys.platform != "win32":
            arguments += (False,)
        if sys.platform.startswith(("linux", "freebsd")):
            arguments += (BACKLOG,)
        self._shd = SocketHolder(*arguments)  # type: ignore[assignment]
