"""Closing what carries nothing: it goes on where it could not look once."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from xetway import quiet

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at the kernel's own numbers")


class Scarce:
    """A list of descriptors that cannot be opened at first, as where no file is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.looked = 0

    def iterdir(self) -> Iterator[Path]:
        self.looked += 1
        if self.looked == 1:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._folder.iterdir()


def test_without_a_file_to_look_with_it_looks_later(monkeypatch: pytest.MonkeyPatch) -> None:
    scarce = Scarce(quiet._DESCRIPTORS)
    monkeypatch.setattr(quiet, "_DESCRIPTORS", scarce)

    async def go() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname(), timeout=30)
            accepted, _ = listener.accept()
            with client, accepted:
                closing = asyncio.create_task(quiet.close_quiet(listener, 0.05, set))
                assert await asyncio.to_thread(client.recv, 1) == b""
                closing.cancel()

    asyncio.run(go())
    assert scarce.looked > 1
