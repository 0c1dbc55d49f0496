"""What repositories, branches and files may be called.

Everything a client names passes through here before it is stored, so that no stored name can
leave a folder, hide a `.git`, or mean two things on two systems.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, TypeAlias, get_args

from xetway.errors import RequestError

RepoType: TypeAlias = Literal["model", "dataset", "space", "kernel"]

REPO_TYPES: tuple[RepoType, ...] = get_args(RepoType)
PLURALS: dict[RepoType, str] = {kind: f"{kind}s" for kind in REPO_TYPES}
# How the addresses of files and pages begin; models have no prefix.
PREFIXES: dict[RepoType, str] = {kind: "" if kind == "model" else f"{kind}s/" for kind in REPO_TYPES}

MAX_PATH_BYTES = 1_000
# Each part may become a folder of its own, and Windows and macOS cannot check much deeper paths out.
MAX_PATH_PARTS = 64
MAX_NAME_BYTES = 255
MAX_REF_BYTES = 250

_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?")
_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(?:/|$)|(?:^|/)\.|[/.]$|^[/-]")
_BAD_IN_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\\]")
_HEX_OID = re.compile(r"[0-9a-f]{40}")
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHORT_OID = re.compile(r"[0-9a-f]{7,40}")
# First or second parts of addresses that mean something else.
_RESERVED_NAMESPACES = frozenset(
    (
        *(
            "api",
            "models",
            "datasets",
            "spaces",
            "kernels",
            "buckets",
            "docs",
            "dashboard",
            "static",
            "health",
            "metrics",
        ),
        *("download", "download-hash", "lfs-objects", "xorb-data", "mirror-data"),
        *("v1", "v2", "xorbs", "shards", "chunks", "reconstructions", "xorb-grants"),
    )
)
_RESERVED_NAMES = frozenset(("resolve", "raw", "revision", "tree", "refs"))


def check_repo_name(namespace: str, name: str) -> None:
    """Check the two parts of a repository id.

    Raises:
        RequestError: `bad_repo_name`.
    """
    for part in (namespace, name):
        if not _PART.fullmatch(part) or "--" in part or ".." in part or part.lower().endswith(".git"):
            raise RequestError(
                "a repository is named namespace/name; each part has 1 to 96 letters, digits, '_', '-' or '.', "
                "does not begin or end with '-' or '.', has no '--' or '..' and does not end with '.git'",
                code="bad_repo_name",
            )
    if is_reserved(namespace) or name.lower() in _RESERVED_NAMES:
        raise RequestError("this repository name is reserved", code="bad_repo_name")


def is_reserved(namespace: str) -> bool:
    """Whether addresses that begin with `namespace` are not those of repositories."""
    return namespace.lower() in _RESERVED_NAMESPACES


def is_name(text: str) -> bool:
    """Whether `text` can be a user name or namespace."""
    return bool(_PART.fullmatch(text)) and "--" not in text and ".." not in text


def check_ref_name(name: str) -> str:
    """Check the name of a branch or tag, git's rules.

    Raises:
        RequestError: `bad_ref_name`.
    """
    too_long = len(name.encode()) > MAX_REF_BYTES
    if not name or too_long or _BAD_IN_REF.search(name) or name in {"HEAD", "@"} or is_oid(name):
        raise RequestError("this is not a name that git allows for a branch or tag", code="bad_ref_name")
    if name.startswith("refs/"):
        raise RequestError("give the name of the branch or tag without refs/", code="bad_ref_name")
    return name


def is_oid(text: str) -> bool:
    """Whether `text` is a full object id."""
    return bool(_HEX_OID.fullmatch(text))


def is_sha256(text: str) -> bool:
    """Whether `text` is a SHA-256, or a xet hash, in hex."""
    return bool(_HEX_SHA256.fullmatch(text))


def is_short_oid(text: str) -> bool:
    """Whether `text` can be the beginning of an object id: at least 7 hex digits."""
    return bool(_SHORT_OID.fullmatch(text))


def normalize_path(path: str) -> str:
    """Bring a path to the form that is stored: Unicode NFC, as git does for clients on macOS.

    A path far too long to be stored stays as it is: the time to compose grows with the square of a run of accents.
    """
    return path if path.isascii() or len(path) > 4 * MAX_PATH_BYTES else unicodedata.normalize("NFC", path)


def check_path(path: str) -> str:
    """Check the path of a file in a repository and return the form that is stored.

    Raises:
        RequestError: `bad_path`.
    """
    path = normalize_path(path)
    reason = _path_fault(path)
    if reason is not None:
        shown = path[:80].encode("unicode_escape").decode("ascii")
        raise RequestError(f"the path '{shown}' is refused: {reason}", code="bad_path")
    return path


def _path_fault(path: str) -> str | None:
    try:
        length = len(path.encode())
    except UnicodeEncodeError:
        return "it has half a surrogate pair"
    if length > MAX_PATH_BYTES:
        return f"it is longer than {MAX_PATH_BYTES} bytes"
    if _BAD_IN_PATH.search(path):
        return "it has a backslash or a control character"
    parts = path.split("/")
    if len(parts) > MAX_PATH_PARTS:
        return f"it has more than {MAX_PATH_PARTS} parts"
    return next((fault for part in parts if (fault := _part_fault(part))), None)


def _part_fault(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "it has an empty, '.' or '..' part"
    if len(part.encode()) > MAX_NAME_BYTES:
        return f"a part of it is longer than {MAX_NAME_BYTES} bytes"
    # As file systems that fold case, or drop dots and spaces at the end, would see it.
    return "no part of it may be .git" if part.rstrip(". ").lower() in {".git", "git~1"} else None
