"""A repository of a running server and its CAS routes, as a client with tokens sees them."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import httpx
from server_process import ServerProcess

from tests.conformance.craft import Xorb, hex_form, keyed, merkle_root

_serial = itertools.count()


class Cas:
    """A repository of the server, and its CAS routes with a write token."""

    def __init__(self, server: ServerProcess, token: str, *, private: bool = False) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url, trust_env=False, timeout=20)
        self.hub = {"authorization": f"Bearer {token}"}
        self.repo = f"cas/r{next(_serial)}"
        repo = {"name": self.repo.split("/")[1], "organization": "cas", "private": private}
        made = self.http.post("/api/repos/create", json=repo, headers=self.hub)
        assert made.status_code == 200, made.text
        self.write = self._xet("write")
        self.read = self._xet("read")

    def _xet(self, scope: str) -> dict[str, str]:
        answer = self.http.get(f"/api/models/{self.repo}/xet-{scope}-token/main", headers=self.hub)
        assert answer.status_code == 200, answer.text
        return {"authorization": f"Bearer {answer.json()['accessToken']}"}

    def post_xorb(self, xorb: Xorb, body: bytes | None = None, name: str | None = None) -> httpx.Response:
        path = f"/v1/xorbs/default/{name or hex_form(xorb.hash)}"
        return self.http.post(path, content=xorb.body if body is None else body, headers=self.write)

    def post_shard(self, body: bytes, version: str = "/v1") -> httpx.Response:
        return self.http.post(f"{version}/shards", content=body, headers=self.write)

    def reconstruction(self, file: bytes, version: str = "/v1", **headers: str) -> httpx.Response:
        return self.http.get(f"{version}/reconstructions/{hex_form(file)}", headers={**self.read, **headers})

    def xorb_files(self) -> set[Path]:
        return {path for path in (self.server.data / "xorbs").rglob("*") if path.is_file()}

    def temporary(self) -> list[Path]:
        return list((self.server.data / "tmp").iterdir())


def fresh(*sizes: int) -> Xorb:
    """A xorb nobody has posted before."""
    seed = str(next(_serial)).encode()
    return Xorb([hashlib.shake_128(seed + b"%d" % index).digest(size) for index, size in enumerate(sizes)])


def file_hash(xorb: Xorb) -> bytes:
    return keyed(bytes(32), merkle_root(xorb.nodes))
