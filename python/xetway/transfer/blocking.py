"""The border between code that waits and code that blocks, both ways."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")
_INTERRUPT_POLL_S = 0.2


def run_blocking(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run `make()` in a loop and a thread of its own, and wait; returns or raises what it does.

    An exception that reaches the waiting thread, such as KeyboardInterrupt, cancels the coroutine; it is over when the
    exception goes on.
    """
    runner = _Runner(make)
    runner.start()
    try:
        while runner.is_alive():
            # A wait without end could not be interrupted on Windows.
            runner.join(_INTERRUPT_POLL_S)
    except BaseException:
        runner.cancel()
        runner.join()
        raise
    return runner.result()


async def in_thread(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function that may take long, such as one that hashes, in a thread of its own.

    Unlike `asyncio.to_thread`, nobody waits for that thread when the task is cancelled: it ends with the process.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(cast("T", result))
        else:
            future.set_exception(error)

    def work() -> None:
        result, failure = None, None
        try:
            result = function(*arguments, **named)
        except BaseException as error:  # noqa: BLE001  (it is raised where the result is awaited)
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, name="xetway-blocking", daemon=True).start()
    return await future


class _Runner(threading.Thread, Generic[T]):
    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        super().__init__(name="xetway-transfer", daemon=True)
        self._make = make
        self._value: T | None = None
        self._error: BaseException | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None

    def run(self) -> None:
        try:
            self._value = asyncio.run(self._main())
        except BaseException as error:  # noqa: BLE001  (it is raised where the result is asked for)
            self._error = error
        finally:
            self._ready.set()

    async def _main(self) -> T:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        self._ready.set()
        return await self._make()

    def cancel(self) -> None:
        """Cancel the coroutine, if it runs."""
        self._ready.wait()
        if self._loop is not None and self._task is not None and self.is_alive():
            with contextlib.suppress(RuntimeError):  # it has just ended
                self._loop.call_soon_threadsafe(self._task.cancel)

    def result(self) -> T:
        """What came of it, once the thread has ended."""
        if self._error is not None:
            raise self._error
        return cast("T", self._value)
