"""A Hub in memory behind the port that transfers use, which counts what it is asked and can be told to fail."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import xetway
from xetway.transfer.hub import HubClient
from xetway.transfer.wire import Answer, Digest, OnProgress, TokenRoute

ENDPOINT = "https://hub.test"
COMMIT = "c" * 40
TOKEN = "hf_secretsecret"


def git_oid(content: bytes) -> str:
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()


class FakeWire:
    """One repository, org/model at main. Xet files are those of `xet`; the rest is plain."""

    def __init__(self, files: dict[str, bytes], xet: tuple[str, ...] = ()) -> None:
        self.files = files
        self.xet = xet
        self.asked: list[tuple[str, str]] = []
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []
        self.moved: list[tuple[str, str]] = []  # what was fetched: how, and which content
        self.running = 0
        self.most_running = 0
        self.answers: dict[str, Answer] = {}
        self.page = 1_000
        self.fail: dict[str, BaseException] = {}
        self.gate: asyncio.Event | None = None
        self.uploaded: list[str] = []

    def hub(self, token: str | None = TOKEN) -> HubClient:
        return HubClient(self, ENDPOINT, token)

    def entry(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(content), "oid": git_oid(content)}
        if path in self.xet:
            sha256 = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
            entry["xetHash"] = xetway.file_hash(xetway.hash_chunks(content)).hex
        return entry

    async def request(self, method: str, url: str, headers: Any = (), body: bytes = b"", **_options: Any) -> Answer:
        assert url.startswith(ENDPOINT), f"the token would go to {url}"
        path = url.removeprefix(ENDPOINT)
        self.asked.append((method, path))
        self.sent.append((method, path, dict(headers), body))
        for beginning, answer in self.answers.items():
            if path.startswith(beginning):
                return answer
        return self._answer(method, url, path, dict(headers), body)

    def _answer(self, method: str, url: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if path.startswith("/api/models/org/model/revision/"):
            return self.json({"sha": COMMIT}, url)
        if path.startswith("/api/models/org/model/tree/"):
            first = int(parse_qs(urlsplit(url).query).get("cursor", ["0"])[0])
            names = sorted(self.files)
            more = first + self.page < len(names)
            # Named with another host, as a mirror in front of the Hub would leave it.
            link = f'<https://elsewhere.test/api/models/org/model/tree/{COMMIT}?cursor={first + self.page}>; rel="next"'
            shown = [self.entry(name) for name in names[first : first + self.page]]
            return self.json(shown, url, [("link", link)] if more else [])
        if path.startswith("/api/models/org/model/paths-info/"):
            paths = parse_qs(body.decode())["paths"]
            folders = {name.rpartition("/")[0] for name in self.files}
            found = [self.entry(name) for name in paths if name in self.files]
            found += [{"type": "directory", "path": name, "oid": "0" * 40} for name in paths if name in folders]
            return self.json(found, url)
        if path.startswith(f"/org/model/resolve/{COMMIT}/"):
            content = self.files[unquote(path.removeprefix(f"/org/model/resolve/{COMMIT}/"))]
            first, last = map(int, headers["range"].removeprefix("bytes=").split("-"))
            piece = content[first : last + 1]
            return Answer(206, [("content-range", f"bytes {first}-{last}/{len(content)}")], piece, url)
        raise AssertionError(f"{method} {path} was not expected")

    @staticmethod
    def json(
        value: Any, url: str = ENDPOINT, headers: list[tuple[str, str]] | None = None, status: int = 200
    ) -> Answer:
        return Answer(status, headers or [], json.dumps(value).encode(), url)

    async def _move(self, how: str, name: str, content: bytes, path: Path, progress: OnProgress | None) -> Any:
        self.moved.append((how, name))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            part = path.with_name(path.name + ".xetway-part")
            part.write_bytes(content[: len(content) // 2])
            if progress is not None:
                progress(len(content) // 2, len(content) // 2, len(content))
            await asyncio.sleep(0)
            if self.gate is not None:
                await self.gate.wait()
            if name in self.fail:
                raise self.fail[name]
            part.unlink()
            path.write_bytes(content)
            return len(content), len(content), 0
        finally:
            self.running -= 1

    async def download_file(
        self, xet_hash: str, path: Path, tokens: TokenRoute, *, start: int = 0, end: int | None = None, **options: Any
    ) -> tuple[int, int, int]:
        name = next(name for name in self.xet if self.entry(name)["xetHash"] == xet_hash)
        result: tuple[int, int, int] = await self._move(
            "xet", name, self.files[name][start:end], path, options.get("progress")
        )
        return result

    async def download_plain(
        self, url: str, headers: Any, path: Path, *, digest: Digest | None = None, **options: Any
    ) -> tuple[int, int, int]:
        name = unquote(url.removeprefix(f"{ENDPOINT}/org/model/resolve/{COMMIT}/"))
        assert digest is None or digest.digest.hex() == git_oid(self.files[name])
        result: tuple[int, int, int] = await self._move("plain", name, self.files[name], path, options.get("progress"))
        return result

    async def open_download(
        self, xet_hash: str, tokens: TokenRoute, *, start: int = 0, end: int | None = None, **_options: Any
    ) -> FakeSource:
        name = next(name for name in self.xet if self.entry(name)["xetHash"] == xet_hash)
        return FakeSource(self.files[name][start:end])

    def uploader(self, tokens: TokenRoute) -> FakeUploader:
        return FakeUploader(self)


class FakeSource:
    closed = False

    def __init__(self, content: bytes) -> None:
        self.content = content

    async def read(self) -> bytes:
        piece, self.content = self.content[:1000], self.content[1000:]
        return piece

    def close(self) -> None:
        FakeSource.closed = True


class FakeUploader:
    def __init__(self, wire: FakeWire) -> None:
        self.wire = wire

    async def add_file(self, path: str, progress: Callable[..., None] | None = None) -> tuple[str, int, bytes]:
        content = Path(path).read_bytes()
        self.wire.uploaded.append(path)
        if progress is not None:
            progress(len(content), len(content), len(content))
        return xetway.hash_file(path).hash, len(content), hashlib.sha256(content).digest()

    async def finish(self) -> tuple[int, int, int]:
        return 100, 50, 1
