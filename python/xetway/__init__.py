"""One gateway for open models: a Xet hub and codec that the Hugging Face clients use unmodified.

What is exported here is the library: chunking, hashing, xorbs, shards and reconstruction plans at
native speed, and the errors they raise. The server is `xetway.cli`; importing xetway does not import
it, nor numpy.

Example:
    >>> import xetway
    >>> xetway.chunk_boundaries(bytes(200_000)).tolist()
    [131072, 200000]
"""

from xetway._native import __version__
from xetway.errors import (
    FormatError,
    IntegrityError,
    StateError,
    TruncatedError,
    XetwayError,
)
from xetway.xet import (
    Chunk,
    Chunker,
    FileHash,
    Hash,
    Plan,
    ReconstructionV1,
    ReconstructionV2,
    Scheme,
    Shard,
    ShardChunk,
    ShardFile,
    ShardFooter,
    ShardXorb,
    Term,
    Xorb,
    XorbChunk,
    build_xorb,
    choose_scheme,
    chunk_boundaries,
    chunk_hash,
    compress,
    decompress,
    file_hash,
    hash_chunks,
    hash_file,
    keyed_hash,
    merkle_root,
    plan_reconstruction,
    read_shard,
    read_xorb,
    shard_hash,
    unpack_xorb,
    verification_hash,
    write_shard,
    xorb_hash,
)

__all__ = [
    "Chunk",
    "Chunker",
    "FileHash",
    "FormatError",
    "Hash",
    "IntegrityError",
    "Plan",
    "ReconstructionV1",
    "ReconstructionV2",
    "Scheme",
    "Shard",
    "ShardChunk",
    "ShardFile",
    "ShardFooter",
    "ShardXorb",
    "StateError",
    "Term",
    "TruncatedError",
    "XetwayError",
    "Xorb",
    "XorbChunk",
    "__version__",
    "build_xorb",
    "choose_scheme",
    "chunk_boundaries",
    "chunk_hash",
    "compress",
    "decompress",
    "file_hash",
    "hash_chunks",
    "hash_file",
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
