"""Warms the cache: fetches the files of a revision, so that clients find them here, also without the upstream.

It asks what clients ask first (the description, the listing), and then holds each file, several at a time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from functools import partial
from typing import TypeAlias, TypeVar

import msgspec

from xetway.errors import NotFoundError, XetwayError
from xetway.http.threads import run
from xetway.mirror.answers import Answered, Question
from xetway.mirror.callers import Caller
from xetway.mirror.content_source import ContentSource, digest_of
from xetway.mirror.file_table import FileInfo
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import RepoKey, is_commit, segment
from xetway.mirror.refusals import Refused, unreachable
from xetway.mirror.replies import page_links
from xetway.mirror.upstream import bad_answer

T = TypeVar("T")
_AT_A_TIME = 4
_TELL_INTERVAL_S = 0.5
_MOST_PAGES = 10_000


class FileEvent(msgspec.Struct, frozen=True, tag_field="type", tag="file"):
    """How much of a file is held, in bytes."""

    path: str
    held: int
    total: int


class ResultEvent(msgspec.Struct, frozen=True, tag_field="type", tag="result"):
    """The end: files, their bytes, and the bytes among them that were not held before."""

    files: int
    bytes: int
    fetched: int


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """The end, when not everything could be had."""

    code: str
    error: str


Event: TypeAlias = FileEvent | ResultEvent | ErrorEvent


class _Description(msgspec.Struct):
    sha: str = ""


class _Listed(msgspec.Struct):
    type: str = ""
    path: str = ""


class Prefetch:
    """One run, for one caller.

    Args:
        include: Patterns (``*`` also crosses slashes); nothing means all files.
        exclude: Patterns of files to leave out.
    """

    def __init__(
        self,
        mirror: Mirror,
        caller: Caller,
        repo: RepoKey,
        revision: str,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
    ) -> None:
        self._mirror = mirror
        self._source = ContentSource(mirror)
        self._caller = caller
        self._repo = repo
        self._revision = revision
        self._include = include
        self._exclude = exclude
        self._commit = ""
        self._changed: set[str] = set()
        self._held: dict[str, int] = {}
        self._held_before: dict[str, int] = {}
        self._totals: dict[str, int] = {}

    async def find(self) -> list[str]:
        """Return the paths to fetch.

        Raises:
            NotFoundError: `no_match`: there are files, and none fits the patterns.
            Refused, XetwayError, ConnectionError, TimeoutError: as `Answers.get`.
        """
        api, revision = self._repo.api, segment(self._revision)
        question = Question(f"{api}/revision/{revision}", self._repo, self._revision, "description")
        answered = await self._mirror.answers.get(question, self._caller)
        self._commit = _read(answered.body, _Description).sha
        if not is_commit(self._commit):
            raise bad_answer("a description without a commit")
        # A page that comes again has its paths again.
        paths: dict[str, None] = {}
        async for page in self._pages():
            paths |= dict.fromkeys(await run(_files, page.body))
        wanted = await run(lambda: [path for path in paths if self._wants(path)])
        if paths and not wanted:
            raise NotFoundError(
                f"none of the {len(paths)} files of {self._repo.name} at {self._revision} fits the patterns; "
                "* matches slashes too",
                code="no_match",
                hub_code="EntryNotFound",
            )
        return wanted

    async def _pages(self) -> AsyncIterator[Answered]:
        # Spelled as clients spell it, so that they find these very answers.
        target = f"{self._repo.api}/tree/{self._commit}?recursive=true&expand=false"
        seen: set[str] = set()
        while target not in seen and len(seen) < _MOST_PAGES:
            seen.add(target)
            question = Question(target, self._repo, self._commit, "listing", lists_all=len(seen) == 1)
            page = await self._mirror.answers.get(question, self._caller)
            yield page
            links = page_links(page.headers.get("link", ""), "", self._mirror.upstream)
            following = next((link for link in links if link.endswith('rel="next"')), None)
            if following is None:
                return
            target = following[1 : following.index(">")]
        raise bad_answer("a listing without end")

    def _wants(self, path: str) -> bool:
        included = not self._include or any(fnmatchcase(path, pattern) for pattern in self._include)
        return included and not any(fnmatchcase(path, pattern) for pattern in self._exclude)

    async def events(self, paths: list[str]) -> AsyncGenerator[Event, None]:
        """Fetch the files and tell of it. Closing this stops the work; what was fetched is kept."""
        waiting = deque(paths)
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(min(_AT_A_TIME, len(paths)))]
        try:
            running = set(workers)
            while running:
                done, running = await asyncio.wait(
                    running, timeout=_TELL_INTERVAL_S, return_when=asyncio.FIRST_COMPLETED
                )
                changed, self._changed = self._changed, set()
                for path in sorted(changed):
                    yield FileEvent(path, self._held[path], self._totals[path])
                failed = next((error for task in done if (error := task.exception()) is not None), None)
                if failed is not None:
                    yield _error_event(failed)
                    return
        finally:
            await _end(workers)
        total = sum(self._totals.values())
        yield ResultEvent(len(paths), total, total - sum(self._held_before.values()))

    async def _work(self, waiting: deque[str]) -> None:
        while waiting:
            await self._hold(waiting.popleft())

    async def _hold(self, path: str) -> None:
        found = await self._mirror.finder.find(self._caller, self._repo, self._commit, path)
        progress = partial(self._from_any_thread, asyncio.get_running_loop(), path)
        size = found.size
        self._begin(path, await run(self._held_of, found.info, size), size)
        if size:
            await self._source.hold(self._caller, found, progress)
        self._tell(path, size)

    def _held_of(self, info: FileInfo, size: int) -> int:
        """Bytes of a file that are held; one that cannot be proven need not be."""
        content, digest = self._mirror.content, digest_of(info.etag)
        if info.xet is not None and size:
            known = content.known(info.xet)
            return 0 if known is None else known[1]
        if digest is not None and size:
            return content.known_plain(*digest, size)[0]
        return size

    def _begin(self, path: str, held: int, size: int) -> None:
        self._held_before[path] = min(held, size)
        self._totals[path] = size
        self._tell(path, held)

    def _tell(self, path: str, held: int) -> None:
        # What other threads tell may come late.
        self._held[path] = min(max(held, self._held.get(path, 0)), self._totals[path])
        self._changed.add(path)

    def _from_any_thread(self, loop: asyncio.AbstractEventLoop, path: str, held: int, _total: int) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(self._tell, path, held)


def _files(listing: bytes) -> list[str]:
    return [entry.path for entry in _read(listing, list[_Listed]) if entry.type == "file"]


def _read(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_answer(str(error)) from None


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _error_event(error: BaseException) -> ErrorEvent:
    if isinstance(error, Refused):
        message = error.answer.headers.get("x-error-message", f"the upstream answered {error.answer.status}")
        return ErrorEvent(error.hub_code or "upstream_refused", message)
    told = unreachable(error) if isinstance(error, (ConnectionError, TimeoutError)) else error
    if isinstance(told, XetwayError):
        return ErrorEvent(told.code, told.message)
    raise error
