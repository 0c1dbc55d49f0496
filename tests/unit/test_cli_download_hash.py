"""`xetway download-hash` without a repository: what comes as plain bytes is proven by cutting it, or refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import xetway
from tests.unit.transfer_driver import ENDPOINT, FakeWire
from xetway.cli.download_hash import _from_bytes
from xetway.errors import IntegrityError, XetwayError
from xetway.transfer.results import Observer
from xetway.transfer.wire import Answer

CONTENT = bytes(range(256)) * 1_000
WANTED = xetway.file_hash(xetway.hash_chunks(CONTENT)).hex


class HashWire(FakeWire):
    """Sends this content for any hash."""

    def __init__(self, content: bytes, status: int = 200) -> None:
        super().__init__({})
        self.content = content
        self.answers["/download-hash/"] = Answer(status, [("content-length", str(len(content)))], b"", ENDPOINT)

    async def download_plain(self, url: str, headers: Any, path: Path, **options: Any) -> tuple[int, int, int]:
        assert url == f"{ENDPOINT}/download-hash/{WANTED}"
        path.write_bytes(self.content)  # noqa: ASYNC240
        return len(self.content), len(self.content), 0


def fetch(wire: HashWire, path: Path, *, keep: bool = False) -> tuple[int, int, bool]:
    return asyncio.run(_from_bytes(wire.hub(), WANTED, path, keep=keep, shown=Observer()))


def test_content_that_has_the_hash_is_verified(tmp_path: Path) -> None:
    assert fetch(HashWire(CONTENT), tmp_path / "new" / "out") == (len(CONTENT), len(CONTENT), True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]
    assert (tmp_path / "new" / "out").read_bytes() == CONTENT


def test_content_that_has_not_is_kept_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"what was there before")
    with pytest.raises(IntegrityError, match="--repo") as refused:
        fetch(HashWire(CONTENT[::-1]), out)
    assert refused.value.code == "not_verified"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert out.read_bytes() == b"what was there before"
    assert fetch(HashWire(CONTENT[::-1]), out, keep=True)[2] is False
    assert out.read_bytes() == CONTENT[::-1]


def test_server_that_has_it_not(tmp_path: Path) -> None:
    with pytest.raises(XetwayError) as refused:
        fetch(HashWire(b"", status=404), tmp_path / "out")
    assert refused.value.code == "hub_refused"
    assert not list(tmp_path.iterdir())
