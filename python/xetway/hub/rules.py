"""Rules about paths that a repository holds: .gitattributes (what is LFS) and .gitignore (what is not uploaded).

Only the files at a repository's root, and of git's patterns what repositories use: ``*``, ``?``, ``[...]``, ``**``, a
slash that ties a pattern to the root, and for .gitignore a slash at the end and ``!``. (gitattributes(5), gitignore(5))
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase

_MAX_RULES = 1_000
_MAX_PATTERN_CHARACTERS = 200


def pattern_matches(pattern: str, path: str) -> bool:
    """Match a pattern: without a slash it is for names, with one for whole paths.

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
            if not pattern or pattern.startswith(("#", "[", '"')) or len(pattern) > _MAX_PATTERN_CHARACTERS:
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


class IgnoreRules:
    """The rules of a .gitignore file: the last one that matches decides, and a folder decides for what is in it."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[str, bool, bool]] = []
        for line in text.splitlines()[:_MAX_RULES]:
            stripped = line.rstrip()
            pattern = stripped.removeprefix("!")
            if pattern and not stripped.startswith("#") and len(pattern) <= _MAX_PATTERN_CHARACTERS:
                folders_only = pattern.endswith("/")
                self._rules.append((pattern.rstrip("/").removeprefix("\\"), folders_only, pattern == stripped))

    def matches(self, path: str) -> bool:
        """Whether a file at a path is ignored."""
        return bool(self._rules) and any(self._decide(part, is_folder=part != path) for part in _path_and_parents(path))

    def _decide(self, path: str, *, is_folder: bool) -> bool:
        ignored = False
        for pattern, folders_only, value in self._rules:
            if ignored != value and (is_folder or not folders_only) and pattern_matches(pattern, path):
                ignored = value
        return ignored


def _path_and_parents(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
    yield path
