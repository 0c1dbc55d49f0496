"""What the processes of one server share: numbers in memory, what each tells of itself, and words to one another.

The memory is a file without a name that the workers inherit: a `SharedTable`, then a page for each worker (`board`).
A page holds what its worker tells, by topic; it is written when another asks, and each second for the case that the
worker is killed. Its successor finds it there. A word is a datagram: what is to be done, who asks, and a number for the
answer. Nothing here lasts longer than the server, and with one worker nothing of it is made but the table.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

import msgspec

from xetway._native import SharedTable
from xetway.board import Board
from xetway.errors import ConfigError
from xetway.http.errors import describe

logger = logging.getLogger("xetway")

T = TypeVar("T")

# A worker that does not answer for so long counts as what it told last.
ANSWER_S = 0.25
PUBLISH_S = 1.0
# Of its time a worker spends at most this part on telling what nobody asked for.
_SHARE = 0.01
_BUCKETS, _GATES = 65_536, 4096
_MESSAGE_BYTES = 256
# Asks a worker to write its page.
TELL = "tell"
_DONE = "done"


class Handover(msgspec.Struct, frozen=True):
    """What a worker is told to become a sibling: numbers, and descriptors that it inherits."""

    number: int
    count: int
    words: int
    file: int
    inbox: int
    outboxes: tuple[int, ...]


class _Message(msgspec.Struct, frozen=True, array_like=True):
    what: str
    sender: int
    nonce: int


class Total(Generic[T]):
    """Something that each worker tells of itself, put together.

    Args:
        siblings: The workers.
        name: What it is called among them.
        source: What this process tells of itself.
        kind: The type of that, by which the others' word is read.
        add: Puts together what several tell.
        past: Leaves out what is over when a worker has ended.
    """

    def __init__(
        self,
        siblings: Siblings,
        name: str,
        source: Callable[[], T],
        kind: Any,
        add: Callable[[list[T]], T],
        past: Callable[[T], T],
    ) -> None:
        self._siblings = siblings
        self._name = name
        self._source = source
        self._kind = kind
        self._add = add
        self._past = past
        # What was counted by those who had the number of this worker.
        before = self._told_by(siblings.number)
        self._before = [] if before is None else [past(before)]
        siblings.publish(name, self._own)

    async def __call__(self) -> T:
        """Return what all tell now."""
        await self._siblings.ask(TELL)
        others = (number for number in range(self._siblings.count) if number != self._siblings.number)
        told = [
            value if self._siblings.is_alive(number) else self._past(value)
            for number in others
            if (value := self._told_by(number)) is not None
        ]
        return self._add([self._own(), *told])

    def _own(self) -> T:
        return self._add([self._source(), *self._before])

    def _told_by(self, number: int) -> T | None:
        raw = self._siblings.page(number).get(self._name)
        try:
            return None if raw is None else msgspec.msgpack.decode(raw, type=self._kind)
        except msgspec.ValidationError as error:
            logger.error("what worker %d tells of its %s cannot be read: %s", number, self._name, error)  # noqa: TRY400
            return None


class Siblings:
    """The workers of a server, as one of them sees them.

    Args:
        count: How many there are.
        words: Words of the table that are for anything.
        handover: What this process was told, if it is not the first.

    Raises:
        ConfigError: There cannot be so many here.
    """

    def __init__(self, count: int = 1, words: int = 0, handover: Handover | None = None) -> None:
        if count > 1 and sys.platform == "win32":
            raise ConfigError("--workers must be 1 on Windows, where processes cannot share a port")
        self.number = 0 if handover is None else handover.number
        self.count = count
        self.words = words
        # The first words of the table say who answers.
        layout = {"workers": count, "buckets": _BUCKETS, "gates": _GATES, "words": count + words}
        table_bytes = SharedTable.size(**layout)
        self._file = -1
        self._inboxes: list[socket.socket] = []
        self._outboxes: list[socket.socket] = []
        if count == 1:
            memory = mmap.mmap(-1, table_bytes)
        elif handover is None:
            self._file = _nameless_file(table_bytes)
            memory = mmap.mmap(self._file, table_bytes)
            for _ in range(count):
                inbox, outbox = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._inboxes.append(inbox)
                self._outboxes.append(outbox)
        else:
            self._file = handover.file
            memory = mmap.mmap(self._file, table_bytes)
            self._inboxes = [socket.socket(fileno=handover.inbox)]
            self._outboxes = [socket.socket(fileno=number) for number in handover.outboxes]
        for link in (*self._inboxes, *self._outboxes):
            link.setblocking(False)
        self.table = SharedTable(memory, **layout)
        self._board = Board(self._file, -(-table_bytes // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._sources: dict[str, Callable[[], Any]] = {}
        self._deeds: dict[str, Callable[[], Awaitable[None]]] = {TELL: self._tell}
        self._on_release: list[Callable[[int], None]] = []
        self._waiting: dict[int, tuple[set[int], asyncio.Future[None]]] = {}
        self._asked = 0
        self._doing: set[asyncio.Task[None]] = set()

    def close(self) -> None:
        """Let go of the others; what was shared stays with them."""
        for link in (*self._inboxes, *self._outboxes):
            link.close()
        if self._file >= 0:
            os.close(self._file)

    @classmethod
    def joining(cls, handover: Handover) -> Siblings:
        """Become one of those whose first process gave the handover."""
        return cls(handover.count, handover.words, handover)

    def handover(self, number: int) -> Handover:
        """Describe what a worker has to be told."""
        outboxes = tuple(link.fileno() for link in self._outboxes)
        return Handover(number, self.count, self.words, self._file, self._inboxes[number].fileno(), outboxes)

    @property
    def first_word(self) -> int:
        """Where the words begin that are for anything."""
        return self.count

    def publish(self, name: str, source: Callable[[], Any]) -> None:
        """Have `source` tell something of this worker from now on; for `Total`."""
        self._sources[name] = source

    def on(self, what: str, do: Callable[[], Awaitable[None]]) -> None:
        """Do something when a sibling asks for it."""
        self._deeds[what] = do

    def on_release(self, do: Callable[[int], None]) -> None:
        """Have something done, in a thread, when a worker has ended."""
        self._on_release.append(do)

    def release(self, number: int) -> None:
        """Give back what a worker held that has ended, before another gets its number."""
        self._set_alive(number, 0)
        self.table.release_worker(number)
        for do in self._on_release:
            do(number)

    async def run(self) -> None:
        """Answer the others, until cancelled."""
        if self.count == 1:
            return
        loop = asyncio.get_running_loop()
        inbox = self._inboxes[0]
        loop.add_reader(inbox, self._receive)
        self._set_alive(self.number, 1)
        try:
            while True:
                began = time.perf_counter()
                await self._tell()
                await asyncio.sleep(max(PUBLISH_S, (time.perf_counter() - began) / _SHARE))
        finally:
            self._set_alive(self.number, 0)
            loop.remove_reader(inbox)

    async def ask(self, what: str) -> None:
        """Have all others do something, and wait until they have, or for ANSWER_S."""
        asked = {number for number in range(self.count) if number != self.number and self.is_alive(number)}
        if not asked:
            return
        self._asked += 1
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[self._asked] = asked, done
        nonce = self._asked
        for number in tuple(asked):
            self._send(number, _Message(what, self.number, nonce))
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await done
        finally:
            del self._waiting[nonce]

    def is_alive(self, number: int) -> bool:
        """Whether a worker answers."""
        return self.table.word(number) == 1

    def page(self, number: int) -> dict[str, msgspec.Raw]:
        """Return what a worker told last, by topic."""
        body = self._board.read(number) if self.count > 1 else None
        return {} if body is None else msgspec.msgpack.decode(body, type=dict[str, msgspec.Raw])

    async def _tell(self) -> None:
        try:
            told = {name: source() for name, source in self._sources.items()}
            self._board.write(self.number, msgspec.msgpack.encode(told))
        except Exception as error:  # noqa: BLE001  (that ends nothing: what was told last holds)
            logger.warning("worker %d cannot tell its numbers: %s", self.number, describe(error))

    def _set_alive(self, number: int, value: int) -> None:
        self.table.swap_word(number, 1 - value, value)

    def _send(self, number: int, message: _Message) -> None:
        # One whose inbox is full does not answer, and is not waited for longer than others.
        with contextlib.suppress(OSError):
            self._outboxes[number].send(msgspec.msgpack.encode(message))

    def _receive(self) -> None:
        while True:
            try:
                message = msgspec.msgpack.decode(self._inboxes[0].recv(_MESSAGE_BYTES), type=_Message)
            except BlockingIOError:
                return
            if message.what == _DONE:
                asked, done = self._waiting.get(message.nonce, (set(), None))
                asked.discard(message.sender)
                if done is not None and not asked and not done.done():
                    done.set_result(None)
                continue
            task = asyncio.create_task(self._do(message))
            self._doing.add(task)
            task.add_done_callback(self._doing.discard)

    async def _do(self, message: _Message) -> None:
        deed = self._deeds.get(message.what)
        if deed is not None:
            await deed()
        self._send(message.sender, _Message(_DONE, self.number, message.nonce))


def _nameless_file(size_bytes: int) -> int:
    """Open a file that has no name, and that nobody else can open."""
    if sys.platform == "linux":
        file = os.memfd_create("xetway", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile(prefix="xetway-") as opened:
            file = os.dup(opened.fileno())
    os.fchmod(file, 0o600)
    os.truncate(file, size_bytes)
    return file
