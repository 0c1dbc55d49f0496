"""The body of a commit request: NDJSON lines, read as they arrive, into a list of changes.

Small contents wait in a temporary file, larger ones go straight into the content store, so a commit of many
files costs little memory. Nothing becomes part of a repository here.

Lines are ``{"key": ..., "value": {...}}``: ``header`` first, then any of ``file`` (content inline), ``lfsFile`` (by
SHA-256; without a size it is a copy), ``deletedFile`` and ``deletedFolder``.
"""

from __future__ import annotations

import hashlib
import tempfile
from types import TracebackType
from typing import Self, TypeAlias

import msgspec

from xetway.cas.store import ContentStore, StoredFile
from xetway.errors import RequestError
from xetway.hub.git import object_id, parse_pointer
from xetway.hub.names import check_path, is_sha256
from xetway.hub.objects import MAX_INLINE_BYTES

MAX_BODY_BYTES = 1024 * 1024 * 1024
MAX_REGULAR_BYTES = 10 * 1024 * 1024
MAX_LINE_BYTES = MAX_REGULAR_BYTES * 4 // 3 + 64 * 1024
MAX_CHANGES = 100_000
MAX_TITLE_CHARACTERS = 1_000
MAX_MESSAGE_CHARACTERS = 65_536
_SPOOL_IN_MEMORY_BYTES = 4 * 1024 * 1024


class PutContent(msgspec.Struct, frozen=True):
    """Put small content at a path; it is at `offset` of the payload's temporary file."""

    path: str
    offset: int
    size: int


class PutLarge(msgspec.Struct, frozen=True):
    """Put content that was too large for the database and is in the content store already."""

    path: str
    oid: bytes
    sha256: bytes
    file: StoredFile


class PutLfs(msgspec.Struct, frozen=True):
    """Put an LFS file that the repository has got; `size` None means whatever it is."""

    path: str
    sha256: bytes
    size: int | None


class Remove(msgspec.Struct, frozen=True):
    """Remove a file or a folder."""

    path: str
    folder: bool


Change: TypeAlias = PutContent | PutLarge | PutLfs | Remove


class _Line(msgspec.Struct):
    key: str
    value: msgspec.Raw


class _Header(msgspec.Struct, rename="camel"):
    summary: str
    description: str | None = None
    parent_commit: str | None = None


class _File(msgspec.Struct):
    path: str
    content: msgspec.Raw
    encoding: str = "utf-8"


class _LfsFile(msgspec.Struct):
    path: str
    oid: str
    algo: str = "sha256"
    size: int | None = None


class _Deleted(msgspec.Struct):
    path: str


class Payload:
    """One commit body on its way in. Blocking; feed it from a worker thread, in order. A context manager."""

    def __init__(self, store: ContentStore, repo_id: int) -> None:
        self._store = store
        self._repo_id = repo_id
        self._spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_IN_MEMORY_BYTES)  # noqa: SIM115  (closed in __exit__)
        self._spooled = 0
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._lines = 0
        self._header: _Header | None = None
        self.changes: list[Change] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._spool.close()

    @property
    def header(self) -> _Header:
        """The header line; there is one once `finish` returned."""
        assert self._header is not None
        return self._header

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            RequestError: what is wrong with it.
        """
        *whole, rest = data.split(b"\n")
        for line in whole:
            self._take_line(b"".join((*self._partial, line)))
            self._partial, self._partial_bytes = [], 0
        if rest:
            self._partial.append(rest)
            self._partial_bytes += len(rest)
            if self._partial_bytes > MAX_LINE_BYTES:
                raise _too_large()

    def finish(self) -> None:
        """Take the end of the body; raises as `feed`."""
        if self._partial:
            self._take_line(b"".join(self._partial))
        if self._header is None:
            raise _malformed("the body has no header line")

    def content(self, change: PutContent) -> bytes:
        """Read small content back."""
        self._spool.seek(change.offset)
        return self._spool.read(change.size)

    def _take_line(self, line: bytes) -> None:
        self._lines += 1
        if not line.strip():
            return
        try:
            self._take(msgspec.json.decode(line, type=_Line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise _malformed(f"line {self._lines}: {error}") from None

    def _take(self, line: _Line) -> None:
        if line.key == "header":
            self._take_header(msgspec.json.decode(line.value, type=_Header))
            return
        if self._header is None:
            raise _malformed("the first line is not the header")
        if len(self.changes) >= MAX_CHANGES:
            raise RequestError(f"a commit has at most {MAX_CHANGES} changes", code="too_many_changes")
        if line.key == "file":
            self.changes.append(self._file(msgspec.json.decode(line.value, type=_File)))
        elif line.key == "lfsFile":
            self.changes.append(_lfs_file(msgspec.json.decode(line.value, type=_LfsFile)))
        elif line.key in {"deletedFile", "deletedFolder"}:
            path = msgspec.json.decode(line.value, type=_Deleted).path.removesuffix("/")
            self.changes.append(Remove(check_path(path), line.key == "deletedFolder"))
        else:
            raise _malformed(f"line {self._lines}: unknown key")

    def _take_header(self, header: _Header) -> None:
        if self._header is not None:
            raise _malformed("the body has two header lines")
        text = header.summary + (header.description or "")
        if not header.summary.strip() or "\0" in text:
            raise _malformed("the commit has no summary, or one with NUL")
        if len(header.summary) > MAX_TITLE_CHARACTERS or len(text) > MAX_MESSAGE_CHARACTERS:
            raise RequestError("the commit message is too long", code="message_too_long")
        self._header = header

    def _file(self, value: _File) -> Change:
        path = check_path(value.path)
        if value.encoding == "base64":
            data = msgspec.json.decode(value.content, type=bytes)
        elif value.encoding == "utf-8":
            data = msgspec.json.decode(value.content, type=str).encode()
        else:
            raise _malformed(f"line {self._lines}: the encoding is neither base64 nor utf-8")
        if len(data) > MAX_REGULAR_BYTES:
            raise _too_large()
        pointed = parse_pointer(data)
        if pointed is not None:
            # A pointer text is the LFS file: taken as text, it would open content by its digest alone.
            return PutLfs(path, *pointed)
        if len(data) > MAX_INLINE_BYTES:
            return PutLarge(path, object_id("blob", data), hashlib.sha256(data).digest(), self._ingest(data))
        offset = self._spooled
        self._spool.seek(offset)
        self._spooled += self._spool.write(data)
        return PutContent(path, offset, len(data))

    def _ingest(self, data: bytes) -> StoredFile:
        writer = self._store.writer()
        try:
            writer.write(data)
            return writer.finish(self._repo_id)
        finally:
            writer.abort()


def _lfs_file(value: _LfsFile) -> PutLfs:
    path = check_path(value.path)
    oid = value.oid.lower()
    if value.algo != "sha256" or not is_sha256(oid):
        raise RequestError(f"the LFS object of '{path}' is not named by a SHA-256", code="bad_lfs_oid")
    return PutLfs(path, bytes.fromhex(oid), value.size)


def _malformed(reason: str) -> RequestError:
    return RequestError(f"the commit is malformed: {reason}", code="bad_commit")


def _too_large() -> RequestError:
    return RequestError(
        f"a regular file has at most {MAX_REGULAR_BYTES} bytes; upload it as LFS",
        code="regular_file_too_large",
        status=413,
    )
