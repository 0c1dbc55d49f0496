r"""Git's object formats: ids, trees, commits, and the pointer text that stands for an LFS file.

Bytes and values only; nothing is stored here. An object's id is the SHA-1 of ``<kind> <length>\0<data>``
(git-scm.com, "Git Internals - Git Objects"; the pointer is git-lfs ``docs/spec.md``).

A tree is a run of records, sorted by name as if folders ended in a slash:

====== ======== =====================================================
offset size     meaning
====== ======== =====================================================
0      5 or 6   mode, ASCII octal: 40000 folder, 100644 file
5 / 6  1        space
6 / 7  n        name, UTF-8
+n     1        NUL
+1     20       object id, raw
====== ======== =====================================================
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from xetway.errors import FormatError

Kind = Literal["blob", "tree", "commit"]

FOLDER_MODE = "40000"
FILE_MODE = "100644"
OID_BYTES = 20
EMPTY_TREE = bytes.fromhex("4b825dc642cb6eb9a060e54bf8d69288fbee4904")

_RECORD = re.compile(rb"([0-7]{5,6}) ([^\0]+)\0(.{20})", re.DOTALL)
_POINTER = re.compile(
    rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,18})\n"
)


class TreeEntry(msgspec.Struct, frozen=True):
    """One record of a tree."""

    name: str
    mode: str
    oid: bytes

    @property
    def is_folder(self) -> bool:
        """Whether the entry is another tree."""
        return self.mode == FOLDER_MODE


def object_id(kind: Kind, data: bytes) -> bytes:
    """Return git's id (20 raw bytes) of an object."""
    digest = object_hash(kind, len(data))
    digest.update(data)
    return digest.digest()


def object_hash(kind: Kind, size: int) -> hashlib._Hash:
    """Start the hash of an object of `size` bytes that is fed piece by piece."""
    return hashlib.sha1(f"{kind} {size}\0".encode("ascii"), usedforsecurity=False)


def sort_key(entry: TreeEntry) -> bytes:
    """Where git sorts an entry: by the bytes of its name, folders as if they ended in a slash."""
    name = entry.name.encode("utf-8")
    return name + b"/" if entry.is_folder else name


def encode_tree(entries: Iterable[TreeEntry]) -> bytes:
    """Return the bytes of a tree; sorts the entries."""
    return b"".join(f"{entry.mode} {entry.name}\0".encode() + entry.oid for entry in sorted(entries, key=sort_key))


def scan_tree(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Cut a tree into its records: mode, name and id as they stand there.

    Raises:
        FormatError: `bad_tree`.
    """
    records: list[tuple[bytes, bytes, bytes]] = _RECORD.findall(data)
    # The records found must follow each other without a gap: mode, space, name, NUL, id.
    if sum(len(mode) + len(name) for mode, name, _ in records) + len(records) * (2 + OID_BYTES) != len(data):
        raise FormatError("a tree has bytes that are no record", code="bad_tree", format="git tree")
    return records


def parse_tree(data: bytes) -> list[TreeEntry]:
    """Read a tree; raises as `scan_tree`."""
    return [TreeEntry(name.decode(), mode.decode("ascii"), oid) for mode, name, oid in scan_tree(data)]


def encode_commit(tree: bytes, parent: bytes | None, author: str, date: int, message: str) -> bytes:
    """Return the bytes of a commit by one author, with at most one parent; `date` in unix seconds, UTC."""
    person = f"{author} <{author}@users.noreply> {date} +0000"
    lines = [f"tree {tree.hex()}"]
    if parent is not None:
        lines.append(f"parent {parent.hex()}")
    lines += [f"author {person}", f"committer {person}", "", message.rstrip("\n"), ""]
    return "\n".join(lines).encode()


def pointer(sha256: bytes, size: int) -> bytes:
    """Return the pointer text that git keeps in place of an LFS file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256.hex()}\nsize {size}\n".encode("ascii")


def parse_pointer(data: bytes) -> tuple[bytes, int] | None:
    """Read a pointer text in its canonical form: SHA-256 and size of the content, or None if it is none."""
    match = _POINTER.fullmatch(data) if len(data) < 1024 else None
    return (bytes.fromhex(match[1].decode()), int(match[2])) if match else None
