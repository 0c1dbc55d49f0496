"""A folder that keeps files as xorbs: each chunk once, compressed, proven whenever it is read.

Which files there are is the caller's knowledge: what `Store.publish` returns is all it takes to have a
file back, and `write_shard` writes it down.
"""

from __future__ import annotations

import os

from xetway._native import XorbStore
from xetway.xet.shards import read_terms, write_terms
from xetway.xet.types import ShardFile


class Store:
    """Xorbs in a folder, used from any number of threads and processes. Blocking.

    The folder of `xetway serve` is not for this: its server removes xorbs that no upload named.

    Args:
        folder: Made if it is not there. What writers that were killed left in it is removed.

    Example:
        >>> import pathlib, tempfile
        >>> from xetway import Store
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "hello")
        ...     _ = path.write_bytes(b"Hello World!")
        ...     store = Store(pathlib.Path(folder, "store"))
        ...     file = store.publish(path)
        ...     store.reconstruct(file, pathlib.Path(folder, "copy"))
        ...     pathlib.Path(folder, "copy").read_bytes()
        b'Hello World!'
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._xorbs = XorbStore(folder)
        self._xorbs.clean_temporary()

    def publish(self, path: str | os.PathLike[str]) -> ShardFile:
        """Store the file at `path`, reading it once; returns its hash, SHA-256 and terms.

        On all cores, with the interpreter lock released. Memory stays below 48 MiB, and below 20 MiB for
        files of a few GiB. When this returns, the content survives a crash of the machine. Chunks that occur
        twice in the file are stored once.

        Raises:
            OSError: the usual subclasses, such as FileNotFoundError.
        """
        file, _, sha256, terms, xorbs = self._xorbs.ingest_file(path)
        for _, writer, *_ in xorbs:
            writer.publish()
        return ShardFile(file, read_terms(terms), None, sha256)

    def reconstruct(self, file: ShardFile, path: str | os.PathLike[str]) -> None:
        """Write a published file to `path`, replacing what is there.

        On all cores, with the interpreter lock released. Every chunk is decoded and hashed, and the chunks
        are those of `file.hash`. The file appears under its name when it is whole and durable; after an
        error nothing has changed.

        Raises:
            StoreCorruptionError: stored bytes are damaged.
            FormatError: `unknown_xorb`, if a xorb is not in the store, or another claim of `file` is wrong.
            OSError: the file cannot be written.
        """
        self._xorbs.rebuild(file.hash, write_terms(file.terms), path)
