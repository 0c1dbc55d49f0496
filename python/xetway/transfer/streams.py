"""A file's bytes in order, or a part of them, without a file.

A xet file is rebuilt as it is read. Any other comes in ranges of a few MiB. Read to its end, a whole file is proven:
the last piece is given out only when the hash agrees. A part of a file cannot be proven by its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from urllib.parse import urljoin, urlsplit

from xetway.errors import ConfigError, IntegrityError, RemoteError
from xetway.transfer.hub import READ_ATTEMPTS, HubClient, RemoteFile
from xetway.transfer.names import RepoName
from xetway.transfer.refusals import refusal
from xetway.transfer.wire import Answer

# One answer is held in memory at a time.
RANGE_BYTES = 4 * 1024 * 1024
_RANGE_TIMEOUT_S = 120.0
_MAX_REDIRECTS = 10


def clip(size: int, start: int, end: int | None) -> tuple[int, int]:
    """Bring a half-open range into a file of `size` bytes.

    Raises:
        ConfigError: `bad_range`: it is empty, or begins past the end.
    """
    stop = size if end is None else min(end, size)
    if start < 0 or (stop <= start and not (start == 0 == size)):
        asked = f"{start} to {'the end' if end is None else end}"
        raise ConfigError(f"there are no bytes from {asked} in a file of {size} bytes", code="bad_range")
    return start, stop


async def pieces(
    hub: HubClient, repo: RepoName, commit: str, file: RemoteFile, start: int, end: int
) -> AsyncGenerator[bytes, None]:
    """Bytes [start, end) of a file, which must be inside it. Closing the generator stops the transfer.

    Raises:
        IntegrityError: The whole file has not the hash it should have; its last piece was not given out.
        TransportError, RemoteError: The network or a server failed.
    """
    if start == end:
        return
    if file.xet_hash is None:
        async for piece in _plain(hub, hub.content_url(repo, commit, file.path), repo, file, start, end):
            yield piece
        return
    source = await hub.wire.open_download(
        file.xet_hash, hub.read_tokens(repo, commit), size=file.size, start=start, end=end
    )
    try:
        while piece := await source.read():
            yield piece
    finally:
        source.close()


async def _plain(
    hub: HubClient, url: str, repo: RepoName, file: RemoteFile, start: int, end: int
) -> AsyncGenerator[bytes, None]:
    digest = file.digest
    hasher = (
        hashlib.sha256()
        if digest.algorithm == "sha256"
        else hashlib.sha1(f"blob {file.size}\0".encode("ascii"), usedforsecurity=False)
    )
    whole = (start, end) == (0, file.size)
    for first in range(start, end, RANGE_BYTES):
        last = min(first + RANGE_BYTES, end)
        piece = await _range(hub, url, repo, file, first, last)
        hasher.update(piece)
        if whole and last == end and hasher.digest() != digest.digest:
            raise IntegrityError(
                f"{file.path}: what {hub.endpoint} sent is not the content it should be",
                code="content_mismatch",
                expected=digest.digest.hex(),
                actual=hasher.hexdigest(),
            )
        yield piece


async def _range(hub: HubClient, url: str, repo: RepoName, file: RemoteFile, first: int, last: int) -> bytes:
    answer = await _get(hub, url, first, last)
    if answer.status == 200 and len(answer.body) == file.size:
        return answer.body[first:last]
    if answer.status not in {200, 206}:
        raise refusal(answer, hub.endpoint, repo, path=file.path, with_token=bool(hub.headers))
    asked = f"bytes {first}-{last - 1}/"
    if not (answer.header("content-range") or "").startswith(asked) or len(answer.body) != last - first:
        raise RemoteError(
            f"{urlsplit(url).hostname} sent {len(answer.body)} bytes for {asked}{file.size} of {file.path}",
            code="wrong_range",
            remote_status=answer.status,
        )
    return answer.body


async def _get(hub: HubClient, url: str, first: int, last: int) -> Answer:
    """Follow redirects as browsers do; another host is not told the token."""
    for _ in range(_MAX_REDIRECTS):
        ours = _origin(url) == _origin(hub.endpoint)
        headers = [*(hub.headers if ours else ()), ("range", f"bytes={first}-{last - 1}")]
        answer = await hub.wire.request("GET", url, headers, attempts=READ_ATTEMPTS, timeout_s=_RANGE_TIMEOUT_S)
        location = answer.header("location")
        if answer.status not in {301, 302, 303, 307, 308} or location is None:
            return answer
        url = urljoin(url, location)
        if urlsplit(url).scheme not in {"http", "https"}:
            break
    raise RemoteError(f"{hub.endpoint} redirects without end", code="too_many_redirects")


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
