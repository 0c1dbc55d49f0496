"""Hashes of chunks, xorbs, files, terms and shards.

Source: draft-denis-xet-03, "Hashing Methods".
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from xetway import _native
from xetway._native import Hash
from xetway.xet.types import Chunk, FileHash, XorbChunk

if TYPE_CHECKING:
    from typing_extensions import Buffer


def chunk_hash(data: Buffer) -> Hash:
    """Hash the raw bytes of one chunk.

    Example:
        >>> from xetway import chunk_hash
        >>> str(chunk_hash(b"Hello World!"))
        'd8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb'
    """
    return _native.chunk_hash(data)


def hash_chunks(data: Buffer) -> list[Chunk]:
    """Cut `data` into chunks and hash each.

    Example:
        >>> from xetway import hash_chunks
        >>> [chunk.raw_bytes for chunk in hash_chunks(bytes(200_000))]
        [131072, 68928]
    """
    return [Chunk(chunk, raw_bytes) for chunk, raw_bytes in _native.hash_chunks(data)]


def merkle_root(chunks: Iterable[Chunk | XorbChunk]) -> Hash:
    """Compute the merkle root of chunks in order; that of no chunks is `Hash.ZERO`."""
    return _native.merkle_root(_nodes(chunks))


def xorb_hash(chunks: Iterable[Chunk | XorbChunk]) -> Hash:
    """Compute the hash of a xorb of these chunks: their merkle root."""
    return merkle_root(chunks)


def file_hash(chunks: Iterable[Chunk | XorbChunk], salt: Buffer | None = None) -> Hash:
    """Compute the hash of a file of these chunks; that of the empty file is `Hash.ZERO`.

    Args:
        chunks: All chunks of the file, in order.
        salt: 32 bytes; zeros if not given, as everywhere today.

    Example:
        >>> from xetway import file_hash, hash_chunks
        >>> str(file_hash(hash_chunks(b"Hello World!")))
        'a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165'
    """
    return _native.file_hash(_nodes(chunks), salt)


def verification_hash(hashes: Iterable[Hash]) -> Hash:
    """Hash the chunk hashes of one term, in order: the proof that its sender knows the chunks."""
    return _native.verification_hash(list(hashes))


def keyed_hash(chunk: Hash, key: Buffer) -> Hash:
    """Hash a hash with a key of 32 bytes, as the chunk hashes of a deduplication answer are."""
    return _native.keyed_hash(chunk, key)


def shard_hash(data: Buffer) -> Hash:
    """Hash a whole serialised shard: the name it is stored under."""
    return _native.data_hash(data)


def hash_file(path: str | os.PathLike[str]) -> FileHash:
    """Compute the Xet hash of the file at `path`, reading it once.

    Blocking, with the interpreter lock released. A file of 512 KiB or more is read and hashed on all
    cores; memory stays below 2 MiB for each and a little.

    Raises:
        OSError: the usual subclasses, such as FileNotFoundError.

    Example:
        >>> import pathlib, tempfile
        >>> from xetway import hash_file
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "hello")
        ...     _ = path.write_bytes(b"Hello World!")
        ...     hash_file(path)
        FileHash(hash='a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165', size=12)
    """
    file, size = _native.hash_file(path)
    return FileHash(str(file), size)


def hash_files(paths: Iterable[str | os.PathLike[str]]) -> list[FileHash]:
    """Compute the Xet hashes of files, on all cores; faster than one by one when most are small.

    Blocking, with the interpreter lock released.

    Args:
        paths: In the order of the answer.

    Raises:
        OSError: as `hash_file` does; `filename` is the path. Missing files are noticed before any is read.

    Example:
        >>> import pathlib, tempfile
        >>> from xetway import hash_files
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "hello")
        ...     _ = path.write_bytes(b"Hello World!")
        ...     [file.size for file in hash_files([path, path])]
        [12, 12]
    """
    return [FileHash(str(file), size) for file, size in _native.hash_files(list(paths))]


def _nodes(chunks: Iterable[Chunk | XorbChunk]) -> list[tuple[Hash, int]]:
    return [(chunk.hash, chunk.raw_bytes) for chunk in chunks]
