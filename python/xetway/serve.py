"""Running the server: Granian in this process, in ASGI mode, on one asyncio loop.

It owns the port, the readiness line, logging and the stop. It knows nothing of requests.

**One process.** Granian's embedded server runs in our loop: half the memory of a parent with a worker, and no
settings to hand over. With more than one worker this process starts the others and gives them its settings through a
pipe, so nothing shows up in an environment or a process list.

**The port.** Granian binds with SO_REUSEPORT, which lets two servers share a port silently. So the port is first bound
here without it: that fails if anyone has it. Only then the option is set, which lets our own Granian bind beside it.
The socket stays bound, never listening, until the end: a port that the system chose (0) cannot be lost in between.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import gc
import http.client
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

import msgspec

from xetway.errors import ConfigError
from xetway.http import threads
from xetway.http.app import Application
from xetway.logs import JsonLines, OneLine, Together
from xetway.policy.rows import words_for
from xetway.reloading import Reloading
from xetway.settings import LogLevel, Settings, check_upstream
from xetway.settings.gateway import LogFormat
from xetway.siblings import Siblings
from xetway.workers import Workers

logger = logging.getLogger("xetway")

# Granian's backpressure counts open connections, idle ones too: each is one permit from accept to close. Clients keep
# 8 to 64 connections open each, an idle one costs about 9 KiB, so the bound is far away from ordinary use and still
# keeps a flood under 40 MiB. Requests beyond the worker threads queue; connections beyond this wait in the backlog.
MAX_CONNECTIONS = 4096
BACKLOG = 1024
# What one connection may buffer either way; with it the largest request head that is parsed at all. Larger values take
# uploads in fewer, larger pieces, and cost this much more for each client that does not read.
CONNECTION_BUFFER_BYTES = 128 * 1024
# A transfer that is still running when the server is told to stop may go on for so long.
STOP_GRACE_S = 3.0
# After that it is cut off; a client that does not even take the end of its connection is left behind.
STOP_LIMIT_S = 6.0
GARBAGE_OBJECTS = 20_000
_READY_LIMIT_S = 30.0
_PROBE_TIMEOUT_S = 5.0
_PROBE_INTERVAL_S = 0.005


def listen_exclusively(host: str, port: int) -> socket.socket:
    """Bind the port for this process and its Granian alone; the socket must stay open, and does not listen.

    Raises:
        ConfigError: The port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    reserved = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32" and port:
            # Connections of a server that stopped a moment ago must not keep the port.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        remedy = (
            "--host has to be an address of this machine, or 0.0.0.0 for all"
            if error.errno == errno.EADDRNOTAVAIL
            else "choose another --port (0 takes a free one)"
        )
        raise ConfigError(f"cannot listen on {_address(host, port)}: {error.strerror}; {remedy}") from None
    if sys.platform != "win32":
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return reserved


