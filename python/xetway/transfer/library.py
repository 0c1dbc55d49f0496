"""The transfers that `xetway` exports: `download`, `download_sync`, `stream`.

Importing this loads neither asyncio nor the network client; the first call does.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from xetway.transfer.results import Downloaded, OnProgress

if TYPE_CHECKING:
    from xetway.transfer.downloads import Chosen
    from xetway.transfer.hub import HubClient
    from xetway.transfer.results import Observer
    from xetway.transfer.wire import TransferOptions, Wire

P = ParamSpec("P")
T = TypeVar("T")


async def download(
    repo: str,
    path: str,
    *,
    to: str | os.PathLike[str] | None = None,
    repo_type: str | None = None,
    revision: str = "main",
    start: int = 0,
    end: int | None = None,
    force: bool = False,
    progress: OnProgress | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    options: TransferOptions | None = None,
    wire: Wire | None = None,
) -> Downloaded:
    """Download a file of a repository, verified, and resume what an earlier call left unfinished.

    Cancelling the task stops the transfer; what has arrived stays on disk for the next call.

    Args:
        repo: `namespace/name`, or with its type: `datasets/namespace/name`.
        path: The file's path in the repository.
        to: The file to write. None: the cache that Hub clients share (HF_HOME), so that they find it too.
        repo_type: model, dataset or space, for a `repo` without prefix.  Model if None.
        revision: A branch, a tag or a commit.
        start: First byte wanted; with it or `end` there must be a `to`. A part is not proven by the file's hash.
        end: The byte after the last one wanted; None is the file's end.
        force: Fetch the file even if it is there.
        progress: Called with a `Progress` in the event loop, at most some twenty times a second.
        endpoint: The Hub.  HF_ENDPOINT, or huggingface.co, if None.
        token: The Hub token.  HF_TOKEN, or what `hf auth login` stored, if None.
        options: Limits for connections and rate, and a CA bundle.
        wire: The network client to share between calls; a new one if None.

    Raises:
        NotFoundError: `repo_not_found`, `revision_not_found` or `entry_not_found`.
        AuthError: `token_required`, `token_refused`; ForbiddenError: `gated_repo`.
        TransportError: The network failed, after retries. RemoteError: a server did.
        IntegrityError: The content has not the hash it should have; nothing is left of it.
        StateError: `disk_full`.

    Example:
        >>> async def fetch() -> int:
        ...     result = await xetway.download("org/model", "config.json", to="config.json")
        ...     return result.size
    """
    from xetway.transfer.downloads import download_files  # noqa: PLC0415
    from xetway.transfer.hub_cache import HubCache  # noqa: PLC0415
    from xetway.transfer.plain_folder import OneFile  # noqa: PLC0415
    from xetway.transfer.targets import Target  # noqa: PLC0415

    hub, chosen = await _find(repo, path, repo_type, revision, endpoint, token, options, wire)
    if start or end is not None:
        from xetway.transfer.parts import download_part  # noqa: PLC0415

        return await download_part(hub, chosen, None if to is None else Path(to), start, end, progress)
    target: Target
    if to is None:
        from xetway.transfer.environment import cache_folder  # noqa: PLC0415

        target = HubCache(cache_folder(), chosen.repo, revision, chosen.commit)
    else:
        target = OneFile(Path(to))
    outcome = await download_files(hub, chosen, target, force=force, observer=_observer(progress))
    return outcome.files[chosen.files[0].path]


def _twin_of(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[[Callable[..., T]], Callable[P, T]]:
    """Give a function the parameters of its asynchronous twin, for type checkers and `help()`."""

    def typed(twin: Callable[..., T]) -> Callable[P, T]:
        twin.__wrapped__ = function  # type: ignore[attr-defined]
        return twin

    return typed


@_twin_of(download)
def download_sync(*arguments: Any, **named: Any) -> Downloaded:
    """Download a file as `download` does, with the same arguments, and wait for it.

    Works inside a running event loop too, which it blocks: the transfer has a thread and a loop of its own. An
    exception in the waiting thread, such as KeyboardInterrupt, stops the transfer. `progress` is called in the
    transfer's thread.

    Example:
        >>> def fetch() -> str:
        ...     return str(xetway.download_sync("datasets/org/texts", "train.csv", to="train.csv").path)
    """
    from xetway.transfer.blocking import run_blocking  # noqa: PLC0415

    return run_blocking(lambda: download(*arguments, **named))


class ByteStream:
    """The bytes of a file in order: iterate over it, once. Leaving `async with` stops the transfer."""

    def __init__(self, start: int, end: int | None, arguments: tuple[Any, ...]) -> None:
        self._range = start, end
        self._arguments = arguments
        self._pieces: AsyncGenerator[bytes, None] | None = None
        self._closed = False
        self.size: int | None = None
        """Bytes that the stream gives; None until the first piece is asked for."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._closed:
            raise StopAsyncIteration
        if self._pieces is None:
            from xetway.transfer.streams import clip, pieces  # noqa: PLC0415

            hub, chosen = await _find(*self._arguments)
            first, last = clip(chosen.files[0].size, *self._range)
            self.size = last - first
            self._pieces = pieces(hub, chosen.repo, chosen.commit, chosen.files[0], first, last)
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """Stop, and let go of connections and memory."""
        self._closed = True
        if self._pieces is not None:
            await self._pieces.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def stream(
    repo: str,
    path: str,
    *,
    start: int = 0,
    end: int | None = None,
    repo_type: str | None = None,
    revision: str = "main",
    endpoint: str | None = None,
    token: str | None = None,
    options: TransferOptions | None = None,
    wire: Wire | None = None,
) -> ByteStream:
    """Iterate over bytes [start, end) of a file of a repository, in pieces of any size.

    Memory does not grow with the file. A whole file is verified: its last piece comes only if the hash agrees, and a
    part of it cannot be. Arguments and errors are those of `download`; nothing is asked of anyone before the first
    piece is.

    Example:
        >>> async def head() -> bytes:
        ...     async with xetway.stream("org/model", "model.safetensors", end=8) as pieces:
        ...         return b"".join([piece async for piece in pieces])
    """
    return ByteStream(start, end, (repo, path, repo_type, revision, endpoint, token, options, wire))


async def _find(
    repo: str,
    path: str,
    repo_type: str | None,
    revision: str,
    endpoint: str | None,
    token: str | None,
    options: TransferOptions | None,
    wire: Wire | None,
) -> tuple[HubClient, Chosen]:
    from xetway.transfer import environment  # noqa: PLC0415
    from xetway.transfer.downloads import Selection, choose  # noqa: PLC0415
    from xetway.transfer.hub import HubClient  # noqa: PLC0415
    from xetway.transfer.names import parse_repo  # noqa: PLC0415
    from xetway.transfer.wire import NativeWire  # noqa: PLC0415

    name = parse_repo(repo, repo_type)
    hub = HubClient(
        wire or NativeWire(options),
        environment.endpoint(endpoint),
        environment.token() if token is None else token or None,
    )
    return hub, await choose(hub, name, revision, Selection(paths=(path,)))


def _observer(progress: OnProgress | None) -> Observer:
    from xetway.transfer.results import Observer, Told  # noqa: PLC0415

    return Observer() if progress is None else Told(progress)
