"""The cache that Hub clients share, as they lay it out, so that HF_HUB_OFFLINE=1 finds what was downloaded here.

    models--org--name/blobs/<etag>                    content, by SHA-256 (LFS) or git blob id
    models--org--name/snapshots/<commit>/<path>       symbolic link to it, relative; a copy where there are none
    models--org--name/refs/<revision>                 the commit, 40 hex digits and no newline
    models--org--name/trees/<commit>.json             the listing; written last, and only if all of it is there
    .locks/models--org--name/<etag>.lock              held while a blob is written, by them and by us

A blob of the right size that is there already is taken as it is, as the other clients do; `verify` reads it first. The
newer clients' store of blobs shared between repositories (`blobs/` at the top) is read through their links and never
written. Layout: huggingface_hub 2.4.0.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from pathlib import Path

from xetway.errors import IntegrityError
from xetway.transfer.hub import RemoteFile
from xetway.transfer.names import RepoName, place
from xetway.transfer.present import has_content, write_whole
from xetway.transfer.targets import listing_json, tag_cache

_WINDOWS = sys.platform == "win32"


class HubCache:
    """One revision of one repository in the cache."""

    def __init__(self, root: Path, repo: RepoName, revision: str, commit: str) -> None:
        self._root = root
        self._repo_folder = root / repo.folder
        self._locks = root / ".locks" / repo.folder
        self._revision = revision
        self._commit = commit

    @property
    def folder(self) -> Path:
        """The snapshot's folder."""
        return self._repo_folder / "snapshots" / self._commit

    @property
    def disk(self) -> Path:
        """The folder of the contents."""
        return self._repo_folder / "blobs"

    def _blob(self, file: RemoteFile) -> Path:
        return self.disk / file.etag

    def present(self, file: RemoteFile, *, verify: bool) -> Path | None:
        """As `Target.present`. Without `verify` only the size is looked at."""
        blob, pointer = self._blob(file), place(self.folder, file.path, windows=_WINDOWS)
        # Where there are no links, the snapshot has a copy, and perhaps nothing else does.
        for path in (pointer, blob):
            try:
                size = path.stat().st_size
            except OSError:
                continue
            if size == file.size and (not verify or has_content(path, file)):
                return pointer if path == pointer else self._link(blob, pointer)
        return None

    def lock_path(self, file: RemoteFile) -> Path:
        """As `Target.lock_path`."""
        return self._locks / f"{file.etag}.lock"

    def landing(self, file: RemoteFile) -> Path:
        """As `Target.landing`: beside the blob, whose link into the shared store must not be written through."""
        self.disk.mkdir(parents=True, exist_ok=True)
        tag_cache(self._root)
        return self.disk / f"{file.etag}.xetway"

    def put(self, file: RemoteFile) -> Path:
        """As `Target.put`, once the content is seen to be what names the blob.

        What came through Xet was proven by its xet hash. All clients of this cache trust a blob by its name, which is
        another digest, and which the hub merely claims.

        Raises:
            IntegrityError: `sha256_mismatch`; what came is removed.
        """
        blob, landed = self._blob(file), self.landing(file)
        if file.xet_hash is not None and not has_content(landed, file):
            landed.unlink(missing_ok=True)
            raise IntegrityError(
                f"{file.path} is refused: the hub sends content that has not the {file.digest.algorithm} it claims, "
                f"{file.etag}",
                code="sha256_mismatch",
                expected=file.etag,
            )
        landed.replace(blob)
        return self._link(blob, place(self.folder, file.path, windows=_WINDOWS))

    def _link(self, blob: Path, pointer: Path) -> Path:
        relative = Path(os.path.relpath(blob, pointer.parent))
        with contextlib.suppress(OSError):
            if pointer.readlink() == relative:
                return pointer
        temporary = pointer.with_name(f".{os.urandom(6).hex()}.tmp")
        try:
            temporary.symlink_to(relative)
        except OSError:
            # Windows without the right to make links, FAT, some network disks.
            shutil.copyfile(blob, temporary)
        temporary.replace(pointer)
        return pointer

    def finish(self, listing: list[RemoteFile] | None) -> None:
        """As `Target.finish`: now the revision's name leads to the commit."""
        if self._revision != self._commit:
            reference = place(self._repo_folder / "refs", self._revision, windows=_WINDOWS)
            if not reference.exists() or reference.read_text(encoding="utf-8") != self._commit:
                write_whole(reference, self._commit)
        tree = self._repo_folder / "trees" / f"{self._commit}.json"
        if listing is not None and not tree.exists():
            with contextlib.suppress(OSError):
                write_whole(tree, listing_json(listing))
