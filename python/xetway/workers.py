"""More than one server process on one port: the first one starts the others and ends with them.

A worker is this same program, told its settings through a pipe to its standard input, so that nothing about them
shows in an environment or in a list of processes. The pipe stays open for settings that change; when it closes, because
the first process was told to stop or died, the worker stops too. A worker that ends by itself is replaced: what it held
is given back first, and what it counted is kept. When that happens too often the whole server ends, with exit code 1.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

import msgspec

from xetway.errors import XetwayError
from xetway.settings import Settings
from xetway.siblings import Handover, Siblings

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger("xetway")

MAX_REPLACED = 5
REPLACED_WITHIN_S = 60.0
_READY = b"ready\n"
# Beyond what requests may take.
_STOP_SLACK_S = 5.0


class _Told(msgspec.Struct, frozen=True):
    """A line of the pipe."""

    settings: Settings
    handover: Handover


class Workers:
    """The processes beside this one; a context manager. Does nothing when there is one worker.

    Args:
        settings: What they are told.
        siblings: What they share.
        listener: What they listen on, if it is not a socket of their own for each, on the same port.
    """

    def __init__(self, settings: Settings, siblings: Siblings, listener: socket.socket | None = None) -> None:
        self._settings = settings
        self._siblings = siblings
        self._listener = listener
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._changing = threading.Condition()
        self._replaced_at: deque[float] = deque(maxlen=MAX_REPLACED)
        self._stop_until: float | None = None
        self.exit_code = 0

    def __enter__(self) -> Self:
        with self._changing:
            for number in range(1, self._settings.workers):
                self._start(number)
        return self

    def wait_ready(self) -> bool:
        """Wait until every worker answers, or who takes its place; False if all are to stop instead. Blocking."""
        return all(self._wait_ready(number) for number in list(self._processes))

    def _wait_ready(self, number: int) -> bool:
        while True:
            process = self._processes[number]
            assert process.stdout is not None
            # It is closed when the process has ended.
            with contextlib.suppress(ValueError):
                if process.stdout.readline() == _READY:
                    return True
            with self._changing:
                while self._stop_until is None and self._processes[number] is process:
                    self._changing.wait()
                if self._stop_until is not None:
                    return False

    def tell(self, settings: Settings) -> None:
        """Give other settings to the workers, and to those that come after them. Blocking."""
        with self._changing:
            self._settings = settings
            processes = list(self._processes.items())
        for number, process in processes:
            self._tell(number, process)

    def _start(self, number: int) -> None:
        handover = self._siblings.handover(number)
        listener = () if self._listener is None else (self._listener.fileno(),)
        process = subprocess.Popen(
            [sys.executable, "-m", "xetway.workers", *map(str, listener)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(*listener, handover.file, handover.inbox, *handover.outboxes),
        )
        self._processes[number] = process
        self._tell(number, process)
        threading.Thread(target=self._watch, args=(number, process), daemon=True).start()

    def _tell(self, number: int, process: subprocess.Popen[bytes]) -> None:
        told = _Told(self._settings, self._siblings.handover(number))
        assert process.stdin is not None
        # One that has ended, or is to, hears nothing.
        with contextlib.suppress(OSError, ValueError):
            process.stdin.write(msgspec.json.encode(told, enc_hook=os.fspath) + b"\n")
            process.stdin.flush()

    def _watch(self, number: int, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        _close(process.stdin)
        _close(process.stdout)
        with self._changing:
            if self._stop_until is not None or self.exit_code:
                return
            now = time.monotonic()
            if len(self._replaced_at) < MAX_REPLACED or now - self._replaced_at[0] > REPLACED_WITHIN_S:
                self._replaced_at.append(now)
                logger.error("worker %d ended with %d; another takes its place", number, code)
                self._siblings.release(number)
                self._start(number)
                self._changing.notify_all()
                return
            # Once: a second signal would have the server end at once, whatever it answers.
            self.exit_code = 1
        logger.error("worker %d ended with %d, and too many before it; the server ends", number, code)
        os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        """Tell them to stop, and do not wait for it."""
        with self._changing:
            if self._stop_until is not None:
                return
            self._stop_until = time.monotonic() + self._settings.drain_s + _STOP_SLACK_S
            self._changing.notify_all()
            for process in self._processes.values():
                _close(process.stdin)

    def hurry(self) -> None:
        """Have those that were told to stop end at once."""
        self._stop_until = 0.0

    def wait(self) -> None:
        """Wait for those that were told to stop, and end those that do not in time. Blocking."""
        assert self._stop_until is not None
        for process in self._processes.values():
            try:
                process.wait(max(0, self._stop_until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.wait()


def _close(pipe: IO[bytes] | None) -> None:
    """Close a pipe to a process that may have ended."""
    assert pipe is not None
    with contextlib.suppress(OSError):
        pipe.close()


def _listen(pipe: IO[bytes], loop: asyncio.AbstractEventLoop, apply: Callable[[Settings], None]) -> None:
    """Take on what comes through the pipe, and when it closes stop this process, as SIGTERM stops the first."""
    for line in pipe:
        loop.call_soon_threadsafe(apply, _decoded(line).settings)
    os.kill(os.getpid(), signal.SIGUSR1)


def _decoded(line: bytes) -> _Told:
    return msgspec.json.decode(line, type=_Told, dec_hook=lambda kind, value: kind(value))


def _main() -> None:
    """Be a worker."""
    import asyncio  # noqa: PLC0415

    from xetway.build import build  # noqa: PLC0415
    from xetway.listening import adopt, listen_beside  # noqa: PLC0415
    from xetway.serve import answer, configure_logging, leave  # noqa: PLC0415

    # Terminals and systemd send these to all processes; they are meant for the first one, which tells what to do.
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    told = _decoded(sys.stdin.buffer.readline())
    settings = told.settings
    configure_logging(settings.log_level, settings.gateway.telemetry.log_format)
    siblings = Siblings.joining(told.handover)
    try:
        listener = adopt(int(sys.argv[1])) if sys.argv[1:] else listen_beside(settings.host, settings.port)
        application = build(settings, siblings)
    except XetwayError as error:
        logger.error("a worker cannot start: %s", error.message)  # noqa: TRY400
        leave(1)

    def ready() -> None:
        sys.stdout.buffer.write(_READY)
        sys.stdout.buffer.flush()

    def apply(changed: Settings) -> None:
        try:
            application.configure(changed)
        except XetwayError as error:
            logger.error("worker %d keeps its settings: %s", siblings.number, error.message)  # noqa: TRY400
        configure_logging(changed.log_level, changed.gateway.telemetry.log_format)

    async def be() -> int:
        loop = asyncio.get_running_loop()
        threading.Thread(target=_listen, args=(sys.stdin.buffer, loop, apply), daemon=True).start()
        none = Workers(msgspec.structs.replace(settings, workers=1), siblings)
        return await answer(application, settings, listener, ready, none, signals=(signal.SIGUSR1,))

    leave(asyncio.run(be()))


if __name__ == "__main__":
    _main()
