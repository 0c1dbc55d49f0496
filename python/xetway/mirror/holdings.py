"""Which files of which repositories use what a cache holds: the cache knows hashes, `answers.db` their names.

Only looked at, beside a server or without one. What the database does not name, or all of it where there is none, is
held all the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from xetway._native import Cache, Hash


class Entry(NamedTuple):
    """What `Cache.entries` tells of one xorb or plain file."""

    kind: str
    name: str
    bytes: int
    last_used_s: int
    chunks: int
    proven_chunks: int


class HeldFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a repository, with one content. `path` and `size` are None where only the content's hash is known.

    `repo` is as on the command line: ``org/model``, ``datasets/org/texts``. `revisions` are branches and tags, and
    commits that none of them means. `entries` are the names of those that hold it.
    """

    repo: str
    path: str | None
    revisions: list[str]
    size: int | None
    held_bytes: int
    last_used_s: int
    entries: list[str]


class _Content(NamedTuple):
    """A content under a name; `content` is a xet hash, or the name of a plain file in the cache."""

    repo: str
    path: str | None
    size: int | None
    content: str
    is_xet: bool


class Holdings:
    """The names of what is in a cache. Blocking."""

    def __init__(self, cache: Cache, folder: Path) -> None:
        self._cache = cache
        self._held: dict[str, tuple[int, list[str]] | None] = {}
        self.has_names = True
        self._names: dict[_Content, set[str]] = {}
        try:
            self._names = _names(folder / "answers.db")
        except (sqlite3.Error, ValueError):
            # Text, or a hash, that is damaged is none.
            self.has_names = False

    def files(self, entries: Sequence[Entry]) -> list[HeldFile]:
        """The files of which any of the entries holds something, least recently used first."""
        there = {entry.name: entry for entry in entries}
        found = []
        for name, revisions in self._names.items():
            used = [there[entry] for entry in self._used_by(name) if entry in there]
            held = self._held_bytes(name, used)
            if held:
                found.append(
                    HeldFile(
                        repo=name.repo.removeprefix("models/"),
                        path=name.path,
                        revisions=sorted(revisions),
                        size=name.size,
                        held_bytes=held,
                        last_used_s=max(entry.last_used_s for entry in used),
                        entries=[entry.name for entry in used],
                    )
                )
        return sorted(found, key=lambda file: (file.last_used_s, file.repo, file.path or ""))

    def users(self, entry: str) -> list[str]:
        """Who uses an entry, in words: ``org/model: weights.bin``."""
        users = {
            f"{name.repo.removeprefix('models/')}: {name.path or 'a file without a name'}"
            for name in self._names
            if entry in self._used_by(name)
        }
        return sorted(users)

    def _used_by(self, name: _Content) -> list[str]:
        if not name.is_xet:
            return [name.content]
        held = self._holding(name.content)
        return [] if held is None else held[1]

    def _held_bytes(self, name: _Content, used: list[Entry]) -> int:
        if name.is_xet:
            held = self._holding(name.content)
            return 0 if held is None or not used else held[0]
        size = name.size or 0
        # Of one that is still fetched, the room it takes says how much there is.
        return max((size if entry.proven_chunks else min(size, entry.bytes) for entry in used), default=0)

    def _holding(self, file: str) -> tuple[int, list[str]] | None:
        if file not in self._held:
            self._held[file] = self._cache.holding(Hash(file))
        return self._held[file]


def _names(path: Path) -> dict[_Content, set[str]]:
    """Every content that the database names, with its revisions."""
    names: dict[_Content, set[str]] = {}
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        called: dict[tuple[str, str], set[str]] = {}
        for repo, revision, commit in db.execute("SELECT repo, revision, commit_id FROM refs"):
            called.setdefault((repo, commit), set()).add(revision)
        for content, commit in _rows(db):
            names.setdefault(content, set()).update(called.get((content.repo, commit), {commit[:12]}))
        known = {(name.repo, name.content) for name in names}
        for repo, raw in db.execute("SELECT DISTINCT repo, file FROM grants"):
            file = str(Hash.from_bytes(raw))
            if (repo, file) not in known:
                names[_Content(repo, None, None, file, is_xet=True)] = set()
    return names


def _rows(db: sqlite3.Connection) -> Iterator[tuple[_Content, str]]:
    rows = db.execute("SELECT DISTINCT repo, path, size, etag, xet, commit_id FROM files WHERE size > 0")
    for repo, path, size, etag, xet, commit in rows:
        if xet is not None:
            yield _Content(repo, path, size, str(Hash.from_bytes(xet)), is_xet=True), commit
        # A file of chunks may be held as a plain one too, where the upstream gave it so.
        algorithm = "sha256" if len(etag) == 64 else "git-sha1"
        yield _Content(repo, path, size, f"{algorithm}-{etag}", is_xet=False), commit
