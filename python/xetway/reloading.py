"""Reading the settings again in a server that runs (SIGHUP).

What can take effect does, for requests that come from then on, in all workers. What is wrong changes nothing; what
changed, and what needs a restart, is logged by name.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Callable

from msgspec.structs import replace

from xetway.errors import ConfigError
from xetway.settings import Settings
from xetway.settings.reload import changed, reloadable

logger = logging.getLogger("xetway")


class Reloading:
    """Reads and applies settings, once at a time.

    Args:
        asked: The settings as they were read at the start.
        settings: Those that hold: the listener's address may be another.
        reread: Reads them anew. Blocking.
        apply: Has them take effect in this process, on the event loop.
        tell: Has them take effect in the other workers. Blocking.
    """

    def __init__(
        self,
        asked: Settings,
        settings: Settings,
        reread: Callable[[], Settings],
        apply: Callable[[Settings], None],
        tell: Callable[[Settings], None],
    ) -> None:
        self._asked = asked
        self._settings = settings
        self._reread = reread
        self._apply = apply
        self._tell = tell
        self._one_at_a_time = asyncio.Lock()
        self._doing: set[asyncio.Task[None]] = set()

    def on_signal(self) -> None:
        """Do it whenever SIGHUP comes, where there is such a signal."""
        if sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._begin)

    def _begin(self) -> None:
        task = asyncio.create_task(self())
        self._doing.add(task)
        task.add_done_callback(self._doing.discard)

    async def __call__(self) -> None:
        """Do it."""
        async with self._one_at_a_time:
            try:
                found, waiting = reloadable(self._settings, self._placed(await asyncio.to_thread(self._reread)))
                self._apply(found)
            except ConfigError as error:
                logger.error("the settings stay as they were: %s", error.message)  # noqa: TRY400
                return
            names = changed(self._settings, found)
            self._settings = found
            await asyncio.to_thread(self._tell, found)
            logger.info("the settings were read again; changed: %s", ", ".join(names) or "none")
            if waiting:
                logger.warning("these settings change when the server is started again: %s", ", ".join(waiting))

    def _placed(self, wanted: Settings) -> Settings:
        """The settings with the address that is listened on, unless they name another than at the start."""
        kept = {
            name: getattr(self._settings, name)
            for name in ("host", "port")
            if getattr(wanted, name) == getattr(self._asked, name)
        }
        return replace(wanted, **kept)
