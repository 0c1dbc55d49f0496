# ruff: noqa: PYI021 - the stub is where the documentation of compiled code lives
"""The compiled part of xetway: the codec, and the store of xorb files.

Hashes, chunks, xorbs and shards as plain values; `xetway` and `xetway.xet` wrap them in structs and
arrays, and most code should use those. Work is done with the interpreter lock released. `data`
arguments take any C-contiguous buffer (bytes, bytearray, memoryview, mmap, numpy arrays of any item
type), which is read in place and must not be written to during the call; others raise `BufferError`.

Rows are packed little-endian values: hashes of 32 bytes, `u32` or `u64` integers, terms of 48 bytes
as in a shard. `start` and `end` are half-open. Wrong input raises `xetway.errors.FormatError` or a
subclass; trouble with files raises the subclass of `OSError` that its number asks for.

What transfers content over the network is described in `_native_transfer.pyi`, what forwards requests in
`_native_forward.pyi`, what processes share in `_native_shared.pyi`.
"""

import os
from collections.abc import Sequence
from typing import ClassVar, final

from typing_extensions import Buffer

from xetway._native_forward import Answer, Forwarder, Upstream
from xetway._native_shared import SharedTable
from xetway._native_transfer import (
    ByteStream,
    Cache,
    Credentials,
    HttpClient,
    Mirror,
    Uploader,
    download_file,
    download_plain,
    open_download,
)

__all__ = [
    "Answer",
    "ByteReader",
    "ByteStream",
    "Cache",
    "Chunker",
    "Credentials",
    "FileIngest",
    "Forwarder",
    "Hash",
    "HttpClient",
    "Mirror",
    "Sha256Reader",
    "SharedTable",
    "Uploader",
    "Upstream",
    "XorbStore",
    "XorbWriter",
    "__version__",
    "build_xorb",
    "choose_scheme",
    "chunk_boundaries",
    "chunk_hash",
    "compress",
    "data_hash",
    "decompress",
    "download_file",
    "download_plain",
    "file_hash",
    "hash_chunks",
    "hash_file",
    "hash_files",
    "keyed_hash",
    "merkle_root",
    "open_download",
    "parse_shard",
    "parse_xorb",
    "plan",
    "seal",
    "serialise_shard",
    "unseal",
    "verification_hash",
]

__version__: str

# hash

@final
class Hash:
    """A 32-byte hash: immutable, hashable, ordered as its text form is ordered.

    The text form is not the plain hexadecimal of the bytes: they are read as four little-endian
    64-bit integers of 16 digits each. `str()` gives the text, `bytes()` the raw 32 bytes.

    Args:
        hex: The text form: exactly 64 hexadecimal digits, of either case.

    Raises:
        FormatError: `bad_hash_hex`.

    Example:
        >>> from xetway import Hash
        >>> raw = bytes(range(32))
        >>> str(Hash.from_bytes(raw))[:16]
        '0706050403020100'
        >>> bytes(Hash(str(Hash.from_bytes(raw)))) == raw
        True
    """

    ZERO: ClassVar[Hash]
    """32 zero bytes: the hash of the empty file."""

    def __new__(cls, hex: str) -> Hash: ...  # noqa: A002
    @classmethod
    def from_bytes(cls, raw: Buffer) -> Hash:
        """Wrap 32 raw bytes. Raises FormatError `bad_hash_length` for any other number of them."""

    @property
    def hex(self) -> str:
        """The text form, in lower case."""

    def __bytes__(self) -> bytes: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __lt__(self, other: Hash, /) -> bool: ...
    def __le__(self, other: Hash, /) -> bool: ...
    def __gt__(self, other: Hash, /) -> bool: ...
    def __ge__(self, other: Hash, /) -> bool: ...
    def __reduce__(self) -> tuple[type[Hash], tuple[str]]: ...
    def __copy__(self) -> Hash: ...
    def __deepcopy__(self, _memo: object) -> Hash: ...

def chunk_hash(data: Buffer) -> Hash:
    """Hash the raw bytes of one chunk."""

