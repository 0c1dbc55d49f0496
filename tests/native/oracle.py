"""The formats read plainly from the draft, in Python: slow, obvious, and independent of the Rust code.

Source: draft-denis-xet-03, and for the empty file and the byte order of SHA-256 what `hf_xet` 1.8.0 does.
"""

import struct

import blake3
import lz4.frame

from tests.native.gear_table import GEAR

MIN, MAX, MASK, WORD = 8192, 131_072, 0xFFFF_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF
DATA_KEY = bytes.fromhex("6697f5775b9550de3135cbaca597181c9de421109beb2b58b4d0b04b93adf229")
NODE_KEY = bytes.fromhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f")
VERIFICATION_KEY = bytes.fromhex("7f1857d6ce56ed66127ff913e7a5c3f3a4cd26d5b5db49e64124987f28fb94c3")
TAG = b"HFRepoMetaData\0" + bytes.fromhex("556967456a7b815783a5bdd95ccdd14aa9")
BOOKEND = b"\xff" * 32 + bytes(16)


def sm(seed, size):
    """SplitMix64, the generator of the test vectors."""
    out = bytearray()
    while len(out) < size:
        seed = (seed + 0x9E3779B97F4A7C15) & WORD
        word = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & WORD
        out += (word ^ (word >> 31)).to_bytes(8, "little")
    return bytes(out[:size])


def boundaries(data):
    ends, h, start = [], 0, 0
    for i, byte in enumerate(data):
        h = ((h << 1) + GEAR[byte]) & WORD
        size = i - start + 1
        if size >= MIN and (size >= MAX or h & MASK == 0):
            ends.append(i + 1)
            h, start = 0, i + 1
    if start < len(data):
        ends.append(len(data))
    return ends


def chunks(data):
    ends = boundaries(data)
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def keyed(key, data):
    return blake3.blake3(data, key=key).digest()


def text(raw):
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))


def raw(hex_text):
    return struct.pack("<4Q", *(int(hex_text[at : at + 16], 16) for at in range(0, 64, 16)))


def chunk_hash(data):
    return keyed(DATA_KEY, data)


def _cut(nodes):
    if len(nodes) <= 2:
        return len(nodes)
    end = min(9, len(nodes))
    for i in range(2, end):
        if int.from_bytes(nodes[i][0][24:], "little") % 4 == 0:
            return i + 1
    return end


def root(nodes):
    if not nodes:
        return bytes(32)
    while len(nodes) > 1:
        level = []
        while nodes:
            cut = _cut(nodes)
            lines = "".join(f"{text(child)} : {size}\n" for child, size in nodes[:cut])
            level.append((keyed(NODE_KEY, lines.encode()), sum(size for _, size in nodes[:cut])))
            nodes = nodes[cut:]
        nodes = level
    return nodes[0][0]


def file_hash(nodes, salt=bytes(32)):
    return keyed(salt, root(nodes)) if nodes else bytes(32)


def verification_hash(hashes):
    return keyed(VERIFICATION_KEY, b"".join(hashes))


def nodes_of(data):
    return [(chunk_hash(chunk), len(chunk)) for chunk in chunks(data)]


def group(data):
    return b"".join(data[at::4] for at in range(4))


def ungroup(grouped):
    out = bytearray(len(grouped))
    at = 0
    for plane in range(4):
        size = len(out[plane::4])
        out[plane::4] = grouped[at : at + size]
        at += size
    return bytes(out)


def encode(chunk, scheme):
    payload = {0: lambda: chunk, 1: lambda: lz4.frame.compress(chunk), 2: lambda: lz4.frame.compress(group(chunk))}[
        scheme
    ]()
    return chunk_header(len(payload), scheme, len(chunk)) + payload


def chunk_header(payload_bytes, scheme, raw_bytes, version=0):
    return bytes([version]) + payload_bytes.to_bytes(3, "little") + bytes([scheme]) + raw_bytes.to_bytes(3, "little")


def decode(data):
    """All chunks of a chunk sequence, as (scheme, raw bytes, end)."""
    at = 0
    while at < len(data) and data[at : at + 7] != b"XETBLOB":
        payload_bytes = int.from_bytes(data[at + 1 : at + 4], "little")
        raw_bytes = int.from_bytes(data[at + 5 : at + 8], "little")
        payload = data[at + 8 : at + 8 + payload_bytes]
        scheme = data[at + 4]
        chunk = payload if scheme == 0 else lz4.frame.decompress(payload)
        chunk = ungroup(chunk) if scheme == 2 else chunk
        assert len(chunk) == raw_bytes
        at += 8 + payload_bytes
        yield scheme, chunk, at


def xorb(parts, schemes):
    """Serialised chunk data, hash, and (hash, raw length, end) of each chunk."""
    data, listed = b"", []
    for chunk, scheme in zip(parts, schemes, strict=True):
        data += encode(chunk, scheme)
        listed.append((chunk_hash(chunk), len(chunk), len(data)))
    return data, root([(chunk, size) for chunk, size, _ in listed]), listed


def footer(xorb_hash, listed, version=1):
    count = struct.pack("<I", len(listed))
    hashes = b"".join(chunk for chunk, _, _ in listed)
    ends = b"".join(struct.pack("<I", end) for _, _, end in listed)
    if version == 0:
        out = b"XETBLOB\0" + xorb_hash + count + ends + hashes + bytes(16)
        return out + struct.pack("<I", len(out))
    raw_ends, total = b"", 0
    for _, size, _ in listed:
        total += size
        raw_ends += struct.pack("<I", total)
    boundary = b"XBLBBND\1" + count + ends + raw_ends
    hash_section = b"XBLBHSH\0" + count + hashes
    tail = 4 + 4 + 4 + 16
    out = b"XETBLOB\1" + xorb_hash + hash_section + boundary + count
    out += struct.pack("<II", len(hash_section) + len(boundary) + tail, len(boundary) + tail) + bytes(16)
    return out + struct.pack("<I", len(out))


def swap(digest):
    return struct.pack(">4Q", *struct.unpack("<4Q", digest))


def shard(files, xorbs, footer_bytes=0):
    """Files as (hash, [(xorb, length, start, end)], proofs or None, sha256 or None), xorbs as (hash, listed)."""
    out = TAG + struct.pack("<QQ", 2, footer_bytes)
    for file, terms, proofs, sha256 in files:
        flags = (proofs is not None) << 31 | (sha256 is not None) << 30
        out += file + struct.pack("<IIQ", flags, len(terms), 0)
        out += b"".join(term[0] + struct.pack("<4I", 0, *term[1:]) for term in terms)
        out += b"".join(proof + bytes(16) for proof in proofs or ())
        out += b"" if sha256 is None else swap(sha256) + bytes(16)
    out += BOOKEND
    for name, listed in xorbs:
        total = sum(size for _, size, _ in listed)
        out += name + struct.pack("<4I", 0, len(listed), total, 0)
        offset = 0
        for chunk, size, _ in listed:
            out += chunk + struct.pack("<4I", offset, size, 0, 0)
            offset += size
    return out + BOOKEND


def shard_footer(files_at, xorbs_at, end, key=bytes(32), created_s=0, expiry_s=0, sums=(0, 0, 0)):
    offsets = (1, files_at, xorbs_at, end, 0, end, 0, end, 0)
    return (
        struct.pack("<9Q", *offsets)
        + key
        + struct.pack("<QQ", created_s, expiry_s)
        + bytes(48)
        + struct.pack("<4Q", *sums, end)
    )
