"""Xorbs and shards built byte by byte from the draft's tables, so that tests can also build wrong ones.

Independent of xetway: hashes come from PyPI's blake3. Small on purpose; not a codec.
(draft-denis-xet, sections "Hashing Methods", "Xorb Format", "Shard Format")
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from blake3 import blake3

DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
VERIFICATION_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
SHARD_TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
BOOKEND = b"\xff" * 32 + bytes(16)
WITH_VERIFICATION, WITH_METADATA = 1 << 31, 1 << 30


def keyed(key: bytes, data: bytes) -> bytes:
    return blake3(data, key=key).digest()


@functools.lru_cache(maxsize=1024)
def chunk_hash(data: bytes) -> bytes:
    return keyed(DATA_KEY, data)


def hex_form(raw: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))


def merkle_root(nodes: Sequence[tuple[bytes, int]]) -> bytes:
    """The root over (hash, length) nodes; groups of up to nine, cut after a hash divisible by four."""
    if not nodes:
        return bytes(32)
    level = list(nodes)
    while len(level) > 1:
        above = []
        while level:
            size = min(9, len(level))
            if len(level) > 2:
                size = next((i + 1 for i in range(2, size) if struct.unpack("<Q", level[i][0][24:])[0] % 4 == 0), size)
            group, level = level[:size], level[size:]
            text = "".join(f"{hex_form(raw)} : {length}\n" for raw, length in group)
            above.append((keyed(NODE_KEY, text.encode()), sum(length for _, length in group)))
        level = above
    return level[0][0]


@dataclass
class Xorb:
    """Uncompressed chunks and the upload body they make."""

    chunks: list[bytes]

    @property
    def nodes(self) -> list[tuple[bytes, int]]:
        return [(chunk_hash(chunk), len(chunk)) for chunk in self.chunks]

    @property
    def hash(self) -> bytes:
        return merkle_root(self.nodes)

    @property
    def body(self) -> bytes:
        return b"".join(chunk_header(len(chunk), 0, len(chunk)) + chunk for chunk in self.chunks)

    def verification(self, start: int, end: int) -> bytes:
        return keyed(VERIFICATION_KEY, b"".join(raw for raw, _ in self.nodes[start:end]))


def chunk_header(stored: int, scheme: int, raw: int, version: int = 0) -> bytes:
    return bytes([version]) + stored.to_bytes(3, "little") + bytes([scheme]) + raw.to_bytes(3, "little")


@dataclass
class ShardFile:
    """One file block. Fields left at None get their true value from the terms."""

    terms: list[tuple[Xorb, int, int]]
    hash: bytes | None = None
    sha256: bytes | None = None
    lengths: list[int] | None = None
    verification: list[bytes] | None = None
    flags: int = WITH_VERIFICATION | WITH_METADATA

    def encode(self) -> bytes:
        chunks = [chunk for xorb, start, end in self.terms for chunk in xorb.chunks[start:end]]
        root = merkle_root([(chunk_hash(chunk), len(chunk)) for chunk in chunks])
        file_hash = self.hash or (keyed(bytes(32), root) if chunks else bytes(32))
        sha256 = self.sha256 or hashlib.sha256(b"".join(chunks)).digest()
        lengths = self.lengths or [sum(map(len, xorb.chunks[start:end])) for xorb, start, end in self.terms]
        proofs = self.verification or [xorb.verification(start, end) for xorb, start, end in self.terms]
        block = file_hash + struct.pack("<II8x", self.flags, len(self.terms))
        for (xorb, start, end), length in zip(self.terms, lengths, strict=True):
            block += xorb.hash + struct.pack("<IIII", 0, length, start, end)
        if self.flags & WITH_VERIFICATION:
            block += b"".join(proof + bytes(16) for proof in proofs)
        if self.flags & WITH_METADATA:
            block += struct.pack("<4Q", *struct.unpack(">4Q", sha256)) + bytes(16)
        return block


@dataclass
class Shard:
    """The upload form: no lookup tables, no footer."""

    files: list[ShardFile] = field(default_factory=list)
    xorbs: list[Xorb] = field(default_factory=list)

    def encode(self) -> bytes:
        return (
            SHARD_TAG
            + struct.pack("<QQ", 2, 0)
            + b"".join(file.encode() for file in self.files)
            + BOOKEND
            + b"".join(xorb_block(xorb) for xorb in self.xorbs)
            + BOOKEND
        )


def xorb_block(xorb: Xorb, name: bytes | None = None, nodes: list[tuple[bytes, int]] | None = None) -> bytes:
    nodes = xorb.nodes if nodes is None else nodes
    block = (name or xorb.hash) + struct.pack("<IIII", 0, len(nodes), sum(length for _, length in nodes), 0)
    offset = 0
    for raw, length in nodes:
        block += raw + struct.pack("<IIII", offset, length, 0, 0)
        offset += length
    return block
