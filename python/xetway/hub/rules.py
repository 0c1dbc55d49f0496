r"""Rules about paths that a repository holds: .gitattributes (what is LFS) and .gitignore (what is not uploaded).

Only the files at a repository's root, and of git's patterns what repositories use: ``*``, ``?``, ``[...]``, ``**``,
``\`` before a character that means itself, a slash that ties a pattern to the root, and for .gitignore a slash at the
end and ``!``. (gitattributes(5), gitignore(5))
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby

from xetway.errors import RequestError

_MAX_RULES = 1_000
_MAX_PATTERN_CHARACTERS = 200
# Measured as at most 6 ns each, so that no request keeps a thread for longer than two seconds.
_MAX_STEPS = 300_000_000
_STEPS_PER_TRY = 50
_STEPS_TO_COMPILE = 2_000
_SPECIAL = re.compile(r"[*?\[\]\\]")
_TOKEN = re.compile(
    r"\\(?P<escaped>.)|\[(?P<negated>[!^]?)(?P<set>\]?[^]]+|\])\]|(?P<star>\*+)|(?P<any>\?)|(?P<plain>.)", re.DOTALL
)


class Steps:
    """What the matching for one request may cost, all patterns and paths together."""

    def __init__(self, limit: int = _MAX_STEPS) -> None:
        self._left = limit

    def take(self, count: int) -> None:
        """Count steps before they are made.

        Raises:
            RequestError: `too_many_rules` if there are too many.
        """
        self._left -= count
        if self._left < 0:
            raise RequestError(
                ".gitattributes or .gitignore has too many rules for so many files; ask for fewer files at once",
                code="too_many_rules",
            )


class Pattern:
    """A pattern: without a slash it is for names, with one for whole paths from the root."""

    __slots__ = ("_expression", "_name_only", "_prefix", "_suffix", "_text")

    def __init__(self, pattern: str) -> None:
        self._name_only = "/" not in pattern
        self._text = pattern.strip("/")
        self._expression: re.Pattern[str] | None = None
        # What every match begins and ends with: most paths need no more than that to be told apart.
        plain = _SPECIAL.split(self._text)
        self._prefix = plain[0]
        self._suffix = plain[-1].rpartition("/")[2]

    def matches(self, path: str, steps: Steps) -> bool:
        """Whether a path matches; time grows with the product of the lengths at most."""
        steps.take(_STEPS_PER_TRY)
        text = path.rpartition("/")[2] if self._name_only else path
        if not (text.startswith(self._prefix) and text.endswith(self._suffix)):
            return False
        if self._prefix == self._text:
            return text == self._text
        if self._expression is None:
            steps.take(len(self._text) * _STEPS_TO_COMPILE)
            self._expression = _compiled(self._text)
        steps.take(len(self._text) * len(text))
        return self._expression.fullmatch(text) is not None


@lru_cache(1_024)
def _compiled(pattern: str) -> re.Pattern[str]:
    """Translate a pattern into an expression that never goes back over what it has matched.

    What stands between two stars has a fixed length, in characters or in parts of the path, so the first place where
    it fits is as good as any later one: each is an atomic group (``(?>...)``), as in fnmatch.
    """
    parts = ["**" if len(part) > 1 and not part.strip("*") else part for part in pattern.split("/")]
    runs = [list(group) for stars, group in groupby(parts, "**".__eq__) if not stars]
    if "**" not in parts:
        return re.compile("/".join(map(_part, parts)))
    first = runs.pop(0) if parts[0] != "**" else []
    last = runs.pop() if parts[-1] != "**" else []
    middle = [f"(?>(?:[^/]++/)*?{_folders(run)})" for run in runs]
    end = "(?:[^/]++/)*" + "/".join(map(_part, last)) if last else ".+"
    return re.compile("".join((_folders(first), *middle, end)), re.DOTALL)


def _folders(parts: list[str]) -> str:
    return "".join(f"{_part(part)}/" for part in parts)


def _part(part: str) -> str:
    """Translate the pattern of one part of a path."""
    pieces = [""]
    for token in _TOKEN.finditer(part):
        if token["star"]:
            pieces.append("")
        elif token["set"]:
            pieces[-1] += _set(token["set"], negated=bool(token["negated"]))
        else:
            pieces[-1] += "[^/]" if token["any"] else re.escape(token["escaped"] or token["plain"])
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    return first + "".join(f"(?>[^/]*?{piece})" for piece in middle) + f"[^/]*{last}"


def _set(characters: str, *, negated: bool) -> str:
    """Translate what stands between brackets. A range that ends before it begins is its first character, as in git."""
    items = ""
    for low, high in re.findall(r"(?s)(.)(?:-(.))?", characters):
        items += f"{re.escape(low)}-{re.escape(max(low, high))}"
    return f"(?!/)[{'^' if negated else ''}{items}]"


class LfsRules:
    """The filter rules of a .gitattributes file; the last one that matches a path decides."""

    def __init__(self, text: str, steps: Steps) -> None:
        self._steps = steps
        self._rules: list[tuple[Pattern, bool]] = []
        for line in text.splitlines()[:_MAX_RULES]:
            pattern, *attributes = line.split()[:20] or [""]
            if not pattern or pattern.startswith(("#", "[", '"')) or len(pattern) > _MAX_PATTERN_CHARACTERS:
                continue
            for attribute in attributes:
                if attribute.lstrip("-!").partition("=")[0] == "filter":
                    self._rules.append((Pattern(pattern), attribute == "filter=lfs"))

    def matches(self, path: str) -> bool:
        """Whether the file at a path is kept as LFS; raises as `Steps.take`."""
        for pattern, value in reversed(self._rules):
            if pattern.matches(path, self._steps):
                return value
        return False


class IgnoreRules:
    """The rules of a .gitignore file: the last one that matches decides, and a folder decides for what is in it."""

    def __init__(self, text: str, steps: Steps) -> None:
        self._steps = steps
        self._rules: list[tuple[Pattern, bool, bool]] = []
        self._folders: dict[str, bool] = {}
        for line in text.splitlines()[:_MAX_RULES]:
            stripped = line.rstrip()
            pattern = stripped.removeprefix("!")
            if pattern and not stripped.startswith("#") and len(pattern) <= _MAX_PATTERN_CHARACTERS:
                folders_only = pattern.endswith("/")
                self._rules.append((Pattern(pattern.rstrip("/")), folders_only, pattern == stripped))

    def matches(self, path: str) -> bool:
        """Whether a file at a path is ignored; raises as `Steps.take`."""
        if not self._rules:
            return False
        return any(self._ignores_folder(folder) for folder in _folders_of(path)) or self._decide(path, is_folder=False)

    def _ignores_folder(self, folder: str) -> bool:
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = self._decide(folder, is_folder=True)
        return known

    def _decide(self, path: str, *, is_folder: bool) -> bool:
        for pattern, folders_only, value in reversed(self._rules):
            if (is_folder or not folders_only) and pattern.matches(path, self._steps):
                return value
        return False


def _folders_of(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)
