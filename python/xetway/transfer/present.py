"""What a disk holds already: hashes of files, the room that is left, writing in one piece. Blocking."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from pathlib import Path

from xetway.errors import StateError
from xetway.transfer.hub import RemoteFile

_READ_BYTES = 1024 * 1024


def has_content(path: Path, file: RemoteFile) -> bool:
    """Whether the file there has this content: its size, then all of it against its digest."""
    try:
        if path.stat().st_size != file.size:
            return False
        return file_digest(path, file.digest.algorithm, file.size) == file.digest.digest
    except OSError:
        return False


def file_digest(path: Path, algorithm: str, size: int) -> bytes:
    """The digest of a file's content: `sha256`, or git's blob id (`git-sha1`)."""
    if algorithm == "sha256":
        hasher = hashlib.sha256()
    else:
        hasher = hashlib.sha1(f"blob {size}\0".encode("ascii"), usedforsecurity=False)
    with path.open("rb") as opened:
        while piece := opened.read(_READ_BYTES):
            hasher.update(piece)
    return hasher.digest()


def need_room(folder: Path, bytes_needed: int, remedy: str) -> None:
    """Check that the disk has room for so many bytes more, before they are fetched.

    Raises:
        StateError: `disk_full`, with both figures and the remedy.
    """
    try:
        free = shutil.disk_usage(_nearest(folder)).free
    except OSError:
        return
    if bytes_needed > free:
        raise disk_full(folder, remedy, f"{bytes_needed} bytes are needed and {free} are free")


def disk_full(folder: Path, remedy: str, figures: str = "") -> StateError:
    """The error of a full disk."""
    return StateError(
        f"the disk of {folder} has not enough space{f' ({figures})' if figures else ''}; {remedy}", code="disk_full"
    )


def is_disk_full(error: BaseException) -> bool:
    """Whether a failure says that the disk, or what may be used of it, is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def begun_bytes(path: Path) -> int:
    """Bytes on disk of an interrupted download to this path; they need no room again."""
    try:
        status = path.with_name(path.name + ".xetway-part").stat()
    except OSError:
        return 0
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else int(blocks) * 512


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that a reader sees all of it or what was there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _nearest(folder: Path) -> Path:
    return next((parent for parent in (folder, *folder.parents) if parent.exists()), Path("/"))
