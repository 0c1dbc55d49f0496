"""What a caller names: repositories, revisions, paths, patterns.

A path comes from a server that need not be honest, and becomes a path on this machine: it is checked here, and where
it is put, the folders on the way are checked too (`place`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote

import msgspec

from xetway.errors import ConfigError, FormatError
from xetway.hub.names import PLURALS, PREFIXES, REPO_TYPES, RepoType

_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_BAD_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")
_BAD_ON_WINDOWS = re.compile(r'[<>:"|?*]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:[ .:].*)?", re.IGNORECASE)
_BAD_IN_REVISION = re.compile(r"[\x00-\x20\x7f\\:?*\[~^]|\.\.|//|^/|/$")
_MAX_PATH_CHARACTERS = 4_096


class RepoName(msgspec.Struct, frozen=True):
    """A repository of a Hub: `name` is `namespace/name`, or `name` alone for the few that have no namespace."""

    kind: RepoType
    name: str

    @property
    def api(self) -> str:
        """The path its API begins with."""
        return f"/api/{PLURALS[self.kind]}/{self.name}"

    @property
    def page(self) -> str:
        """The path its files and pages begin with."""
        return f"/{PREFIXES[self.kind]}{self.name}"

    @property
    def folder(self) -> str:
        """The name of its folder in a Hugging Face cache."""
        return "--".join((PLURALS[self.kind], *self.name.split("/")))

    def __str__(self) -> str:
        return f"{PREFIXES[self.kind]}{self.name}"


def parse_repo(text: str, kind: str | None = None) -> RepoName:
    """Read `org/model`, `datasets/org/name`, `spaces/org/name`; `kind` says what a name without prefix is.

    Raises:
        ConfigError: It is none, or says another type than `kind`.
    """
    parts = text.strip("/").split("/")
    named = next((known for known in REPO_TYPES if PLURALS[known] == parts[0]), None) if len(parts) > 1 else None
    if named is not None and (len(parts) == 3 or kind is None):
        if kind not in {None, named}:
            raise ConfigError(f"{text!r} is of the type {named}, and --repo-type says {kind}", code="bad_repo_name")
        parts = parts[1:]
    chosen = next((known for known in REPO_TYPES if known == (kind or named or "model")), None)
    if chosen is None:
        raise ConfigError(
            f"the repository type is {kind!r}; it must be one of {', '.join(REPO_TYPES)}", code="bad_type"
        )
    if not 1 <= len(parts) <= 2 or not all(
        _PART.fullmatch(part) and "--" not in part and ".." not in part for part in parts
    ):
        raise ConfigError(
            f"{text!r} does not name a repository; give namespace/name, datasets/namespace/name or "
            "spaces/namespace/name",
            code="bad_repo_name",
        )
    return RepoName(chosen, "/".join(parts))


def check_revision(revision: str) -> str:
    """Check a branch, tag, commit or `refs/...`; it becomes part of an address and of a file name.

    Raises:
        ConfigError: `bad_revision`.
    """
    if not revision or len(revision) > 250 or _BAD_IN_REVISION.search(revision) or revision in {".", "@"}:
        raise ConfigError(
            f"the revision is {revision[:80]!r}; it must be a branch, a tag or a commit", code="bad_revision"
        )
    return revision


def segment(text: str) -> str:
    """Quote text as one segment of an address: slashes too."""
    return quote(text, safe="")


def check_path(path: str, *, windows: bool) -> str:
    """Check that the path of a file in a repository can be a path below a folder; returns it.

    Args:
        path: As the server gave it, parts divided by slashes.
        windows: Whether the folder is on Windows, where more names mean something else.

    Raises:
        FormatError: `unsafe_path`.
    """
    reason = _fault(path, windows=windows)
    if reason is not None:
        shown = path[:80].encode("unicode_escape").decode("ascii")
        raise FormatError(
            f"the repository has a file named '{shown}', which is refused: {reason}; leave it out with --exclude, or "
            "ask the repository's owner to rename it",
            code="unsafe_path",
            format="repository path",
        )
    return path


def _fault(path: str, *, windows: bool) -> str | None:
    parts = path.split("/")
    # Nothing that is long is looked at any closer.
    if len(path) > _MAX_PATH_CHARACTERS:
        return "it is too long"
    faults = [
        (any(part in {"", ".", ".."} for part in parts), "it has an empty, '.' or '..' part, or begins with a slash"),
        (_BAD_IN_PATH.search(path), "it has a backslash, a control character or half a surrogate pair"),
        (_DRIVE.match(path), "it begins with a drive letter"),
        # Also as file systems see it that fold case or drop dots: in a checkout, git runs what is there.
        (any(part.rstrip(". ").lower() in {".git", "git~1"} for part in parts), "no part of it may be .git"),
    ]
    if windows:
        faults += [
            (_BAD_ON_WINDOWS.search(path), "it has a character that Windows does not allow"),
            (any(_DEVICE.fullmatch(part) for part in parts), "Windows takes a part of it for a device"),
            (any(part.endswith((" ", ".")) for part in parts), "Windows drops the end of a part of it"),
        ]
    return next((reason for found, reason in faults if found), None)


def place(root: Path, path: str, *, windows: bool) -> Path:
    """Where the file of this path belongs below `root`; makes the folders on the way. Blocking.

    Raises:
        FormatError: `unsafe_path`: the path, or a symbolic link on the way, leads out of `root`.
    """
    target = root.joinpath(*check_path(path, windows=windows).split("/"))
    root.mkdir(parents=True, exist_ok=True)
    top, folder = root.resolve(), root
    for part in path.split("/")[:-1]:
        folder /= part
        if folder.is_symlink() and not folder.resolve().is_relative_to(top):
            raise FormatError(
                f"{folder} is a symbolic link that leads out of {root}; nothing is written through it",
                code="unsafe_path",
                format="repository path",
            )
        folder.mkdir(exist_ok=True)
    return target


def select(paths: Iterable[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> list[str]:
    """Choose paths as the Hub's clients do: `*` also matches slashes, and `folder/` is all below it.

    Example:
        >>> from xetway.transfer.names import select
        >>> select(["a.json", "b/c.bin", "b/d.json"], include=["*.json"], exclude=["b/"])
        ['a.json']
    """
    wanted, unwanted = expand(include), expand(exclude)
    return [
        path
        for path in paths
        if (not wanted or any(fnmatchcase(path, pattern) for pattern in wanted))
        and not any(fnmatchcase(path, pattern) for pattern in unwanted)
    ]


def expand(patterns: Sequence[str]) -> list[str]:
    """The same patterns, with `folder/` as `folder/*`."""
    return [pattern + "*" if pattern.endswith("/") else pattern for pattern in patterns]
