"""Uploading files: ask the Hub how it wants each, send what it has not got, commit.

Unchanged files are hashed and skipped. A file that the Hub wants as Xet goes through one `Uploader`, so files that
share content share it; small text goes inline. All is sent before the first commit is made: an upload that is
interrupted changes nothing, and a rerun sends only what is not in the content store yet.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from xetway.errors import StateError
from xetway.transfer.blocking import in_thread
from xetway.transfer.hub import PREUPLOAD_FILES, Committed, HubClient, UploadMode
from xetway.transfer.local_files import LocalFile
from xetway.transfer.names import RepoName, select
from xetway.transfer.present import file_digest
from xetway.transfer.results import Observer, Progress

# A Hub works through a commit while its client waits; more than this is done in steps.
COMMIT_OPERATIONS = 1_000
COMMIT_INLINE_BYTES = 64 * 1024 * 1024


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """What to upload where."""

    repo: RepoName
    files: Sequence[LocalFile]
    revision: str = "main"
    message: str | None = None
    create_pr: bool = False
    ignore: str | None = None
    # Patterns of paths below `prefix` to delete, if they are not uploaded.
    delete: tuple[str, ...] = ()
    prefix: str = ""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. `new_bytes` were stored, `dedup_bytes` were there; an unchanged file counts in neither."""

    commit_url: str
    commit: str
    pull_request_url: str | None = None
    committed: bool = True
    uploaded_files: int = 0
    unchanged_files: int = 0
    ignored_files: int = 0
    deleted_files: int = 0
    new_bytes: int = 0
    dedup_bytes: int = 0


class _Sorted(msgspec.Struct):
    """The files by what becomes of them."""

    large: list[LocalFile] = []
    inline: list[LocalFile] = []
    unchanged: int = 0
    ignored: int = 0


async def upload_files(hub: HubClient, upload: Upload, observer: Observer | None = None) -> Uploaded:
    """Bring the files into the repository, which must exist, with as few commits as may be.

    Raises:
        NotFoundError, AuthError, ForbiddenError, RemoteError, TransportError: as `HubClient`.
        StateError: `file_changed`: a file changed while it was uploaded.
    """
    observer = observer or Observer()
    sorting = await _sort(hub, upload, observer)
    observer.planned({file.path: file.size for file in (*sorting.large, *sorting.inline)})
    lines = await _deletions(hub, upload)
    deleted = len(lines)
    new_bytes, dedup_bytes = await _send(hub, upload, sorting.large, lines, observer)
    result = Uploaded(
        commit_url="",
        commit="",
        committed=False,
        uploaded_files=len(sorting.large) + len(sorting.inline),
        unchanged_files=sorting.unchanged,
        ignored_files=sorting.ignored,
        deleted_files=deleted,
        new_bytes=new_bytes,
        dedup_bytes=dedup_bytes,
    )
    last = await _commit(hub, upload, lines, sorting.inline, observer)
    if last is None:
        commit = await hub.commit_of(upload.repo, upload.revision)
        url = f"{hub.endpoint}{upload.repo.page}/commit/{commit}"
        return msgspec.structs.replace(result, commit_url=url, commit=commit)
    return msgspec.structs.replace(
        result,
        commit_url=last.commit_url,
        commit=last.commit_oid,
        pull_request_url=last.pull_request_url,
        committed=True,
    )


async def _sort(hub: HubClient, upload: Upload, observer: Observer) -> _Sorted:
    found = _Sorted()
    for first in range(0, len(upload.files), PREUPLOAD_FILES):
        some = upload.files[first : first + PREUPLOAD_FILES]
        samples = await asyncio.to_thread(_samples, some)
        modes = await hub.preupload(upload.repo, upload.revision, samples, upload.ignore, create_pr=upload.create_pr)
        by_path = {mode.path: mode for mode in modes}
        for file in some:
            mode = by_path.get(file.path)
            if mode is None:
                raise StateError(f"{hub.endpoint} did not say how it wants {file.path}", code="bad_hub_answer")
            if mode.should_ignore:
                found.ignored += 1
                observer.noted(f"left out, by .gitignore: {file.path}")
            elif await in_thread(_is_unchanged, file, mode):
                found.unchanged += 1
            elif mode.upload_mode == "lfs" and file.size:
                found.large.append(file)
            else:
                found.inline.append(file)
    return found


def _samples(files: Sequence[LocalFile]) -> list[dict[str, Any]]:
    return [file.sample() for file in files]


def _contents(files: Sequence[LocalFile]) -> list[bytes]:
    return [_inline(file) for file in files]


