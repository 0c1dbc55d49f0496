"""A Hub on a folder of its own, driven by requests in memory."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec

from tests.unit.http_driver import Client, call
from xetway.cas.signing import XetTokens
from xetway.cas.store import ContentStore
from xetway.hub.hub import Hub
from xetway.hub.routes import routes

NOW = 1_700_000_000


class HubDriver:
    """Sends requests to a Hub. `token` goes with each, unless a call names another (None: none)."""

    def __init__(self, data: Path, *, open_writes: bool = False) -> None:
        self.now = NOW
        self.store = ContentStore(data, now=lambda: self.now)
        self.hub = Hub(self.store, XetTokens(self.store.db), open_writes=open_writes)
        self.token: str | None = self.new_token("alice")

    def new_token(self, user: str, scope: Any = "write", *patterns: str) -> str:
        return self.hub.tokens.create(name=user, scope=scope, patterns=patterns or ("*",))

    def send(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        token: str | type | None = str,
        headers: dict[str, str] | None = None,
        status: int | None = 200,
    ) -> Client:
        raw = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        named = {"content-length": str(len(raw))} | (headers or {})
        used = self.token if token is str else token
        if used is not None:
            named["authorization"] = f"Bearer {used}"
        answer = call(routes(self.hub), method, target, named.items(), Client((raw,)))
        if status is not None:
            assert answer.status == status, (answer.status, answer.body)
        return answer

    def get(self, target: str, **options: Any) -> Any:
        return self.send("GET", target, **options).json

    def create(self, repo: str = "org/m", **more: Any) -> None:
        namespace, name = repo.split("/")
        self.send("POST", "/api/repos/create", {"name": name, "organization": namespace, **more})

    def commit(
        self,
        *lines: tuple[str, dict[str, Any]],
        repo: str = "models/org/m",
        revision: str = "main",
        title: str = "a commit",
        parent: str | None = None,
        query: str = "",
        **options: Any,
    ) -> Any:
        header: dict[str, Any] = {"summary": title, "description": ""}
        if parent is not None:
            header["parentCommit"] = parent
        body = ndjson(("header", header), *lines)
        return self.send("POST", f"/api/{repo}/commit/{revision}{query}", body, **options).json

    def upload(self, data: bytes, repo_id: int = 1) -> str:
        """Bring content into the store for a repository, as an upload through the CAS does; returns the SHA-256."""
        writer = self.store.writer()
        writer.write(data)
        writer.finish(repo_id)
        return hashlib.sha256(data).hexdigest()


def ndjson(*lines: tuple[str, Any]) -> bytes:
    return b"".join(json.dumps({"key": key, "value": value}).encode() + b"\n" for key, value in lines)


def put(path: str, content: bytes) -> tuple[str, dict[str, Any]]:
    return "file", {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"}


def put_lfs(path: str, sha256: str, size: int | None = None) -> tuple[str, dict[str, Any]]:
    value: dict[str, Any] = {"path": path, "algo": "sha256", "oid": sha256}
    return "lfsFile", value if size is None else value | {"size": size}


def remove(path: str) -> tuple[str, dict[str, Any]]:
    return ("deletedFolder" if path.endswith("/") else "deletedFile"), {"path": path}
