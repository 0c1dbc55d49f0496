"""Telling systemd how this server is, if it asks: sd_notify(3), for units with `Type=notify`."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping

READY = "READY=1"
STOPPING = "STOPPING=1"


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """Send a state; nothing if nobody listens."""
    address = environment.get("NOTIFY_SOCKET")
    if not address:
        return
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
        # An @ stands for the NUL of a name that is in no file system.
        link.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
