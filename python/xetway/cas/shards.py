"""Registration of a posted shard: nothing it says is believed before it was checked against the store.

Checked, in this order: the bytes parse; every xorb it describes is stored here with exactly those
chunks and lengths; every term names stored chunks with the right length and verification hash; the
chunks of all terms give the file hash; the content gives the SHA-256 claimed. Only then is anything
recorded, all of it in one transaction. (draft-denis-xet, sections "Shard Format" and "Upload Protocol")
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from xetway._native import Hash, parse_shard
from xetway.cas.store import EMPTY_SHA256, ContentStore, StoredFile, sha256_mismatch, term_xorbs
from xetway.errors import FormatError

MAX_SHARD_BYTES = 72 * 1024 * 1024
Run = Callable[..., Awaitable[Any]]


class Progress(msgspec.Struct):
    """How far the validation of one shard is: bytes of content hashed, of how many."""

    verified: int = 0
    total: int = 0


class ShardCheck:
    """One posted shard on its way to being recorded for one repository."""

    def __init__(self, store: ContentStore, repo_id: int, run: Run) -> None:
        self._store = store
        self._repo_id = repo_id
        self._run = run
        self.progress = Progress()

    async def register(self, body: bytes) -> int:
        """Check the shard and record its files; returns how many were new to the repository.

        Raises:
            FormatError: what is wrong with it; nothing was changed.
        """
        claims = await self._run(self._check_structure, body)
        self.progress.total = sum(file.size for file in claims)
        files = [await self._prove(file) for file in claims]
        added: int = await self._run(self._store.add_files, self._repo_id, files)
        return added

    def _check_structure(self, body: bytes) -> list[StoredFile]:
        files, xorbs, _ = parse_shard(body)
        for xorb in xorbs:
            self._check_xorb(*xorb[:5])
        claims: dict[Hash, StoredFile] = {}
        for file, terms, verification, sha256, _ in files:
            if verification is None and terms:
                raise FormatError("the shard has no verification hashes", code="verification_missing", format="shard")
            size = self._store.xorbs.check_file(file, terms, verification)
            claimed = sha256 if sha256 is not None and any(sha256) and size else None
            claims.setdefault(file, StoredFile(file, size, claimed if size else EMPTY_SHA256, terms))
        return list(claims.values())

    def _check_xorb(self, xorb: Hash, raw_bytes: int, _on_disk: int, hashes: bytes, lengths: bytes) -> None:
        stored_hashes, stored_lengths, _ = self._store.xorbs.chunks(xorb)
        if hashes != stored_hashes:
            raise FormatError(
                f"xorb {xorb} holds other chunks than the shard says", code="chunk_mismatch", format="shard"
            )
        total = sum(memoryview(stored_lengths).cast("I"))
        if lengths != stored_lengths or raw_bytes != total:
            raise FormatError(
                f"xorb {xorb} has other lengths than the shard says", code="length_mismatch", format="shard"
            )

    async def _prove(self, file: StoredFile) -> StoredFile:
        """Compute the SHA-256 that the client claims, unless it is one we computed before."""
        known = await self._run(self._store.file, file.hash)
        if file.sha256 is None or file.size == 0:
            return file
        if known is None or known.sha256 is None:
            reader = self._store.xorbs.sha256_file(file.terms)
            before = self.progress.verified
            while (done := await self._run(reader.step)) < file.size:
                self.progress.verified = before + done
            digest = reader.digest()
        else:
            digest = known.sha256
        if digest != file.sha256:
            raise sha256_mismatch(file.sha256, digest)
        return file


def neighbours(store: ContentStore, chunk: Hash, limit: int = 64) -> list[Hash]:
    """The xorb that holds `chunk`, followed by those that come after it in the files that use it.

    A client that finds one chunk is likely to have the following ones too; it asks seldom (about once
    in 16 MiB), so the answer looks ahead.
    """
    with store.db.read() as tx:
        row = tx.execute("SELECT xorb FROM dedup_chunks WHERE chunk = ?", (bytes(chunk),)).fetchone()
        if row is None:
            return []
        found: dict[bytes, None] = {row[0]: None}
        users = tx.execute(
            "SELECT f.terms FROM file_xorbs u JOIN files f ON f.hash = u.file WHERE u.xorb = ? "
            "ORDER BY f.size DESC, f.hash LIMIT 4",
            (row[0],),
        )
        for (terms,) in users:
            order = term_xorbs(terms)
            found.update(dict.fromkeys(order[order.index(row[0]) :]))
    return [Hash.from_bytes(raw) for raw in itertools.islice(found, limit)]
