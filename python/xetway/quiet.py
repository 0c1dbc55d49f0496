"""Closing connections on which nothing is asked for too long, where Granian leaves them open: those over TLS.

Granian bounds the head of an HTTP/1.1 request, and with it the pause before. Where both HTTP versions are spoken it
first waits for bytes that tell which, for ever, and an HTTP/2 connection may be idle for ever. So the sockets are
looked at from here: the kernel tells when each one last carried data (TCP_INFO, tcp(7)). Linux only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable, Collection
from pathlib import Path

Address = tuple[str, int]

_DESCRIPTORS = Path("/proc/self/fd")
# struct tcp_info of linux/tcp.h: milliseconds since data was sent (byte 44) and came (52), bytes not sent yet (144).
_INFO = struct.Struct("=44xI4xI88xI")


async def close_quiet(listener: socket.socket, limit_s: float, busy: Callable[[], Collection[Address]]) -> None:
    """Close, until cancelled, what a listener accepted and what then carried nothing for `limit_s`.

    `busy` tells the clients that wait for an answer: they may be quiet. So may those that do not take theirs; that is
    not for here.
    """
    if sys.platform != "linux":
        return
    port = listener.getsockname()[1]
    while True:
        await asyncio.sleep(limit_s / 2)
        try:
            found = await asyncio.to_thread(_quiet, port, limit_s)
        except OSError:  # no file is left to look with; this ends none of the connections that keep them
            continue
        clients = busy()
        for client, link in found:
            with link, contextlib.suppress(OSError):
                if client not in clients:
                    link.shutdown(socket.SHUT_RDWR)


def _quiet(port: int, limit_s: float) -> list[tuple[Address, socket.socket]]:
    """Copies of the sockets that carried nothing for so long, and who is at their other end."""
    found = []
    for descriptor in _DESCRIPTORS.iterdir():
        with contextlib.suppress(OSError):
            if not str(descriptor.readlink()).startswith("socket:"):
                continue
            copy = os.dup(int(descriptor.name))
            if (client := _quiet_client(copy, port, limit_s)) is None:
                os.close(copy)
            else:
                found.append((client, socket.socket(fileno=copy)))
    return found


def _quiet_client(descriptor: int, port: int, limit_s: float) -> Address | None:
    """Who is at the other end of a socket that was accepted at this port, if it carried nothing for so long."""
    link = socket.socket(fileno=descriptor)
    try:
        if link.family not in {socket.AF_INET, socket.AF_INET6} or link.getsockname()[1] != port:
            return None
        host, client_port = link.getpeername()[:2]
        sent_ms, came_ms, waiting = _INFO.unpack(link.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    except OSError:
        return None
    finally:
        link.detach()
    return None if waiting or min(sent_ms, came_ms) < limit_s * 1000 else (host, client_port)
