"""A Valkey or Redis server (6.2 or newer) that may be away.

It has 100 ms for an answer. If it gives none it is left alone for a second, so nobody waits for it again and again;
that is logged once, and once when it is back. Of its address no log and no message shows anything: there may be a
password in it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from xetway.errors import ConfigError

T = TypeVar("T")

logger = logging.getLogger("xetway")

TIMEOUT_S = 0.1
AWAY_S = 1.0
_TLS = ("rediss://", "valkeys://")


class Client(Protocol):
    """As much of a client as is used: `valkey.asyncio.Valkey`."""

    def register_script(self, script: str) -> Callable[..., Awaitable[Any]]:
        """Return what runs a script, with `keys` and `args`."""
        ...

    def execute_command(self, *arguments: bytes | str | int) -> Awaitable[Any]:
        """Run one command."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


def connect(url: str, setting: str, timeout_s: float = TIMEOUT_S) -> Client:
    """Make a client that connects when it is used; over TLS the server's certificate has to fit its name.

    Raises:
        ConfigError: The package `valkey` is missing, or the address is none; `setting` is where it comes from.
    """
    try:
        from valkey.asyncio import Valkey  # noqa: PLC0415  (an optional dependency)
    except ImportError:
        raise ConfigError(f"{setting} needs the package valkey: pip install 'xetway[valkey]'") from None
    tls = {"ssl_check_hostname": True} if url.startswith(_TLS) else {}
    try:
        client: Client = Valkey.from_url(url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, **tls)
    except ValueError:
        raise ConfigError(f"{setting} is not an address such as redis://127.0.0.1:6379/0") from None
    return client


class KeyServer:
    """The server, asked through a client. For one event loop.

    Args:
        client: Closed by `close`.
        setting: Where its address comes from, for the log.
        without: What happens while it is away, for the log.
        clock: For when to ask again.
        timeout_s: How long it may take.
    """

    def __init__(
        self,
        client: Client,
        setting: str,
        without: str,
        clock: Callable[[], float] = time.monotonic,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.client = client
        self._setting = setting
        self._without = without
        self._clock = clock
        self._timeout_s = timeout_s
        self._away_until: float | None = None

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """Return its answer; None if it is away, or answers with an error."""
        from valkey.exceptions import ValkeyError  # noqa: PLC0415  (an optional dependency)

        if self._away_until is not None and self._clock() < self._away_until:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await question()
        except (ValkeyError, OSError) as error:
            if self._away_until is None:
                logger.warning("the server of %s is away, %s: %s", self._setting, self._without, type(error).__name__)
            self._away_until = self._clock() + AWAY_S
            return None
        if self._away_until is not None:
            self._away_until = None
            logger.info("the server of %s is back", self._setting)
        return answer

    async def close(self) -> None:
        """Close its connections."""
        await self.client.aclose()