def data_hash(data: Buffer) -> Hash:
    """Hash a whole serialised shard: the name it is stored under."""

def keyed_hash(hash: Hash, hash_key: Buffer, /) -> Hash:  # noqa: A002
    """Hash a hash with a key of 32 bytes, as the chunk hashes of a deduplication answer are."""

def verification_hash(hashes: Sequence[Hash]) -> Hash:
    """Hash the chunk hashes of one term, in order."""

def merkle_root(chunks: Sequence[tuple[Hash, int]]) -> Hash:
    """Compute the merkle root of chunks given as (hash, raw bytes): the hash of a xorb of them."""

def file_hash(chunks: Sequence[tuple[Hash, int]], salt: Buffer | None = None) -> Hash:
    """Compute the hash of a file from its chunks, given as (hash, raw bytes)."""

# chunker

@final
class Chunker:
    """Finds the chunk boundaries of content that arrives in pieces. One thread at a time."""

    def __new__(cls) -> Chunker: ...
    def update(self, data: Buffer) -> bytes:
        """Take the next bytes; returns the ends of the chunks they complete, as a `u64` row.

        Raises:
            StateError: after `finish`, or while another thread is in a call.
        """

    def finish(self) -> bytes:
        """End the content; returns the end of the last chunk, if there is one, as a `u64` row."""

    @property
    def position(self) -> int:
        """Bytes taken so far."""

def chunk_boundaries(data: Buffer) -> bytes:
    """Return the end of each chunk of `data`, as a `u64` row."""

def hash_chunks(data: Buffer) -> list[tuple[Hash, int]]:
    """Cut `data` into chunks; returns the hash and the length of each."""

def hash_file(path: str | os.PathLike[str]) -> tuple[Hash, int]:
    """Read a file once; returns its Xet hash and size. Memory: at most 2 MiB for each core. Blocking.

    Raises:
        OSError: the usual subclasses, with `filename` set.
    """

def hash_files(paths: list[str | os.PathLike[str]]) -> list[tuple[Hash, int]]:
    """Do the same for several files, small ones side by side.

    Raises:
        OSError: the usual subclasses, with `filename` set; missing files are noticed before any is read.
    """

# codec

def compress(data: Buffer, scheme: int) -> bytes:
    """Encode with scheme 0 (none), 1 (LZ4 frame) or 2 (byte grouping, LZ4 frame), smaller or not."""

def decompress(payload: Buffer, scheme: int, raw_bytes: int) -> bytes:
    """Decode a payload that has exactly `raw_bytes` (at most 131,072) when decoded."""

def choose_scheme(data: Buffer) -> int:
    """Say which scheme is worth trying, from samples; 0 means plainly incompressible."""

# xorb

def build_xorb(
    chunks: Sequence[Buffer], scheme: int | None = None, footer: bool = True
) -> tuple[bytes, Hash, tuple[bytes, bytes, bytes]]:
    """Serialise chunks; returns the bytes, the xorb's hash, and rows as `XorbStore.chunks` does.

    A scheme is chosen for each chunk if none is given; no chunk is stored larger than it is.
    """

def parse_xorb(
    data: Buffer, expected: Hash | None = None, content: bool = False
) -> tuple[Hash, tuple[bytes, bytes, bytes], bytes | None]:
    """Verify a xorb with or without footer; returns hash, rows as `XorbStore.chunks` does, content.

    The content, decoded, is None unless asked for.
    """

# shard

def parse_shard(
    data: Buffer,
) -> tuple[
    list[tuple[Hash, bytes, bytes | None, bytes | None, int]],
    list[tuple[Hash, int, int, bytes, bytes, bytes, bytes, int]],
    tuple[bytes, int, int, int, int, int] | None,
]:
    """Parse a shard in any form; whether its claims are true is not looked at.

    Returns:
        Files as (hash, terms, verification hashes, SHA-256, flags), each hash once; xorbs as (hash,
        raw bytes, bytes on disk, chunk hashes, raw lengths, raw offsets, chunk flags, flags), the
        last but one `u32` rows; the footer as (key, created in s, expiry in s, bytes on disk,
        materialized bytes, stored bytes).
    """

