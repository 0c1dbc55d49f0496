"""How clients should upload each file: as LFS, through the content store, or inline in the commit.

LFS is what the revision's .gitattributes says, what is larger than the database holds, and what looks binary.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Literal

import msgspec

from xetway.hub.git import TreeEntry
from xetway.hub.names import normalize_path
from xetway.hub.objects import MAX_INLINE_BYTES, Blob, get_blobs, get_content
from xetway.hub.trees import TreeReader, find_entry

UploadMode = Literal["lfs", "regular"]
_ATTRIBUTES = ".gitattributes"
_MAX_RULES = 1_000


class FileToUpload(msgspec.Struct):
    """A file that a client is about to upload; `sample` is its beginning."""

    path: str
    size: int
    sample: bytes = b""


class UploadPlan(msgspec.Struct, rename="camel"):
    """How to upload it; `oid` names the content that the path has now, so that it can be skipped if it is the same."""

    path: str
    upload_mode: UploadMode
    should_ignore: bool = False
    oid: str | None = None


def pattern_matches(pattern: str, path: str) -> bool:
    """Match a .gitattributes pattern: without a slash it is for names, with one for whole paths.

    Time grows with the product of the lengths only, whatever the pattern.
    """
    parts = path.split("/")
    if "/" not in pattern:
        return fnmatchcase(parts[-1], pattern)
    wanted = pattern.strip("/").split("/")
    # All places in `wanted` where the parts so far can have led; "**" stands for any number of parts.
    places = _skip_stars(wanted, {0})
    for part in parts:
        steps = {at if wanted[at] == "**" else at + 1 for at in places if at < len(wanted) and _part(wanted[at], part)}
        places = _skip_stars(wanted, steps)
    return len(wanted) in places


def _part(pattern: str, part: str) -> bool:
    return pattern == "**" or fnmatchcase(part, pattern)


def _skip_stars(wanted: list[str], places: set[int]) -> set[int]:
    reached = set(places)
    for at in sorted(places):
        after = at
        while after < len(wanted) and wanted[after] == "**":
            after += 1
            reached.add(after)
    return reached


class LfsRules:
    """The filter rules of a .gitattributes file; the last one that matches a path decides."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[str, bool]] = []
        for line in text.splitlines()[:_MAX_RULES]:
            pattern, *attributes = line.split()[:20] or [""]
            if not pattern or pattern.startswith(("#", "[", '"')) or len(pattern) > 200:
                continue
            for attribute in attributes:
                if attribute.lstrip("-!").partition("=")[0] == "filter":
                    self._rules.append((pattern, attribute == "filter=lfs"))

    def matches(self, path: str) -> bool:
        """Whether the file at a path is kept as LFS."""
        lfs = False
        for pattern, value in self._rules:
            if lfs != value and pattern_matches(pattern, path):
                lfs = value
        return lfs


def rules_of(tx: sqlite3.Connection, tree: bytes) -> LfsRules:
    """Return the rules of a revision's root tree."""
    entry = find_entry(tx, tree, _ATTRIBUTES)
    blob = get_blobs(tx, (entry.oid,)).get(entry.oid) if entry is not None else None
    if blob is None or blob.file is not None:
        return LfsRules("")
    return LfsRules(get_content(tx, blob).decode("utf-8", "replace"))


def upload_mode(rules: LfsRules, file: FileToUpload) -> UploadMode:
    """Decide for one file. Empty files are regular: clients cannot upload them as LFS."""
    if file.size == 0:
        return "regular"
    binary = b"\0" in file.sample
    return "lfs" if file.size > MAX_INLINE_BYTES or binary or rules.matches(file.path) else "regular"


def plan_uploads(tx: sqlite3.Connection, tree: bytes, files: Iterable[FileToUpload]) -> list[UploadPlan]:
    """Decide for all files of a request, against a revision's root tree."""
    files = list(files)
    rules = rules_of(tx, tree)
    trees = TreeReader(tx)
    entries: dict[str, TreeEntry] = {}
    for file in files:
        entry = trees.find(tree, normalize_path(file.path))
        if entry is not None and not entry.is_folder:
            entries[file.path] = entry
    blobs: dict[bytes, Blob] = get_blobs(tx, (entry.oid for entry in entries.values()))
    plans = []
    for file in files:
        entry = entries.get(file.path)
        blob = blobs.get(entry.oid) if entry is not None else None
        plans.append(UploadPlan(file.path, upload_mode(rules, file), oid=None if blob is None else blob.etag))
    return plans
