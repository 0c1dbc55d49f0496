"""The Xet codec as a library: chunks, hashes, xorbs, shards and reconstruction plans.

Values and bytes only: no network, and no files but those that `hash_file` and `hash_files` read, and
those of a `Store`. The work is done in `xetway._native` with the interpreter lock released. Source:
draft-denis-xet-03, and where the
deployed `hf_xet` 1.8.0 differs from it, `hf_xet`.
"""

from xetway._native import Hash
from xetway.xet.chunking import Chunker, chunk_boundaries
from xetway.xet.codec import choose_scheme, compress, decompress
from xetway.xet.hashing import (
    chunk_hash,
    file_hash,
    hash_chunks,
    hash_file,
    hash_files,
    keyed_hash,
    merkle_root,
    shard_hash,
    verification_hash,
    xorb_hash,
)
from xetway.xet.plan import Plan, ReconstructionV1, ReconstructionV2, plan_reconstruction
from xetway.xet.shards import read_shard, write_shard
from xetway.xet.store import Store
from xetway.xet.types import (
    Chunk,
    FileHash,
    Scheme,
    Shard,
    ShardChunk,
    ShardFile,
    ShardFooter,
    ShardXorb,
    Term,
    Xorb,
    XorbChunk,
)
from xetway.xet.xorbs import build_xorb, read_xorb, unpack_xorb

__all__ = [
    "Chunk",
    "Chunker",
    "FileHash",
    "Hash",
    "Plan",
    "ReconstructionV1",
    "ReconstructionV2",
    "Scheme",
    "Shard",
    "ShardChunk",
    "ShardFile",
    "ShardFooter",
    "ShardXorb",
    "Store",
    "Term",
    "Xorb",
    "XorbChunk",
    "build_xorb",
    "choose_scheme",
    "chunk_boundaries",
    "chunk_hash",
    "compress",
    "decompress",
    "file_hash",
    "hash_chunks",
    "hash_file",
    "hash_files",
    "keyed_hash",
    "merkle_root",
    "plan_reconstruction",
    "read_shard",
    "read_xorb",
    "shard_hash",
    "unpack_xorb",
    "verification_hash",
    "write_shard",
    "xorb_hash",
]
