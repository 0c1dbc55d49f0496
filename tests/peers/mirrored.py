"""A site with a mirror: the hosted server behind, the stand-in for the real Hub, and the mirror that clients use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from server_process import ServerProcess
from upstream import FaultUpstream

from tests.peers.clients import NEWEST, Client, Pair

# What comes once from upstream comes with its chunk headers, and perhaps a chunk twice where ranges meet.
ONCE = 1.05
# The client's own retries with pauses of seconds; tests of the mirror's need not wait for them.
IMPATIENT = {"HF_XET_CLIENT_RETRY_BASE_DELAY": "50ms"}


@dataclass
class Site:
    """Everything between a user and the content."""

    behind: ServerProcess
    upstream: FaultUpstream
    mirror: ServerProcess
    make_client: Callable[..., Client]

    def user(self, token: str | None = None, pair: Pair = NEWEST, **settings: str) -> Client:
        """A fresh user of the mirror."""
        return self.make_client(token, pair, at=self.mirror, **settings)


def held_bytes(mirror: ServerProcess) -> int:
    """Bytes of content that the mirror has on its disk (its files have holes)."""
    folder = mirror.data / "mirror"
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and path.suffix == ".data")


def cached_files(mirror: ServerProcess, suffix: str) -> list[Path]:
    """Files of the mirror's cache with this suffix, in order."""
    return sorted(path for path in (mirror.data / "mirror").rglob(f"*{suffix}") if path.is_file())
