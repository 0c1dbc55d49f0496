"""What the CAS takes and what it refuses, over HTTP, with bytes built by hand (craft.py).

After each refusal nothing is kept: the xorb folder has the same files as before, and the file is unknown.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import lz4.frame
import pytest

from tests.conformance.cas_client import Cas, file_hash, fresh
from tests.conformance.craft import (
    BOOKEND,
    SHARD_TAG,
    WITH_METADATA,
    Shard,
    ShardFile,
    Xorb,
    chunk_hash,
    chunk_header,
    hex_form,
    xorb_block,
)

LZ4_OF_100_ZEROS = lz4.frame.compress(bytes(100), content_checksum=False, store_size=False)


def refused(answer: httpx.Response, code: str) -> None:
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] == code, answer.text
    assert "\n" not in answer.json()["error"]


def test_xorb_is_stored_once(cas: Cas) -> None:
    xorb = fresh(20_000, 9_000)
    assert cas.post_xorb(xorb).json() == {"was_inserted": True}
    assert cas.post_xorb(xorb).json() == {"was_inserted": False}
    assert cas.temporary() == []


@pytest.mark.parametrize("prefix", ["/v1/xorbs/default", "/v1/xorbs/default-merkledb", "/xorbs/default"])
def test_xorb_routes_of_all_clients(cas: Cas, prefix: str) -> None:
    xorb = fresh(5_000)
    answer = cas.http.post(f"{prefix}/{hex_form(xorb.hash)}", content=xorb.body, headers=cas.write)
    assert answer.json() == {"was_inserted": True}


BROKEN_XORBS: dict[str, Callable[[Xorb], tuple[bytes, str]]] = {
    "empty": lambda _: (b"", "xorb_empty"),
    "flipped byte": lambda x: (x.body[:-1] + bytes([x.body[-1] ^ 1]), "xorb_hash"),
    "one byte short": lambda x: (x.body[:-1], "truncated"),
    "cut in a header": lambda x: (x.body + b"\0\1\0", "truncated"),
    "chunk version 1": lambda _: (chunk_header(4, 0, 4, version=1) + b"abcd", "chunk_version"),
    "scheme 3": lambda _: (chunk_header(4, 3, 4) + b"abcd", "bad_scheme"),
    "scheme 99": lambda _: (chunk_header(4, 99, 4) + b"abcd", "bad_scheme"),
    "lengths differ uncompressed": lambda _: (chunk_header(4, 0, 5) + b"abcd", "decoded_length"),
    "chunk too large": lambda _: (chunk_header(131_073, 0, 131_073) + bytes(131_073), "chunk_too_large"),
    "empty chunk": lambda _: (chunk_header(0, 0, 0), "chunk_empty"),
    "lz4 garbage": lambda _: (chunk_header(8, 1, 100) + b"garbage!", "lz4_magic"),
    "more lz4 than it says": lambda _: (
        chunk_header(len(LZ4_OF_100_ZEROS), 1, 10) + LZ4_OF_100_ZEROS,
        "decoded_length",
    ),
    "less lz4 than it says": lambda _: (
        chunk_header(len(LZ4_OF_100_ZEROS), 1, 101) + LZ4_OF_100_ZEROS,
        "decoded_length",
    ),
}


@pytest.mark.parametrize("name", BROKEN_XORBS)
def test_broken_xorb_is_refused_and_nothing_kept(cas: Cas, name: str) -> None:
    xorb = fresh(12_345)
    body, code = BROKEN_XORBS[name](xorb)
    before = cas.xorb_files()
    answer = cas.post_xorb(xorb, body)
    refused(answer, code)
    assert cas.xorb_files() == before
    assert cas.temporary() == []


def test_xorb_under_another_name_is_refused(cas: Cas) -> None:
    xorb, other = fresh(10_000), fresh(10_000)
    before = cas.xorb_files()
    refused(cas.post_xorb(xorb, name=hex_form(other.hash)), "xorb_hash")
    assert cas.xorb_files() == before


def test_xorb_with_more_chunks_than_allowed_is_refused(cas: Cas) -> None:
    xorb = Xorb([b"%08d" % index for index in range(8_193)])
    before = cas.xorb_files()
    refused(cas.post_xorb(xorb), "xorb_chunks")
    assert cas.xorb_files() == before


def test_xorb_with_the_most_chunks_allowed_is_stored(cas: Cas) -> None:
    assert cas.post_xorb(Xorb([b"%08d" % index for index in range(8_192)])).status_code == 200


def test_largest_xorb_is_stored_and_one_byte_more_refused(cas: Cas) -> None:
    chunk = hashlib.shake_128(b"large").digest(131_072)
    largest = Xorb([index.to_bytes(4, "little") + chunk[4:] for index in range(512)])
    assert cas.post_xorb(largest).json() == {"was_inserted": True}
    before = cas.xorb_files()
    refused(cas.post_xorb(Xorb([*largest.chunks, b"x"])), "xorb_raw_bytes")
    assert cas.xorb_files() == before


def test_body_beyond_any_xorb_is_413(cas: Cas) -> None:
    xorb = fresh(1_000)
    answer = cas.post_xorb(xorb, xorb.body + bytes(68_000_000))
    assert (answer.status_code, answer.json()["code"]) in {(413, "body_too_large"), (400, "chunk_empty")}


def test_shard_makes_its_files_readable(cas: Cas) -> None:
    xorb = fresh(30_000, 20_000, 10_000)
    cas.post_xorb(xorb)
    shard = Shard([ShardFile([(xorb, 0, 3)])], [xorb]).encode()
    assert cas.post_shard(shard).json() == {"result": 1}
    assert cas.post_shard(shard).json() == {"result": 0}
    for version in ("/v1", "/v2", ""):
        answer = cas.reconstruction(file_hash(xorb), version).json()
        assert [term["unpacked_length"] for term in answer["terms"]] == [60_000]


@pytest.mark.parametrize("version", ["/v1", "/v2", ""])
def test_shard_routes_of_all_clients(cas: Cas, version: str) -> None:
    xorb = fresh(9_000)
    cas.post_xorb(xorb)
    answer = cas.post_shard(Shard([ShardFile([(xorb, 0, 1)])], [xorb]).encode(), version)
    expected = {"type": "result"} if version == "/v2" else {"result": 1}
    assert json.loads(answer.text.splitlines()[-1]) == expected


def test_shard_that_announces_a_footer_it_does_not_have_is_taken(cas: Cas) -> None:
    xorb = fresh(9_000)
    cas.post_xorb(xorb)
    body = Shard([ShardFile([(xorb, 0, 1)])], [xorb]).encode()
    old_client = body[:40] + (200).to_bytes(8, "little") + body[48:]
    assert cas.post_shard(old_client).json() == {"result": 1}


def test_empty_file_is_taken(cas: Cas) -> None:
    body = Shard([ShardFile([], hash=bytes(32), sha256=bytes(32))]).encode()
    assert cas.post_shard(body).status_code == 200
    answer = cas.reconstruction(bytes(32)).json()
    assert answer == {"offset_into_first_range": 0, "terms": [], "fetch_info": {}}


def lies(xorb: Xorb, other: Xorb) -> dict[str, tuple[bytes, str]]:
    """Shards that are wrong in one respect each, with the code of the refusal. `other` is not stored."""
    good = ShardFile([(xorb, 0, 3)])
    size = sum(map(len, xorb.chunks))
    wrong_nodes = [(chunk_hash(b"?"), xorb.nodes[0][1]), *xorb.nodes[1:]]
    wrong_lengths = [(raw, length + 1) for raw, length in xorb.nodes]

    def framed(blocks: bytes) -> bytes:
        return SHARD_TAG + Shard().encode()[32:48] + BOOKEND + blocks + BOOKEND

    return {
        "unknown xorb in a term": (Shard([ShardFile([(other, 0, 3)])]).encode(), "unknown_xorb"),
        "unknown xorb described": (Shard([], [other]).encode(), "unknown_xorb"),
        "chunk beyond the xorb": (
            Shard([ShardFile([(xorb, 0, 4)], verification=[bytes(32)], lengths=[size])]).encode(),
            "chunk_range",
        ),
        "empty chunk range": (Shard([ShardFile([(xorb, 1, 1)], hash=file_hash(xorb))]).encode(), "chunk_range"),
        "reversed chunk range": (
            Shard([ShardFile([(xorb, 2, 1)], hash=file_hash(xorb), verification=[bytes(32)])]).encode(),
            "chunk_range",
        ),
        "term longer than its chunks": (
            Shard([ShardFile([(xorb, 0, 3)], lengths=[size + 1])]).encode(),
            "length_mismatch",
        ),
        "term shorter than its chunks": (Shard([ShardFile([(xorb, 0, 3)], lengths=[1])]).encode(), "length_mismatch"),
        "wrong verification hash": (
            Shard([ShardFile([(xorb, 0, 3)], verification=[bytes(32)])]).encode(),
            "verification_mismatch",
        ),
        "no verification hashes": (
            Shard([ShardFile([(xorb, 0, 3)], flags=WITH_METADATA)]).encode(),
            "verification_missing",
        ),
        "wrong file hash": (Shard([ShardFile([(xorb, 0, 3)], hash=chunk_hash(b"?"))]).encode(), "file_hash_mismatch"),
        "wrong sha256": (Shard([ShardFile([(xorb, 0, 3)], sha256=b"\1" * 32)]).encode(), "sha256_mismatch"),
        "second file wrong": (
            Shard([good, ShardFile([(xorb, 0, 2)], verification=[bytes(32)])]).encode(),
            "verification_mismatch",
        ),
        "other chunks described": (framed(xorb_block(xorb, nodes=wrong_nodes)), "chunk_mismatch"),
        "other lengths described": (framed(xorb_block(xorb, nodes=wrong_lengths)), "length_mismatch"),
        "fewer chunks described": (framed(xorb_block(xorb, nodes=xorb.nodes[:2])), "chunk_mismatch"),
        "not a shard": (b"PK\3\4" + bytes(200), "shard_tag"),
        "empty": (b"", "truncated"),
    }


@pytest.mark.parametrize("version", ["/v1", "/v2"])
@pytest.mark.parametrize("name", lies(fresh(1, 1, 1), fresh(1, 1, 1)))
def test_lying_shard_is_refused_and_changes_nothing(cas: Cas, name: str, version: str) -> None:
    xorb, other = fresh(30_000, 20_000, 10_000), fresh(9_000, 9_000, 9_000)
    cas.post_xorb(xorb)
    body, code = lies(xorb, other)[name]
    refused(cas.post_shard(body, version), code)
    assert cas.reconstruction(file_hash(xorb)).status_code == 404


def test_file_in_too_many_pieces_is_refused(cas: Cas) -> None:
    xorb = fresh(9, 9)
    cas.post_xorb(xorb)
    crumbs = Shard([ShardFile([(xorb, 0, 1), (xorb, 1, 2)] * 2_100)]).encode()
    refused(cas.post_shard(crumbs), "too_many_terms")


def test_shard_cut_anywhere_is_refused(cas: Cas) -> None:
    xorb = fresh(3_000, 2_000)
    cas.post_xorb(xorb)
    body = Shard([ShardFile([(xorb, 0, 2)])], [xorb]).encode()
    for length in range(0, len(body), 7):
        assert cas.post_shard(body[:length]).status_code == 400, length
    assert cas.reconstruction(file_hash(xorb)).status_code == 404


def test_write_needs_a_write_token(cas: Cas) -> None:
    xorb = fresh(1_000)
    path = f"/v1/xorbs/default/{hex_form(xorb.hash)}"
    for headers, status in (({}, 401), (cas.read, 403), (cas.hub, 401)):
        answer = cas.http.post(path, content=xorb.body, headers=headers)
        assert answer.status_code == status, answer.text
    assert cas.http.post("/v1/shards", content=b"", headers=cas.read).status_code == 403


def test_grants_are_not_offered_with_exactly_404(cas: Cas) -> None:
    grant = {"length": 10, "checksum": {"algo": "crc64nvme", "value": "1"}}
    answer = cas.http.post(f"/v1/xorb-grants/default/{'0' * 64}", json=grant, headers=cas.write)
    assert answer.status_code == 404


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/shards"), ("PUT", "/v1/xorbs/default/" + "0" * 64), ("GET", "/v3/x"), ("POST", "/v2/nothing")],
)
def test_unknown_cas_routes_are_404(cas: Cas, method: str, path: str) -> None:
    assert cas.http.request(method, path, headers=cas.write).status_code == 404


def test_telemetry_is_answered(cas: Cas) -> None:
    assert cas.http.post("/v1/telemetry", json={"a": 1}).status_code == 200


def test_clients_that_send_a_shard_slowly_keep_nobody_waiting(cas: Cas) -> None:
    address = urlsplit(cas.server.url)
    head = (
        f"POST /v1/shards HTTP/1.1\r\nhost: localhost\r\nauthorization: {cas.write['authorization']}\r\n"
        "content-length: 10000\r\n\r\nHFRepo"
    )
    slow = [socket.create_connection((address.hostname, address.port)) for _ in range(8)]
    for connection in slow:
        connection.sendall(head.encode())
    xorb = fresh(9_000)
    cas.post_xorb(xorb)
    assert cas.post_shard(Shard([ShardFile([(xorb, 0, 1)])], [xorb]).encode()).json() == {"result": 1}
    for connection in slow:
        connection.close()


def test_a_shard_that_names_a_file_of_terabytes_keeps_nobody_waiting(cas: Cas) -> None:
    chunk = bytes(131_072)
    large = Xorb([chunk] * 512)
    cas.post_xorb(large)
    address = urlsplit(cas.server.url)
    endless = Shard([ShardFile([(large, 0, 512)] * 200, sha256=b"\1" * 32)]).encode()
    greedy = []
    for version in ("v1", "v2", "v2"):
        connection = socket.create_connection((address.hostname, address.port))
        head = (
            f"POST /{version}/shards HTTP/1.1\r\nhost: localhost\r\nauthorization: {cas.write['authorization']}\r\n"
            f"content-length: {len(endless)}\r\n\r\n"
        )
        connection.sendall(head.encode() + endless)
        greedy.append(connection)
    xorb = fresh(9_000)
    cas.post_xorb(xorb)
    assert cas.post_shard(Shard([ShardFile([(xorb, 0, 1)])], [xorb]).encode()).json() == {"result": 1}
    for connection in greedy:
        connection.close()
    cas.server.wait_for_log("client_left")