def _is_unchanged(file: LocalFile, mode: UploadMode) -> bool:
    """Whether the repository has this content at this path: its id says which hash it is."""
    if mode.oid is None:
        return False
    algorithm = "sha256" if len(mode.oid) == 64 else "git-sha1"
    return file_digest(file.source, algorithm, file.size).hex() == mode.oid


async def _deletions(hub: HubClient, upload: Upload) -> list[bytes]:
    if not upload.delete:
        return []
    commit = await hub.commit_of(upload.repo, upload.revision)
    prefix = f"{upload.prefix}/" if upload.prefix else ""
    there = [file.path for file in await hub.tree(upload.repo, commit) if file.path.startswith(prefix)]
    uploaded = {file.path for file in upload.files}
    chosen = set(select((path.removeprefix(prefix) for path in there), upload.delete))
    gone = [path for path in there if path.removeprefix(prefix) in chosen and path not in uploaded]
    return [_line("deletedFile", {"path": path}) for path in gone if path != ".gitattributes"]


async def _send(
    hub: HubClient, upload: Upload, files: list[LocalFile], lines: list[bytes], observer: Observer
) -> tuple[int, int]:
    """Send the large files, and add their lines to `lines`; returns new and deduplicated bytes."""
    if not files:
        return 0, 0
    uploader = hub.wire.uploader(hub.write_tokens(upload.repo, upload.revision, create_pr=upload.create_pr))
    for file in files:
        observer.started(file.path)

        def tell(done: int, sent: int, _total: int, file: LocalFile = file) -> None:
            observer.progressed(
                Progress(path=file.path, written_bytes=done, received_bytes=sent, total_bytes=file.size)
            )

        _, size, sha256 = await uploader.add_file(str(file.source), tell)
        if size != file.size:
            raise _changed(file)
        value = {"path": file.path, "algo": "sha256", "oid": sha256.hex(), "size": size}
        lines.append(_line("lfsFile", value))
        observer.finished(file.path, size)
    new_bytes, dedup_bytes, _ = await uploader.finish()
    return new_bytes, dedup_bytes


async def _commit(
    hub: HubClient, upload: Upload, lines: list[bytes], inline: list[LocalFile], observer: Observer
) -> Committed | None:
    """Commit, in as many steps as it takes; None if there is nothing to commit."""
    steps = list(_steps(lines, inline))
    title, _, description = (upload.message or "Upload with xetway").partition("\n")
    revision, last = upload.revision, None
    for number, (ready, small) in enumerate(steps, 1):
        part = f" (part {number} of {len(steps)})" if len(steps) > 1 else ""
        header: dict[str, Any] = {"summary": title + part, "description": description.strip()}
        contents = await asyncio.to_thread(_contents, small)
        creates = upload.create_pr and last is None
        last = await hub.commit(upload.repo, revision, [_line("header", header), *ready, *contents], create_pr=creates)
        if creates and last.pull_request_url is not None and len(steps) > 1:
            # The other parts belong to the same pull request.
            revision = f"refs/pr/{last.pull_request_url.rstrip('/').rpartition('/')[2]}"
        for file in small:
            observer.finished(file.path, file.size)
    return last


def _steps(lines: list[bytes], inline: list[LocalFile]) -> Iterator[tuple[list[bytes], list[LocalFile]]]:
    """Divide what is to be committed: ready lines first, then files whose content goes inline."""
    ready: list[bytes] = []
    small: list[LocalFile] = []
    size = 0
    items: list[bytes | LocalFile] = [*lines, *inline]
    for item in items:
        more = item.size if isinstance(item, LocalFile) else 0
        full = len(ready) + len(small) >= COMMIT_OPERATIONS
        if full or (small and size + more > COMMIT_INLINE_BYTES):
            yield ready, small
            ready, small, size = [], [], 0
        if isinstance(item, LocalFile):
            small.append(item)
            size += more
        else:
            ready.append(item)
    if ready or small:
        yield ready, small


def _inline(file: LocalFile) -> bytes:
    content = file.source.read_bytes()
    if len(content) != file.size:
        raise _changed(file)
    return _line(
        "file", {"path": file.path, "content": base64.b64encode(content).decode("ascii"), "encoding": "base64"}
    )


def _line(key: str, value: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"key": key, "value": value})


def _changed(file: LocalFile) -> StateError:
    return StateError(f"{file.path} changed while it was uploaded; run the command again", code="file_changed")


def default_local(repo: RepoName) -> Path:
    """The folder or file uploaded when none is named: the one called as the repository is."""
    return Path(repo.name.rpartition("/")[2])
