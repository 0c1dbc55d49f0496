"""The socket that a server listens on: one of its own, or one that whoever starts it hands over.

**A port of its own** is bound without SO_REUSEPORT, which lets two servers share a port silently: that fails if anyone
has it. Only then the option is set, if other processes of this server are to listen beside. It listens from the first
moment, so that a port that the system chose (0) is this server's, and who connects early waits.

**Handed over** is a bound TCP socket, as a socket object, by the number of its file descriptor, or by systemd
(sd_listen_fds(3)). Whoever keeps it open while the server is started anew loses no connection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import MutableMapping

from xetway.errors import ConfigError

BACKLOG = 1024
_SYSTEMD_FIRST_FD = 3
# Those of the store, of databases and of threads.
_OTHER_FILES = 128


def listen_exclusively(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Listen on a port that nobody else has; `shared` lets `listen_beside` listen there too.

    Raises:
        ConfigError: The port is taken, or the address is not of this machine.
    """
    listener = _socket(host)
    try:
        if sys.platform != "win32" and port:
            # Connections of a server that stopped a moment ago must not keep the port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        remedy = (
            "--host has to be an address of this machine, or 0.0.0.0 for all"
            if error.errno == errno.EADDRNOTAVAIL
            else "choose another --port (0 takes a free one)"
        )
        raise ConfigError(f"cannot listen on {address(host, port)}: {error.strerror}; {remedy}") from None
    if sys.platform != "win32":
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener


def listen_beside(host: str, port: int) -> socket.socket:
    """Listen on the port of another process of this server; each new connection goes to one of them."""
    listener = _socket(host)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port))
    listener.listen(BACKLOG)
    return listener


def adopt(fd: int) -> socket.socket:
    """Take over the TCP socket that is open as this file descriptor.

    Raises:
        ConfigError: There is none, or it is not bound.
    """
    try:
        listener = socket.socket(fileno=fd)
    except OSError as error:
        raise ConfigError(f"file descriptor {fd} is no socket: {error.strerror}") from None
    is_tcp = listener.family in {socket.AF_INET, socket.AF_INET6} and listener.type == socket.SOCK_STREAM
    if not is_tcp or not listener.getsockname()[1]:
        listener.detach()
        raise ConfigError(f"file descriptor {fd} is no TCP socket that is bound to a port")
    listener.set_inheritable(False)
    return listener


def from_systemd(environment: MutableMapping[str, str] = os.environ) -> socket.socket | None:
    """Take over the socket that systemd has opened for this process, and forget the variables that say so.

    Raises:
        ConfigError: There are several, or it is no TCP socket.
    """
    pid, count = environment.get("LISTEN_PID"), environment.get("LISTEN_FDS")
    if pid != str(os.getpid()) or count is None:
        return None
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        environment.pop(name, None)
    if count != "1":
        raise ConfigError(f"LISTEN_FDS is {count!r}; it must be 1: the server listens on one socket")
    return adopt(_SYSTEMD_FIRST_FD)


def allow_connections(wanted: int) -> int:
    """Have this process open as many files as it may, and return how many connections that is enough for, up to these.

    Many systems begin with 1024 files. A connection is one, and one more to an upstream; without any left, accepting
    fails as fast as it can be tried.
    """
    if sys.platform == "win32":
        return wanted
    import resource  # noqa: PLC0415  (Windows has none)

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Where the most is unlimited, the system may still refuse.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if files == resource.RLIM_INFINITY else max(1, min(wanted, (files - _OTHER_FILES) // 2))


def reachable(host: str) -> str:
    """An address to connect to: a wildcard is none."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def address(host: str, port: int) -> str:
    """Host and port as they stand in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _socket(host: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
