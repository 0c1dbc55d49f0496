"""Registration of a posted shard: nothing it says is believed before it was checked against the store.

Checked, in this order: the bytes parse; every xorb it describes is stored here with exactly those
chunks and lengths; every term names stored chunks with the right length and verification hash; the
chunks of all terms give the file hash; the content gives the SHA-256 claimed. Only then is anything
recorded, all of it in one transaction. (draft-denis-xet, sections "Shard Format" and "Upload Protocol")
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import IO, Any

import msgspec

from xetway._native import Hash, parse_shard
from xetway.cas.store import EMPTY_SHA256, TERM_BYTES, ContentStore, StoredFile, sha256_mismatch, term_xorbs
from xetway.errors import FormatError

MAX_SHARD_BYTES = 72 * 1024 * 1024
# A client's terms are half a MiB on average; this many more, and answers to readers get too large.
_FREE_TERMS = 4_096
_BYTES_PER_TERM = 32 * 1024
_REASONS = {
    "unknown_xorb": "names a xorb that is not stored here",
    "chunk_range": "names chunks that its xorb does not have",
    "length_mismatch": "has a term of another length than its chunks",
    "verification_count": "has more or fewer verification hashes than terms",
    "verification_mismatch": "has a term with a wrong verification hash",
    "file_hash_mismatch": "is made of chunks that give another file hash",
}
Run = Callable[..., Awaitable[Any]]


class Progress(msgspec.Struct):
    """How far the validation of one shard is: bytes of content hashed, of how many."""

    verified: int = 0
    total: int = 0


class ShardChecks:
    """What all running checks share, so that none can keep the others from going on.

    Shards are parsed `at_once` at most, which bounds their memory. Content is hashed in small steps,
    and the steps of all checks take turns: a shard that names petabytes delays the others, no more.
    """

    def __init__(self, store: ContentStore, run: Run, at_once: int = 2) -> None:
        self.store = store
        self.run = run
        self.parsing = asyncio.Semaphore(at_once)
        self.hashing = asyncio.Semaphore(at_once)


class ShardCheck:
    """One posted shard on its way to being recorded for one repository."""

    def __init__(self, shared: ShardChecks, repo_id: int) -> None:
        self._shared = shared
        self._store = shared.store
        self._run = shared.run
        self._repo_id = repo_id
        self.progress = Progress()

    async def register(self, body: IO[bytes]) -> int:
        """Check the shard in `body` and record its files; returns how many were new to the repository.

        Closes `body`. Cancelled, it stops after the step it is in.

        Raises:
            FormatError: what is wrong with it; nothing was changed.
        """
        with body:
            async with self._shared.parsing:
                claims: list[StoredFile] = await self._run(self._check_structure, body)
        self.progress.total = sum(file.size for file in claims)
        files = [await self._prove(file) for file in claims]
        added: int = await self._run(self._store.add_files, self._repo_id, files)
        return added

    def _check_structure(self, body: IO[bytes]) -> list[StoredFile]:
        body.seek(0)
        files, xorbs, _ = parse_shard(body.read())
        self._check_sound(itertools.chain((bytes(xorb[0]) for xorb in xorbs), *(term_xorbs(file[1]) for file in files)))
        for xorb in xorbs:
            self._check_xorb(*xorb[:5])
        claims: dict[Hash, StoredFile] = {}
        for file, terms, verification, sha256, _ in files:
            if verification is None and terms:
                raise FormatError("the shard has no verification hashes", code="verification_missing", format="shard")
            size = self._check_file(file, terms, verification)
            if len(terms) // TERM_BYTES > _FREE_TERMS + size // _BYTES_PER_TERM:
                raise FormatError(f"file {file} is in too many pieces", code="too_many_terms", format="shard")
            claimed = sha256 if sha256 is not None and any(sha256) and size else None
            claims.setdefault(file, StoredFile(file, size, claimed if size else EMPTY_SHA256, terms))
        return list(claims.values())

    def _check_sound(self, xorbs: Iterable[bytes]) -> None:
        damaged = self._store.damaged(dict.fromkeys(xorbs))
        if damaged is not None:
            raise FormatError(
                f"xorb {damaged} is damaged on this server and has to be uploaded again; if your client thinks it is "
                "here, remove the client's xet cache (by default ~/.cache/huggingface/xet)",
                code="xorb_damaged",
                format="shard",
            )

    def _check_file(self, file: Hash, terms: bytes, verification: bytes | None) -> int:
        try:
            return self._store.xorbs.check_file(file, terms, verification)
        except FormatError as error:
            # The native message has the true hash or length. To tell it would hand out what only someone who
            # has the content can know, and this check is there to find out.
            reason = _REASONS.get(error.code, "is not what the stored xorbs say")
            raise FormatError(f"file {file} {reason}", code=error.code, format="shard") from None

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
            done = 0
            while done < file.size:
                async with self._shared.hashing:
                    done = await self._run(reader.step)
                self.progress.verified = before + done
            digest = reader.digest()
        else:
            digest = known.sha256
        if digest != file.sha256:
            raise sha256_mismatch(file.sha256, digest)
        return file


def neighbours(store: ContentStore, repo_id: int, chunk: Hash, limit: int = 64) -> list[Hash]:
    """The xorb that holds `chunk`, followed by those that come after it in the files that use it.

    A client that finds one chunk is likely to have the following ones too; it asks seldom (about once
    in 16 MiB), so the answer looks ahead.

    Only through files of this repository and of public ones: the answer names xorbs, and the name of a
    xorb with a single chunk is that chunk's hash, which is what proves that someone has the content.
    """
    with store.db.read() as tx:
        row = tx.execute("SELECT xorb FROM dedup_chunks WHERE chunk = ?", (bytes(chunk),)).fetchone()
        if row is None:
            return []
        users = tx.execute(
            "SELECT f.terms FROM file_xorbs u JOIN files f ON f.hash = u.file WHERE u.xorb = ? AND EXISTS ("
            "  SELECT 1 FROM repo_files l JOIN repos r ON r.id = l.repo_id"
            "  WHERE l.file = f.hash AND (r.id = ? OR r.private = 0)"
            ") ORDER BY f.size DESC, f.hash LIMIT 4",
            (row[0], repo_id),
        )
        found: dict[bytes, None] = {}
        for (terms,) in users:
            order = term_xorbs(terms)
            found.update(dict.fromkeys(order[order.index(row[0]) :]))
        sound = [raw for raw in itertools.islice(found, limit) if store.damaged((raw,)) is None]
    return [Hash.from_bytes(raw) for raw in sound] if row[0] in sound else []