def serialise_shard(
    files: Sequence[tuple[Hash, Buffer, Buffer | None, Buffer | None, int]],
    xorbs: Sequence[tuple[Hash, int, int, Buffer, Buffer, Buffer, Buffer, int]],
    times: tuple[int, int] | None = None,
    key: Buffer | None = None,
) -> bytes:
    """Serialise a shard from tuples as `parse_shard` returns them, in the order given.

    Without `times` (created and expiry, in s) it is in upload form; with them it has a footer;
    with a `key` too, its chunk hashes are hashed with it.
    """

# plan

def plan(
    terms: Buffer, xorbs: Sequence[tuple[Hash, Buffer, Buffer, Buffer]], start: int, end: int
) -> tuple[int, list[tuple[Hash, int, int, int]], list[tuple[Hash, list[tuple[int, int, int, int]]]]]:
    """As `XorbStore.plan`, for xorbs given as (hash, and the rows of `XorbStore.chunks`)."""

# store

@final
class XorbStore:
    """Xorb files under a folder. Usable from any number of threads and processes. Blocking.

    Args:
        root: The folder; `xorbs` and `tmp` are made in it.
    """

    def __new__(cls, root: str | os.PathLike[str]) -> XorbStore: ...
    def create(self, expected: Hash) -> XorbWriter:
        """Start storing the xorb `expected` from its serialized form."""

    def ingest(self) -> FileIngest:
        """Start storing content that is chunked and packed here."""

    def ingest_file(
        self, path: str | os.PathLike[str]
    ) -> tuple[Hash, int, bytes, bytes, list[tuple[Hash, XorbWriter, int, int, int]]]:
        """Take in the file at `path`, on all cores; returns what `FileIngest.finish` does."""

    def rebuild(self, file: Hash, terms: Buffer, path: str | os.PathLike[str]) -> int:
        """Write the file of `terms` to `path`, on all cores, every chunk proven first; returns its size.

        Raises as `check_file`, and:
            StoreCorruptionError: a xorb is damaged. Then, as after any error, `path` is what it was.
        """

    def exists(self, xorb: Hash) -> bool:
        """Say whether the xorb has a file; its bytes are not looked at."""

    def chunks(self, xorb: Hash) -> tuple[bytes, bytes, bytes]:
        """Return rows of chunk hashes, raw lengths (`u32`) and serialized ends (`u32`).

        Raises:
            FormatError: `unknown_xorb`, if it has no file.
            StoreCorruptionError: its footer is damaged.
        """

    def open_xorb(self, xorb: Hash, start: int, end: int) -> ByteReader:
        """Read serialized bytes [start, end) of the chunk data, every chunk proven first.

        Raises:
            FormatError: `range_outside`.
            StoreCorruptionError: `stored_data_missing`, or its footer is damaged.
        """

    def open_file(self, terms: Buffer, start: int, end: int) -> ByteReader:
        """Read content bytes [start, end) of the file of `terms`, every chunk proven first.

        Raises:
            FormatError: `range_outside`.
            StoreCorruptionError: the first xorb is missing, damaged or not what the term says.
        """

    def plan(
        self, terms: Buffer, start: int, end: int
    ) -> tuple[int, list[tuple[Hash, int, int, int]], list[tuple[Hash, list[tuple[int, int, int, int]]]]]:
        """Plan the reconstruction of content bytes [start, end).

        Returns:
            Bytes of the first term before `start`; terms as (xorb, raw bytes, first chunk, end
            chunk); fetches as (xorb, [(first chunk, end chunk, first byte, end byte)]).
        """

    def check_file(self, file: Hash, terms: Buffer, verification: Buffer | None) -> int:
        """Check a claimed file against the stored footers; returns its size.

        Raises:
            FormatError: `unknown_xorb` or `chunk_range`.
            IntegrityError: `length_mismatch`, `verification_count`, `verification_mismatch` or
                `file_hash_mismatch`.
        """

    def sha256_file(self, terms: Buffer, step_bytes: int = 8388608) -> Sha256Reader:
        """Start computing the SHA-256 of the file of `terms`."""

    def verify(self, xorb: Hash) -> int:
        """Read a whole xorb, prove its footer and every chunk; returns the length of its file.

        Raises:
            StoreCorruptionError: what is wrong, with `xorb` and `chunk`.
        """

    def remove(self, xorb: Hash) -> bool:
        """Remove a xorb; False if it has no file."""

    def list(self) -> list[Hash]:
        """List the xorbs that have a file, in order."""

    def clean_temporary(self) -> int:
        """Remove temporary files whose writers are gone, of any process; returns how many."""

    def dedup_shard(self, xorbs: Sequence[Hash], key: Buffer, created_s: int, expiry_s: int) -> bytes:
        """List the chunks of `xorbs`, hashed with `key`, in a shard with a footer.

        Xorbs without a file are left out.
        """

    def invalidate(self, xorb: Hash) -> None:
        """Forget what is cached about a xorb."""