def run(settings: Settings, reread: Callable[[], Settings] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code, for `leave`. Blocking.

    On SIGHUP the settings are read again by `reread`.

    Raises:
        ConfigError: The port or the data folder cannot be used.
    """
    configure_logging(settings.log_level, settings.gateway.telemetry.log_format)
    with contextlib.closing(listen_exclusively(settings.host, settings.port)) as reserved:
        settings = msgspec.structs.replace(settings, port=reserved.getsockname()[1])
        check_upstream(settings)
        from xetway.build import build  # noqa: PLC0415  (a taken port is told before anything is loaded)

        siblings = Siblings(settings.workers, words_for(sum(len(model.upstreams) for model in settings.gateway.models)))
        application = build(settings, siblings)

        def apply(changed: Settings) -> None:
            application.configure(changed)
            configure_logging(changed.log_level, changed.gateway.telemetry.log_format)

        with Workers(settings, siblings) as workers:
            reloading = Reloading(settings, reread, apply, workers.tell) if reread is not None else None
            code = asyncio.run(serve(application, settings, partial(_ready, settings, workers), workers, reloading))
        return code or workers.exit_code


def leave(code: int) -> NoReturn:
    """End the process here and now, after what was registered for its end.

    Not by returning: a thread of Granian's may still be letting go of the interpreter when that is torn down, and
    then aborts the process (about once in thirty stops that came at a bad moment).
    """
    atexit._run_exitfuncs()  # noqa: SLF001
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def serve(
    application: Application,
    settings: Settings,
    ready: Callable[[], None],
    workers: Workers,
    reloading: Reloading | None = None,
) -> int:
    """Answer requests until a signal comes, and tell the workers to stop then too.

    Calls `ready` (in a thread) when requests are answered.
    """
    stop = asyncio.Event()
    _on_signals(stop.set)
    if reloading is not None:
        reloading.on_signal()
    from granian.constants import HTTPModes, Interfaces  # noqa: PLC0415  (only a server needs it)
    from granian.http import HTTP1Settings  # noqa: PLC0415
    from granian.server.embed import Server  # noqa: PLC0415

    # What is there now stays; and few objects of a request need the collector, so it may come seldom.
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    server = Server(
        application,
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(max_buffer_size=CONNECTION_BUFFER_BYTES),
        websockets=False,
        backlog=BACKLOG,
        backpressure=MAX_CONNECTIONS,
        log_enabled=False,
    )
    configure_logging(
        settings.log_level, settings.gateway.telemetry.log_format
    )  # Granian has just put its own in place
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.create_task(stop.wait())
    probe = _Probe(settings, ready)
    probe.start()
    started = asyncio.create_task(application.start())
    started.add_done_callback(tell_failure)
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        logger.error("the server ended by itself: %s", serving.exception() or "no reason given")
        os._exit(1)
    workers.stop()
    _end_in_time(workers)
    probe.given_up.set()
    started.cancel()
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait({serving}, timeout=STOP_GRACE_S)
    if cut_off := application.abort():
        logger.warning("stopping: %d requests still running are cut off", cut_off)
    await serving
    await application.wait()
    application.close()
    threads.stop()
    return 0


def tell_failure(task: asyncio.Task[None]) -> None:
    """Log why a task that nothing waits for has ended, if it failed."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("what runs beside the requests has ended", exc_info=error)


def configure_logging(level: LogLevel, log_format: LogFormat) -> None:
    """Log to stderr, one line per record, whatever is in it."""
    handler = Together(sys.stderr)
    formatter = JsonLines if log_format == "json" else OneLine
    handler.setFormatter(formatter(traces=level == "debug"))
    # What no line tells.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("xetway").setLevel(level.upper())
    granian = logging.getLogger("_granian")
    granian.handlers[:], granian.propagate = [], True
    # At info it tells of every write to a client that left.
    granian.setLevel(logging.INFO if level == "debug" else logging.ERROR)


def _on_signals(stop: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(stop))


def _end_in_time(workers: Workers) -> None:
    """See to it that the process is gone after STOP_LIMIT_S, and its workers with it, whatever still hangs.

    All that was acknowledged is on disk by then, and the rest is as after a crash: nothing half done is visible.
    """

    def end() -> None:
        logger.warning("stopping: gave up waiting for connections that do not close")
        workers.wait()
        logging.shutdown()
        os._exit(workers.exit_code)

    timer = threading.Timer(STOP_LIMIT_S, end)
    timer.daemon = True
    timer.start()


class _Probe(threading.Thread):
    """Asks /health until it is answered, then calls `ready`; ends the process if it never is."""

    def __init__(self, settings: Settings, ready: Callable[[], None]) -> None:
        super().__init__(name="probe", daemon=True)
        self.given_up = threading.Event()
        self._ready = ready
        self._address = (_reachable(settings.host), settings.port)

    def run(self) -> None:
        deadline = time.monotonic() + _READY_LIMIT_S
        while not self._answers():
            if self.given_up.wait(_PROBE_INTERVAL_S):
                return
            if time.monotonic() > deadline:
                logger.error("the server does not answer on its own port")
                os._exit(1)
        self._ready()

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(*self._address, timeout=_PROBE_TIMEOUT_S)
        try:
            connection.request("GET", "/health")
            # Settings may ask for a key even there.
            return connection.getresponse().status in {200, 401}
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _ready(settings: Settings, workers: Workers) -> None:
    if not workers.wait_ready():
        return
    if not settings.is_loopback:
        logger.warning("anyone who can reach %s can read%s", settings.host, " and write" if settings.open else "")
    reachable = _reachable(settings.host)
    all_of_them = "" if reachable == settings.host else f" (and all other addresses of this machine: {settings.host})"
    print(f"xetway listening on http://{_address(reachable, settings.port)}{all_of_them}", flush=True)  # noqa: T201


def _reachable(host: str) -> str:
    """An address to connect to: a wildcard is none."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
