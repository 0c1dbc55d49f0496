"""Which files of a folder are uploaded, and what the Hub is told of each before."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from xetway.errors import ConfigError, NotFoundError
from xetway.transfer.names import select

SAMPLE_BYTES = 512
_MAX_IGNORE_BYTES = 1024 * 1024
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class LocalFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file to upload: where it is, and its path in the repository."""

    source: Path
    path: str
    size: int

    def sample(self) -> dict[str, Any]:
        """What `preupload` wants to know. Reads the file's beginning."""
        with self.source.open("rb") as opened:
            beginning = opened.read(SAMPLE_BYTES)
        return {"path": self.path, "size": self.size, "sample": base64.b64encode(beginning).decode("ascii")}


def find_files(
    local: Path, path_in_repo: str | None, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> list[LocalFile]:
    """The files of a folder, or the one file, with their paths in the repository, in order. Blocking.

    `.git` and what clients keep in `.cache/huggingface` is left out, so are links to folders. Patterns are matched
    with the path inside the folder.

    Raises:
        NotFoundError: `no_such_file`.
        ConfigError: `bad_path`.
    """
    if local.is_file():
        path = clean_path(path_in_repo if path_in_repo not in {None, "", "."} else local.name)
        if path_in_repo is not None and path_in_repo.endswith("/"):
            path = f"{path}/{local.name}"
        return [LocalFile(source=local, path=path, size=local.stat().st_size)]
    if not local.is_dir():
        raise NotFoundError(
            f"there is no file or folder {local}; say what to upload after the repository", code="no_such_file"
        )
    prefix = clean_path(path_in_repo)
    inside = sorted(_walk(local, ""))
    return [
        LocalFile(source=local / path, path=f"{prefix}/{path}" if prefix else path, size=(local / path).stat().st_size)
        for path in select(inside, include, exclude)
    ]


def gitignore(local: Path) -> str | None:
    """The folder's .gitignore, which the Hub applies."""
    path = local / ".gitignore"
    try:
        if local.is_dir() and path.is_file() and path.stat().st_size <= _MAX_IGNORE_BYTES:
            return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return None


def _walk(folder: Path, prefix: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name != ".git" and not f"/{path}".endswith("/.cache/huggingface"):
                    yield from _walk(Path(entry.path), f"{path}/")
            elif entry.is_file() and entry.name != ".git":
                yield path


def clean_path(path: str | None) -> str:
    """The path in the repository, without `./` and slashes around it."""
    text = (path or "").strip("/").removeprefix("./")
    if text == ".":
        return ""
    if _UNPRINTABLE.search(text) or "\\" in text or any(part in {"..", "."} for part in text.split("/")):
        raise ConfigError(f"{text[:80]!r} is no path in a repository", code="bad_path")
    return text
