"""More than one server process on one port: the first one starts the others and ends with them.

A worker is this same program, told its settings through a pipe to its standard input, so that nothing about them
shows in an environment or in a list of processes. The pipe stays open: when it closes, because the first process was
told to stop or died, the worker stops too. A worker that ends by itself ends the whole server, with exit code 1:
whoever supervises the server restarts it whole.
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
from types import TracebackType
from typing import IO, Self

import msgspec

from xetway.errors import ConfigError, XetwayError
from xetway.settings import Settings

_READY = b"ready\n"
# Beyond what requests may take.
_STOP_SLACK_S = 5.0


class Workers:
    """The processes beside this one; a context manager. Does nothing when the setting is one worker.

    They listen on `listener` if one is given, or else on sockets of their own, on the same port.
    """

    def __init__(self, settings: Settings, listener: socket.socket | None = None) -> None:
        if settings.workers > 1 and sys.platform == "win32":
            raise ConfigError("--workers must be 1 on Windows, where processes cannot share a port")
        self._settings = settings
        self._listener = listener
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stop_until: float | None = None
        self.exit_code = 0

    def __enter__(self) -> Self:
        alone = msgspec.json.encode(msgspec.structs.replace(self._settings, workers=1), enc_hook=os.fspath) + b"\n"
        shared = () if self._listener is None else (self._listener.fileno(),)
        for _ in range(self._settings.workers - 1):
            process = subprocess.Popen(
                [sys.executable, "-m", "xetway.workers", *map(str, shared)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=shared,
            )
            assert process.stdin is not None
            process.stdin.write(alone)
            process.stdin.flush()
            self._processes.append(process)
            threading.Thread(target=self._watch, args=(process,), daemon=True).start()
        return self

    def wait_ready(self) -> bool:
        """Wait until every worker answers; False if one ended instead. Blocking."""
        return all(process.stdout is not None and process.stdout.readline() == _READY for process in self._processes)

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if self._stop_until is None:
            self.exit_code = 1
            os.kill(os.getpid(), signal.SIGTERM)

    def stop(self) -> None:
        """Tell them to stop, and do not wait for it."""
        if self._stop_until is not None:
            return
        self._stop_until = time.monotonic() + self._settings.drain_s + _STOP_SLACK_S
        for process in self._processes:
            assert process.stdin is not None
            with contextlib.suppress(OSError):
                process.stdin.close()

    def hurry(self) -> None:
        """Have those that were told to stop end at once."""
        self._stop_until = 0.0

    def wait(self) -> None:
        """Wait for those that were told to stop, and end those that do not in time. Blocking."""
        assert self._stop_until is not None
        for process in self._processes:
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


def _stop_with(pipe: IO[bytes]) -> None:
    """Stop this process, as SIGTERM would, when the pipe closes."""
    pipe.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _main() -> None:
    """Be a worker."""
    import asyncio  # noqa: PLC0415

    from xetway.build import build  # noqa: PLC0415
    from xetway.listening import adopt, listen_beside  # noqa: PLC0415
    from xetway.serve import answer, configure_logging, leave  # noqa: PLC0415

    line = sys.stdin.buffer.readline()
    settings = msgspec.json.decode(line, type=Settings, dec_hook=lambda kind, value: kind(value))
    configure_logging(settings.log_level, settings.gateway.telemetry.log_format)
    threading.Thread(target=_stop_with, args=(sys.stdin.buffer,), daemon=True).start()
    try:
        listener = adopt(int(sys.argv[1])) if sys.argv[1:] else listen_beside(settings.host, settings.port)
        application = build(settings, first=False)
    except XetwayError as error:
        logging.getLogger("xetway").error("a worker cannot start: %s", error.message)  # noqa: TRY400
        leave(1)

    def ready() -> None:
        sys.stdout.buffer.write(_READY)
        sys.stdout.buffer.flush()

    leave(asyncio.run(answer(application, settings, listener, ready, Workers(settings))))


if __name__ == "__main__":
    _main()
