"""The metadata database: one SQLite file in WAL mode, shared by every process on the data folder.

What it does: hands each thread its own connection, runs the numbered migrations once, and gives
``read()`` and ``write()`` transactions. What it does not do: know any table.

``write()`` takes SQLite's write lock at once (``BEGIN IMMEDIATE``), so a check followed by a change
inside it cannot be overtaken by another process: this is the lock that garbage collection, publishing
and commits share. A transaction that returned survives a crash of the machine, unless asked otherwise.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from xetway.errors import ConfigError

_BUSY_TIMEOUT_MS = 30_000


class _Connection(sqlite3.Connection):
    """Closed when its thread has ended or its database is gone; sooner, a thread might be using it."""

    def __del__(self) -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):  # it could not be opened
            self.close()


class Database:
    """A SQLite file and this process's connections to it. Blocking: call it from worker threads.

    Args:
        path: The file.
        package: Where its migrations are, in a folder of that name.
        durable: Whether a transaction that returned must survive a crash of the machine. One that does not may be
            lost then, but is never half done.
    """

    def __init__(self, path: Path, *, package: str = "xetway.db", durable: bool = True) -> None:
        _keep_private(path)
        self._path = path
        self._package = package
        self._synchronous = "FULL" if durable else "NORMAL"
        self._local = threading.local()
        self._migrate()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path,
            timeout=_BUSY_TIMEOUT_MS / 1000,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {self._synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    @property
    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A consistent snapshot for several reads. Joins the thread's transaction if one is open."""
        connection = self._connection
        if connection.in_transaction:
            yield connection
            return
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            _roll_back(connection)

    @contextmanager
    def write(self, *, wait: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction holding the write lock from its start; commits, or rolls back on any error.

        Raises:
            sqlite3.OperationalError: the lock was not to be had, in 30 s or, unless `wait`, at once.
        """
        connection = self._connection
        if not wait:
            connection.execute("PRAGMA busy_timeout = 0")
        try:
            connection.execute("BEGIN IMMEDIATE")
        finally:
            if not wait:
                connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise

    def _migrate(self) -> None:
        """Bring the file to the newest version; refuse one written by a newer xetway."""
        scripts = sorted(
            (
                item
                for item in resources.files(self._package).joinpath("migrations").iterdir()
                if item.name.endswith(".sql")
            ),
            key=lambda item: item.name,
        )
        with self.write() as tx:
            version = tx.execute("PRAGMA user_version").fetchone()[0]
            if version > len(scripts):
                raise ConfigError(
                    f"the data folder was written by a newer xetway (schema {version}, this one knows {len(scripts)})"
                )
            for number, script in enumerate(scripts[version:], start=version + 1):
                for statement in _statements(script.read_text("utf-8")):
                    tx.execute(statement)
                tx.execute(f"PRAGMA user_version = {number}")


def _roll_back(connection: sqlite3.Connection) -> None:
    """End the transaction, unless SQLite has done so: it does when the disk is full."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _keep_private(path: Path) -> None:
    """Make the file for its owner alone, whatever the folder allows: it holds the signing keys.

    SQLite gives its companions (-wal, -shm) the mode of the file itself.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for part in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        with contextlib.suppress(FileNotFoundError):
            if part.stat().st_mode & 0o077:
                part.chmod(0o600)


def _statements(script: str) -> Iterator[str]:
    """Split a script into statements: executescript() would commit the migration's transaction."""
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending
            pending = ""
