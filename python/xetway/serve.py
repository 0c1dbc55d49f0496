"""Running the server: Granian in this process, in ASGI mode, on one asyncio loop.

It owns the readiness line, logging, signals and the stop. It knows nothing of requests.

**One process.** Granian's embedded server runs in our loop: half the memory of a parent with a worker, and no
settings to hand over. With more than one worker this process starts the others and gives them its settings through a
pipe, so nothing shows up in an environment or a process list.

**The stop.** SIGTERM and SIGINT end the accepting of connections at once. Requests that run may go on for the time that
the settings give, then they are cut off; the exit code is 0 all the same. A second signal ends everything at once.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NoReturn, cast

import msgspec

from xetway import systemd
from xetway.certificates import Certificates
from xetway.http import threads
from xetway.http.app import Application
from xetway.listening import address, adopt, allow_connections, from_systemd, listen_exclusively, reachable
from xetway.logs import JsonLines, OneLine, Together
from xetway.policy.rows import words_for
from xetway.probe import Probe
from xetway.reloading import Reloading
from xetway.settings import LogLevel, Settings, check_upstream, load
from xetway.settings.gateway import Http, LogFormat
from xetway.siblings import Siblings
from xetway.workers import Workers

logger = logging.getLogger("xetway")

# Connections on which nothing is asked may end by themselves for so long.
QUIET_GRACE_S = 3.0
# After the last request; a client that does not even take the end of its connection is left behind.
CLOSE_LIMIT_S = 3.0
GARBAGE_OBJECTS = 20_000


def serve(listener: socket.socket | int | None = None, **options: Any) -> int:
    """Serve until SIGTERM or SIGINT, as `xetway serve` does; returns the exit code, for `leave`. Blocking.

    `listener` is a bound TCP socket, or its file descriptor, to listen on instead of `host` and `port`; it is taken
    over. `options` are those of the command line by name, such as `config="gateway.toml"`. For the main thread only.

    Raises:
        ConfigError: An option, the listener or the data folder cannot be used.
    """
    return run(load(options), listener)


def run(
    settings: Settings,
    listener: socket.socket | int | None = None,
    reread: Callable[[], Settings] | None = None,
) -> int:
    """Serve as `serve`, with settings that are loaded; without a listener on that of systemd, if it has one.

    On SIGHUP the settings are read again by `reread`.

    Raises:
        ConfigError: The listener, the port or the data folder cannot be used.
    """
    configure_logging(settings.log_level, settings.gateway.telemetry.log_format)
    if settings.gateway.tls is not None:
        Certificates(settings.gateway.tls).check()
    handed = adopt(listener) if isinstance(listener, int) else listener or from_systemd()
    shared = settings.workers > 1
    asked = settings
    with contextlib.ExitStack() as held:
        own = held.enter_context(handed or listen_exclusively(settings.host, settings.port, shared=shared))
        host, port = own.getsockname()[:2]
        settings = msgspec.structs.replace(settings, host=host, port=port)
        check_upstream(settings)
        from xetway.build import build  # noqa: PLC0415  (a taken port is told before anything is loaded)

        upstreams = sum(len(model.upstreams) for model in settings.gateway.models)
        siblings = held.enter_context(contextlib.closing(Siblings(settings.workers, words_for(upstreams))))
        application = build(settings, siblings)

        def apply(changed: Settings) -> None:
            application.configure(changed)
            configure_logging(changed.log_level, changed.gateway.telemetry.log_format)

        workers = held.enter_context(Workers(settings, siblings, handed))
        reloading = Reloading(asked, settings, reread, apply, workers.tell) if reread is not None else None
        ready = partial(_ready, settings, workers)
        stopping = partial(systemd.notify, systemd.STOPPING)
        hurried = partial(_end, workers, "a second signal")
        code = asyncio.run(answer(application, settings, own, ready, workers, stopping, hurried, reloading))
        return code or workers.exit_code


def _bounded(limits: Http) -> Http:
    """Ask for no more connections than this process may have."""
    most = allow_connections(limits.max_connections)
    if most == limits.max_connections:
        return limits
    logger.warning("http.max_connections is %d instead of %d: too few files may be open", most, limits.max_connections)
    return msgspec.structs.replace(limits, max_connections=most)


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


async def answer(
    application: Application,
    settings: Settings,
    listener: socket.socket,
    ready: Callable[[], None],
    workers: Workers,
    stopping: Callable[[], None] = lambda: None,
    hurried: Callable[[], None] = lambda: None,
    reloading: Reloading | None = None,
    signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT),
) -> int:
    """Answer requests until one of the signals comes, and tell the workers to stop then too.

    Calls `ready` (in a thread) when requests are answered, `stopping` when no more are taken, and
    `hurried` at any further signal.
    """
    stop = asyncio.Event()
    _on_signals(signals, stop, hurried)
    if reloading is not None:
        reloading.on_signal()
    from xetway.acceptor import Acceptor  # noqa: PLC0415  (only a server needs Granian)

    # What is there now stays; and few objects of a request need the collector, so it may come seldom.
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    limits, tls = _bounded(settings.gateway.http), settings.gateway.tls
    certificates = Certificates(tls) if tls is not None else None
    configure = partial(_keep_logging, settings.gateway.telemetry.log_format)
    acceptor = Acceptor(application, listener, limits, certificates, configure)
    serving = asyncio.create_task(acceptor.run())
    stopped = asyncio.create_task(stop.wait())
    probe = Probe(settings, ready)
    probe.start()
    started = asyncio.create_task(application.start())
    started.add_done_callback(tell_failure)
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        logger.error("the server ended by itself: %s", serving.exception() or "no reason given")
        os._exit(1)
    stopping()
    workers.stop()
    _end_in_time(workers, settings.drain_s + CLOSE_LIMIT_S)
    probe.given_up.set()
    application.drain()
    acceptor.stop()
    await _drained(application, serving, settings.drain_s)
    if cut_off := application.abort():
        logger.warning("stopping: %d requests still running are cut off", cut_off)
    _end_in_time(workers, CLOSE_LIMIT_S)
    started.cancel()
    await serving
    await application.wait()
    await application.close()
    threads.stop()
    return 0


async def _drained(application: Application, serving: asyncio.Task[None], limit_s: float) -> None:
    """Wait for the requests that run, and a moment for connections without one; within the limit."""
    try:
        async with asyncio.timeout(limit_s):
            await asyncio.wait({serving}, timeout=QUIET_GRACE_S)
            while application.is_busy and not serving.done():
                await application.wait()
    except TimeoutError:
        return


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


def _keep_logging(log_format: LogFormat) -> None:
    """Configure logging as it is: Granian has just put its own in place."""
    configure_logging(cast("LogLevel", logging.getLevelName(logger.level).lower()), log_format)


def _on_signals(signals: Iterable[signal.Signals], stop: asyncio.Event, hurried: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def told() -> None:
        if stop.is_set():
            hurried()
        stop.set()

    for number in signals:
        try:
            loop.add_signal_handler(number, told)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(told))


def _end_in_time(workers: Workers, limit_s: float) -> None:
    """See to it that the process is gone after so long, and its workers with it, whatever still hangs."""
    timer = threading.Timer(limit_s, _end, (workers, "connections do not close"))
    timer.daemon = True
    timer.start()


def _end(workers: Workers, reason: str) -> None:
    """End at once, and the workers too.

    All that was acknowledged is on disk by then, and the rest is as after a crash: nothing half done is visible.
    """
    logger.warning("stopping at once: %s", reason)
    workers.hurry()
    workers.wait()
    logging.shutdown()
    os._exit(workers.exit_code)


def _ready(settings: Settings, workers: Workers) -> None:
    if not workers.wait_ready():
        return
    if not settings.is_loopback:
        logger.warning("anyone who can reach %s can read%s", settings.host, " and write" if settings.open else "")
    host = reachable(settings.host)
    all_of_them = "" if host == settings.host else f" (and all other addresses of this machine: {settings.host})"
    scheme = "http" if settings.gateway.tls is None else "https"
    print(f"xetway listening on {scheme}://{address(host, settings.port)}{all_of_them}", flush=True)  # noqa: T201
    systemd.notify(systemd.READY)
