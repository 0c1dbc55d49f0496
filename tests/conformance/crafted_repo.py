"""A repository with many files of known chunks and xorbs, made in a moment and without a client."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from dataclasses import dataclass

import httpx
from server_process import ServerProcess

from tests.conformance.cas_client import Cas, fresh
from tests.conformance.craft import Shard, ShardFile, Xorb, hex_form, keyed, merkle_root

CHUNK_BYTES = 65_536
_names = itertools.count()


@dataclass
class CraftedFile:
    """A file: its content, its xet hash, and the xorbs it is made of."""

    name: str
    data: bytes
    hash: str
    xorbs: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def any_xorb(self) -> str:
        """A pattern for the addresses of its xorbs."""
        return "|".join(self.xorbs)


@dataclass
class CraftedRepo:
    """The repository and what is in it."""

    name: str
    commit: str
    files: list[CraftedFile]

    @property
    def size(self) -> int:
        return sum(len(file.data) for file in self.files)


def craft_repo(
    server: ServerProcess, token: str, files: int = 1, chunks: int = 16, xorbs: int = 2, *, private: bool = False
) -> CraftedRepo:
    """A repository of `files` files. Each has xorbs of its own, which nobody else has."""
    cas = Cas(server, token, private=private)
    with contextlib.closing(cas.http):
        made = [[fresh(*[CHUNK_BYTES] * chunks) for _ in range(xorbs)] for _ in range(files)]
        for parts in made:
            for xorb in parts:
                assert cas.post_xorb(xorb).status_code == 200
        return commit_files(cas, made)


def commit_files(cas: Cas, made: list[list[Xorb]]) -> CraftedRepo:
    """Make files of stored xorbs, each of all chunks of its own, and commit them."""
    contents = [ShardFile([(xorb, 0, len(xorb.chunks)) for xorb in parts]) for parts in made]
    shard = Shard(contents, [xorb for parts in made for xorb in parts])
    answer = cas.post_shard(shard.encode())
    assert answer.status_code == 200, answer.text
    crafted = [describe(parts) for parts in made]
    lines: list[dict[str, object]] = [{"key": "header", "value": {"summary": "crafted", "description": ""}}]
    lines += [
        {
            "key": "lfsFile",
            "value": {"path": file.name, "algo": "sha256", "oid": file.sha256, "size": len(file.data)},
        }
        for file in crafted
    ]
    config = {"path": "config.json", "encoding": "base64", "content": "e30="}
    lines.append({"key": "file", "value": config})
    return CraftedRepo(cas.repo, commit(cas, lines), crafted)


def commit(cas: Cas, lines: list[dict[str, object]]) -> str:
    """Make a commit of NDJSON lines; its id."""
    answer: httpx.Response = cas.http.post(
        f"/api/models/{cas.repo}/commit/main",
        content="\n".join(map(json.dumps, lines)),
        headers={**cas.hub, "content-type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    return str(answer.json()["commitOid"])


def describe(parts: list[Xorb]) -> CraftedFile:
    """What a file of all chunks of these xorbs is."""
    nodes = [node for xorb in parts for node in xorb.nodes]
    data = b"".join(chunk for xorb in parts for chunk in xorb.chunks)
    file_hash = hex_form(keyed(bytes(32), merkle_root(nodes)))
    return CraftedFile(f"file-{next(_names)}.bin", data, file_hash, tuple(hex_form(xorb.hash) for xorb in parts))
