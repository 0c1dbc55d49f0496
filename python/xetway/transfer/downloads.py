"""Downloading files of one revision: which, whether they are there, one after another or at once, and into place.

The first failure ends the rest. What was interrupted, by a failure, by cancelling or by the end of the process, stays
beside its landing place (`NAME.xetway-part`, `NAME.xetway-journal`); the next run checks it and goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from xetway.errors import ConfigError, NotFoundError
from xetway.transfer.blocking import in_thread
from xetway.transfer.hub import HubClient, RemoteFile
from xetway.transfer.locks import lock
from xetway.transfer.names import RepoName, select
from xetway.transfer.present import begun_bytes, disk_full, is_disk_full, need_room
from xetway.transfer.results import Downloaded, Observer, Outcome, Progress
from xetway.transfer.targets import Target

T = TypeVar("T")
DEFAULT_WORKERS = 8
MAX_WORKERS = 256
ROOM_REMEDY = "free some, or choose a folder on another disk (--local-dir, --cache, HF_HOME); a rerun goes on from here"


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which files: those named, or all that the patterns leave."""

    paths: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return not (self.paths or self.include or self.exclude)


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The files chosen of a commit."""

    repo: RepoName
    commit: str
    files: list[RemoteFile]
    # The whole listing, if all of it was chosen.
    listing: list[RemoteFile] | None


async def choose(hub: HubClient, repo: RepoName, revision: str, selection: Selection) -> Chosen:
    """Resolve a revision and choose files of it.

    Raises:
        NotFoundError: The repository, the revision or a file is not there; `no_match`: no file fits the patterns.
        AuthError: The Hub wants another token.
        ConfigError: Paths and patterns were both given.
    """
    if selection.paths and (selection.include or selection.exclude):
        raise ConfigError("give either the names of files, or --include and --exclude")
    commit = await hub.commit_of(repo, revision)
    if selection.paths:
        files = await hub.files(repo, commit, tuple(dict.fromkeys(selection.paths)))
        return Chosen(repo=repo, commit=commit, files=files, listing=None)
    listing = await hub.tree(repo, commit)
    names = set(select((file.path for file in listing), selection.include, selection.exclude))
    files = [file for file in listing if file.path in names]
    if listing and not files:
        raise NotFoundError(
            f"none of the {len(listing)} files of {repo} at {revision} fits the patterns; * matches slashes too",
            code="no_match",
        )
    return Chosen(repo=repo, commit=commit, files=files, listing=listing if selection.is_all else None)


async def find_present(target: Target, files: Sequence[RemoteFile], *, verify: bool) -> dict[str, Downloaded]:
    """Those of the files that are there already."""

    def look() -> dict[str, Downloaded]:
        found = {}
        for file in files:
            path = target.present(file, verify=verify)
            if path is not None:
                found[file.path] = Downloaded(path=path, size=file.size, hash=file.xet_hash, state="present")
        return found

    return await in_thread(look)


async def download_files(
    hub: HubClient,
    chosen: Chosen,
    target: Target,
    *,
    force: bool = False,
    verify: bool = False,
    workers: int = DEFAULT_WORKERS,
    observer: Observer | None = None,
) -> Outcome:
    """Bring the chosen files to the target.

    Args:
        hub: Where they come from.
        chosen: What `choose` found.
        target: Where they belong.
        force: Fetch them even if they are there.
        verify: Read what is there and compare it with its digest, where its size would do.
        workers: How many files at once.
        observer: Is told how it goes.

    Raises:
        StateError: `disk_full`.
        FormatError: `unsafe_path`, or content that has not the hash it should have.
        TransportError, RemoteError: The network or a server failed.
    """
    observer = observer or Observer()
    found = {} if force else await find_present(target, chosen.files, verify=verify)
    missing = [file for file in chosen.files if file.path not in found]
    observer.planned({file.path: file.size for file in missing})
    # A cache holds the content of two paths once, a folder twice.
    landings = {target.landing(file): file.size for file in missing}
    need = sum(landings.values()) - sum(map(begun_bytes, landings))
    await asyncio.to_thread(need_room, target.disk, need, ROOM_REMEDY)

    async def one(file: RemoteFile) -> Downloaded:
        observer.started(file.path)
        async with _locked(target, file, observer):
            # Another process, or another path with the same content, may have brought it while we waited.
            known = {} if force else await find_present(target, [file], verify=verify)
            done = known.get(file.path) or await _fetch(hub, chosen, target, file, observer, resume=not force)
        observer.finished(file.path, file.size)
        return done

    fetched = await at_once((partial(one, file) for file in missing), workers)
    await asyncio.to_thread(target.finish, chosen.listing)
    files = found | dict(zip((file.path for file in missing), fetched, strict=True))
    files = {file.path: msgspec.structs.replace(files[file.path], commit=chosen.commit) for file in chosen.files}
    return Outcome(commit=chosen.commit, folder=target.folder, files=files)


@contextlib.asynccontextmanager
async def _locked(target: Target, file: RemoteFile, observer: Observer) -> AsyncIterator[None]:
    path = target.lock_path(file)
    if path is None:
        yield
        return
    async with lock(path, lambda: observer.noted(f"waiting for another process that downloads {file.path}")):
        yield


async def _fetch(
    hub: HubClient, chosen: Chosen, target: Target, file: RemoteFile, observer: Observer, *, resume: bool
) -> Downloaded:
    def progress(written: int, received: int, _total: int) -> None:
        observer.progressed(
            Progress(path=file.path, written_bytes=written, received_bytes=received, total_bytes=file.size)
        )

    landing = await asyncio.to_thread(target.landing, file)
    try:
        if file.xet_hash is not None and file.size:
            tokens = hub.read_tokens(chosen.repo, chosen.commit)
            _, received, resumed = await hub.wire.download_file(
                file.xet_hash, landing, tokens, size=file.size, resume=resume, progress=progress
            )
        else:
            _, received, resumed = await hub.wire.download_plain(
                hub.content_url(chosen.repo, chosen.commit, file.path),
                hub.headers,
                landing,
                size=file.size,
                digest=file.digest,
                resume=resume,
                progress=progress,
            )
        path = await asyncio.to_thread(target.put, file)
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(target.disk, ROOM_REMEDY) from error
        raise
    return Downloaded(
        path=path,
        size=file.size,
        hash=file.xet_hash,
        state="downloaded",
        received_bytes=received,
        resumed_bytes=resumed,
    )


async def at_once(jobs: Iterable[Callable[[], Awaitable[T]]], workers: int) -> list[T]:
    """Run the jobs, `workers` at a time, in order; the first failure cancels the rest and is raised."""
    pending = list(jobs)
    results: dict[int, T] = {}
    numbers = iter(range(len(pending)))

    async def work() -> None:
        for number in numbers:
            results[number] = await pending[number]()

    tasks = [asyncio.ensure_future(work()) for _ in range(min(max(1, workers), len(pending)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        # The work has stopped when this returns, not some time later.
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[number] for number in range(len(pending))]
