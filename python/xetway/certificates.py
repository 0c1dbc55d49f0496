"""The files that HTTPS needs: whether they can be used, and when they change."""

from __future__ import annotations

import ssl
from pathlib import Path

from xetway.errors import ConfigError
from xetway.settings.gateway import Tls

# What a file is known by: a new one has another inode, a changed one another time.
_Mark = tuple[int, int, int]


class Certificates:
    """The certificate of the server, its key, and the authority of its clients."""

    def __init__(self, files: Tls) -> None:
        self.files = files
        self._seen = self._used = self._marks()

    def check(self) -> None:
        """Make sure that they can be used.

        Raises:
            ConfigError: A file cannot be read, or does not hold what it must; the message names the setting.
        """
        for name in ("cert", "key", "client_ca"):
            path: Path | None = getattr(self.files, name)
            try:
                if path is not None:
                    path.read_bytes()
            except OSError as error:
                raise ConfigError(f"tls.{name} is {str(path)!r}, which cannot be read: {error.strerror}") from None
        for name in ("cert", "client_ca"):
            path = getattr(self.files, name)
            if path is not None and not _has_certificates(path):
                raise ConfigError(f"tls.{name} is {str(path)!r}, which holds no certificate in PEM form")
        try:
            # Without a password OpenSSL would ask the terminal for one.
            _context().load_cert_chain(self.files.cert, self.files.key, password="")
        except ssl.SSLError as error:
            problem = (
                "does not belong to the certificate of tls.cert"
                if error.reason == "KEY_VALUES_MISMATCH"
                else "holds no private key in PEM form, or one with a password"
            )
            raise ConfigError(f"tls.key is {str(self.files.key)!r}, which {problem}") from None

    def changed(self) -> bool:
        """Whether other files are there than before, and are the same as when it was asked last.

        Files that belong together are written one after the other.
        """
        marks = self._marks()
        settled, self._seen = marks == self._seen, marks
        if not settled or marks == self._used:
            return False
        self._used = marks
        return True

    def _marks(self) -> list[_Mark | None]:
        return [_mark(path) for path in (self.files.cert, self.files.key, self.files.client_ca) if path is not None]


def _mark(path: Path) -> _Mark | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


def _has_certificates(path: Path) -> bool:
    try:
        _context().load_verify_locations(cafile=path)
    except ssl.SSLError:
        return False
    return True