# reader

@final
class ByteReader:
    """Bytes in order, in pieces of whole chunks. One thread at a time: others get a StateError."""

    def read(self) -> bytes:
        """Return the next piece, about 256 KiB; b"" at the end.

        Raises:
            StoreCorruptionError: a chunk of the piece is damaged; none of it is returned, however often it is read.
        """

    def read_parts(self) -> list[bytes]:
        """Return the next piece in parts of 64 to 256 KiB; [] at the end.

        The fewer transfers there are, the longer a piece: 128 KiB, the first and at least, to 1 MiB. Raises as `read`.
        """

    @property
    def remaining(self) -> int:
        """Bytes still to come."""

    def close(self) -> None:
        """Let go of files and memory, now or when the call of another thread ends."""

@final
class Sha256Reader:
    """The SHA-256 of a stored file, in steps. One thread at a time."""

    def step(self) -> int:
        """Hash the next piece, proven first; returns the bytes hashed since the start."""

    def digest(self) -> bytes:
        """Return the digest. Raises StateError before the end of the file."""

# writer

@final
class XorbWriter:
    """One xorb on its way into the store. Leaves nothing behind unless published."""

    def write(self, data: Buffer) -> None:
        """Take the next bytes of the serialized form, proving each chunk. An error closes the writer."""

    def finish(self) -> tuple[int, int, int]:
        """Make the xorb durable; returns its chunks, raw bytes and stored bytes (without footer).

        Raises:
            FormatError: it is not whole, or not the one expected; the writer is closed.
        """

    def publish(self, replace: bool = False) -> bool:
        """Give the finished xorb its name, durably; False if it was there with the same length.

        With `replace`, and where the length differs, the new file takes the place of the old one at once.
        """

    def abort(self) -> None:
        """Drop what was written, now or when the call of another thread ends. Never fails."""

@final
class FileIngest:
    """Content of one file on its way into the store. Leaves nothing behind unless published."""

    def write(self, data: Buffer) -> None:
        """Take the next bytes of the content. An error closes the ingest."""

    def finish(self) -> tuple[Hash, int, bytes, bytes, list[tuple[Hash, XorbWriter, int, int, int]]]:
        """End the file; returns its hash, size, SHA-256, terms, and the xorbs to be published.

        Xorbs are (hash, finished writer, chunks, raw bytes, stored bytes).
        """

    def abort(self) -> None:
        """Drop what was written, now or when the call of another thread ends. Never fails."""

# seal

def seal(key: Buffer, label: Buffer, plain: Buffer) -> bytes:
    """Encrypt and authenticate `plain` under a key of 32 bytes, for the purpose that `label` names.

    Raises:
        FormatError: `bad_hash_length`: the key has not 32 bytes.

    Example:
        >>> from xetway._native import seal, unseal
        >>> unseal(bytes(32), b"cookie", seal(bytes(32), b"cookie", b"secret"))
        b'secret'
        >>> unseal(bytes(32), b"other purpose", seal(bytes(32), b"cookie", b"secret")) is None
        True
    """

def unseal(key: Buffer, label: Buffer, sealed: Buffer) -> bytes | None:
    """Return what `seal` was given; None if the key or the label differ or a byte was changed."""
