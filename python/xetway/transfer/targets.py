"""Where downloaded files belong: the cache that Hub clients share, a plain folder, or one named file.

Each target answers the same questions, so that `downloads` need not know which it is: is the file there, which lock
guards it, where do its bytes go while they come (`landing`), and how it is put in place. Blocking, but for locks.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Protocol

from xetway.transfer.hub import RemoteFile

CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file marks a cache folder, which backups may leave out: https://bford.info/cachedir/\n"
)


class Target(Protocol):
    """Where the files of one revision go."""

    @property
    def folder(self) -> Path:
        """What the user is told: the folder in which the files are."""
        ...

    @property
    def disk(self) -> Path:
        """The folder whose disk must have room."""
        ...

    def present(self, file: RemoteFile, *, verify: bool) -> Path | None:
        """Where the file is, if it is there already; put in place if only its content was."""
        ...

    def lock_path(self, file: RemoteFile) -> Path | None:
        """The file whose lock to hold while it is fetched."""
        ...

    def landing(self, file: RemoteFile) -> Path:
        """Where the content goes first; named by the content, so that a rerun finds what it left there."""
        ...

    def put(self, file: RemoteFile) -> Path:
        """Put what has landed in place."""
        ...

    def finish(self, listing: list[RemoteFile] | None) -> None:
        """All files are there. `listing` is the whole revision's, if all of it was asked for."""
        ...


def tag_cache(folder: Path) -> None:
    """Mark a folder as a cache."""
    tag = folder / "CACHEDIR.TAG"
    with contextlib.suppress(OSError):
        if not tag.exists():
            tag.write_text(CACHEDIR_TAG, encoding="utf-8")


def listing_json(files: list[RemoteFile]) -> str:
    """The listing of a commit as Hub clients (2.x) keep it in `trees/<commit>.json`, format version 1."""
    import msgspec  # noqa: PLC0415

    entries = {}
    for file in sorted(files, key=lambda one: one.path):
        entry: dict[str, str | int] = {"size": file.size, "blob_id": file.oid}
        if file.sha256 is not None:
            entry |= {"lfs_sha256": file.sha256, "lfs_size": file.size}
        if file.xet_hash is not None:
            entry["xet_hash"] = file.xet_hash
        entries[file.path] = entry
    return msgspec.json.encode({"format_version": 1, "files": entries}).decode()
