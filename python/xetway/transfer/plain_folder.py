"""Downloads into a folder of the user's own, with notes beside them by which Hub clients recognise the files.

    DIR/<path>                                            the file
    DIR/.cache/huggingface/download/<path>.metadata       three lines: commit, etag, time of writing (unix seconds)
    DIR/.cache/huggingface/download/<path>.lock           held while the file is written
    DIR/.cache/huggingface/trees/<commit>.json            the listing, if all of it was downloaded

A file whose note has the same etag and that was not changed since is taken as it is if its size is right; one without
such a note is read and compared with its digest. Content lands in `.cache` first: what lies in DIR itself is whole.
Layout: huggingface_hub 2.4.0.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import time
from pathlib import Path

from xetway.errors import FormatError
from xetway.transfer.hub import RemoteFile
from xetway.transfer.names import place
from xetway.transfer.present import has_content, write_whole
from xetway.transfer.targets import listing_json, tag_cache

_WINDOWS = sys.platform == "win32"
# Times of files may be coarser than the clock.
_CLOCK_SLACK_S = 1.0


class PlainFolder:
    """One revision in a folder."""

    def __init__(self, root: Path, commit: str) -> None:
        self._root = root
        self._commit = commit
        self._notes = root / ".cache" / "huggingface"

    @property
    def folder(self) -> Path:
        """The folder as it was named."""
        return self._root

    @property
    def disk(self) -> Path:
        """The same."""
        return self._root

    def _path(self, file: RemoteFile) -> Path:
        if file.path.lower().split("/")[:2] == [".cache", "huggingface"]:
            raise FormatError(
                f"the repository has a file {file.path[:80]!r}, where downloads keep their notes; leave it out with "
                "--exclude '.cache/*'",
                code="unsafe_path",
                format="repository path",
            )
        return place(self._root, file.path, windows=_WINDOWS)

    def _note(self, file: RemoteFile, suffix: str) -> Path:
        path = place(self._notes / "download", file.path, windows=_WINDOWS)
        return path.with_name(path.name + suffix)

    def present(self, file: RemoteFile, *, verify: bool) -> Path | None:
        """As `Target.present`; a file without a note about this content is always read."""
        path = self._path(file)
        try:
            status = path.stat()
        except OSError:
            return None
        if status.st_size != file.size:
            return None
        noted = self._noted(file)
        known = noted is not None and noted[1] == file.etag and status.st_mtime - _CLOCK_SLACK_S <= noted[2]
        if (verify or not known) and not has_content(path, file):
            return None
        if noted is None or not known or noted[0] != self._commit:
            self._write_note(file)
        return path

    def _noted(self, file: RemoteFile) -> tuple[str, str, float] | None:
        try:
            commit, etag, written = self._note(file, ".metadata").read_text(encoding="utf-8").split("\n")[:3]
            return commit, etag, float(written)
        except (OSError, ValueError):
            return None

    def _write_note(self, file: RemoteFile) -> None:
        write_whole(self._note(file, ".metadata"), f"{self._commit}\n{file.etag}\n{time.time()}\n")

    def lock_path(self, file: RemoteFile) -> Path:
        """As `Target.lock_path`."""
        self._mark()
        return self._note(file, ".lock")

    def landing(self, file: RemoteFile) -> Path:
        """As `Target.landing`."""
        self._mark()
        name = hashlib.sha256(file.path.encode()).hexdigest()[:16]
        return self._note(file, "").with_name(f"{name}.{file.etag}.xetway")

    def put(self, file: RemoteFile) -> Path:
        """As `Target.put`."""
        path = self._path(file)
        self.landing(file).replace(path)
        self._write_note(file)
        return path

    def _mark(self) -> None:
        """Keep backups and git out of the notes."""
        self._notes.mkdir(parents=True, exist_ok=True)
        tag_cache(self._notes)
        ignore = self._notes / ".gitignore"
        with contextlib.suppress(OSError):
            if not ignore.exists():
                ignore.write_text("*", encoding="utf-8")

    def finish(self, listing: list[RemoteFile] | None) -> None:
        """As `Target.finish`."""
        tree = self._notes / "trees" / f"{self._commit}.json"
        if listing is not None and not tree.exists():
            with contextlib.suppress(OSError):
                write_whole(tree, listing_json(listing))


class OneFile:
    """A single file to a path that the user named. What is there is replaced, unless it is the same."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def folder(self) -> Path:
        """The file itself."""
        return self._path

    @property
    def disk(self) -> Path:
        """The folder it is in."""
        return self._path.parent

    def present(self, file: RemoteFile, *, verify: bool) -> Path | None:  # noqa: ARG002  (it is always read)
        """As `Target.present`."""
        return self._path if has_content(self._path, file) else None

    def lock_path(self, file: RemoteFile) -> Path | None:  # noqa: ARG002
        """None: nobody else knows this path."""
        return None

    def landing(self, file: RemoteFile) -> Path:
        """Beside the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return self._path.with_name(f".{self._path.name}.{file.etag[:16]}.xetway")

    def put(self, file: RemoteFile) -> Path:
        """As `Target.put`."""
        self.landing(file).replace(self._path)
        return self._path

    def finish(self, listing: list[RemoteFile] | None) -> None:
        """Nothing to note."""
