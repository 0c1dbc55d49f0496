"""A repository with many files of known chunks and xorbs, made in a moment and without a client."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from dataclasses import dataclass
from typing import TypeAlias

import httpx
from server_process import ServerProcess

from tests.conformance.cas_client import Cas, fresh
from tests.conformance.craft import Shard, ShardFile, Xorb, hex_form, keyed, merkle_root

Term: TypeAlias = tuple[Xorb, int, int]

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


def fragmented_repo(server: ServerProcess, token: str, ranges: int) -> CraftedRepo:
    """A repository of one file, made of every second chunk of a xorb: so many ranges that do not touch."""
    cas = Cas(server, token)
    with contextlib.closing(cas.http):
        xorb = fresh(*[CHUNK_BYTES] * (2 * ranges))
        assert cas.post_xorb(xorb).status_code == 200
        return commit_terms(cas, [[(xorb, at, at + 1) for at in range(0, 2 * ranges, 2)]])


def commit_files(cas: Cas, made: list[list[Xorb]]) -> CraftedRepo:
    """Make files of stored xorbs, each of all chunks of its own, and commit them."""
    return commit_terms(cas, [[(xorb, 0, len(xorb.chunks)) for xorb in parts] for parts in made])


def commit_terms(cas: Cas, files: list[list[Term]]) -> CraftedRepo:
    """Make files of chunks of stored xorbs, and commit them."""
    xorbs = {xorb.hash: xorb for terms in files for xorb, _, _ in terms}
    shard = Shard([ShardFile(terms) for terms in files], list(xorbs.values()))
    answer = cas.post_shard(shard.encode())
    assert answer.status_code == 200, answer.text
    crafted = [describe(terms) for terms in files]
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


def describe(terms: list[Term]) -> CraftedFile:
    """What a file of these chunks is."""
    nodes = [node for xorb, start, end in terms for node in xorb.nodes[start:end]]
    data = b"".join(chunk for xorb, start, end in terms for chunk in xorb.chunks[start:end])
    file_hash = hex_form(keyed(bytes(32), merkle_root(nodes)))
    xorbs = tuple(dict.fromkeys(hex_form(xorb.hash) for xorb, _, _ in terms))
    return CraftedFile(f"file-{next(_names)}.bin", data, file_hash, xorbs)
