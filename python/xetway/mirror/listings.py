"""Listings of the upstream, `tree` and `paths-info`: what they say of files, and what is taken out of them.

An upstream that shows a gated repository's files to someone who may not read them puts stars in place of xet hashes.
Clients would ask for a file of that name, so such hashes are removed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import msgspec

from xetway._native import Hash
from xetway.hub.names import is_oid, is_sha256
from xetway.mirror.file_table import FileInfo

About: TypeAlias = Literal["description", "listing", "nothing"]

_STARS = b'"****'
# What a database holds as a number.
_MAX_SIZE = (1 << 63) - 1


class _Lfs(msgspec.Struct):
    oid: str = ""
    size: int = 0


class _Entry(msgspec.Struct, rename="camel"):
    type: str = ""
    path: str = ""
    size: int = 0
    oid: str = ""
    lfs: _Lfs | None = None
    xet_hash: str | None = None


_decoder = msgspec.json.Decoder(list[_Entry])


def is_sound(about: About, body: bytes) -> bool:
    """Whether a body can be the answer at all: what proxies and login pages say with a 200 is not kept as a Hub's."""
    expected: Any = dict[str, msgspec.Raw] if about == "description" else msgspec.Raw
    if about == "listing":
        expected = list[dict[str, msgspec.Raw]]
    try:
        body.decode()
        msgspec.json.decode(body, type=expected)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def without_stars(body: bytes) -> bytes:
    """Remove the xet hashes that hide one; other bodies are returned as they are."""
    if _STARS not in body:
        return body
    try:
        entries: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return body
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("xetHash"), str) and not entry["xetHash"].strip("*"):
            del entry["xetHash"]
    return msgspec.json.encode(entries)


def files_of(body: bytes, commit: str, checked_at: int, *, is_public: bool) -> Iterator[FileInfo]:
    """The files that a listing names and whose content those it was given to may have."""
    try:
        entries = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return
    for entry in entries:
        size = entry.size if entry.lfs is None else entry.lfs.size
        if entry.type != "file" or not entry.path or not 0 <= size <= _MAX_SIZE:
            continue
        xet = xet_of(entry.xet_hash)
        if not is_public and xet is None:
            continue
        etag = entry.oid if entry.lfs is None else entry.lfs.oid
        if is_sha256(etag) if entry.lfs is not None else is_oid(etag):
            yield FileInfo(commit, entry.path, size, etag, entry.lfs is not None, xet, checked_at)


def xet_of(text: str | None) -> Hash | None:
    """Read a xet hash as the upstream gives it; None for none, stars, or something else."""
    if text is None or not is_sha256(text.strip().lower()):
        return None
    return Hash(text.strip())
