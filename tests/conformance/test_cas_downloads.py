"""Reconstructions, signed xorb addresses and deduplication answers, over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sqlite3
import struct
from contextlib import closing

import httpx
import pytest

from tests.conformance.cas_client import Cas, file_hash, fresh
from tests.conformance.craft import Shard, ShardFile, Xorb, chunk_hash, chunk_header, hex_form, keyed


@pytest.fixture
def stored(cas: Cas) -> tuple[Cas, Xorb, Xorb]:
    """Two xorbs and a file: chunks 1..4 of the first, then chunk 0 of the second, then chunk 3 of the first."""
    one, two = fresh(30_000, 20_000, 10_000, 40_000, 9_000), fresh(50_000, 8_000)
    cas.post_xorb(one)
    cas.post_xorb(two)
    assert cas.post_shard(Shard([layout(one, two)], [one, two]).encode()).status_code == 200
    return cas, one, two


def layout(one: Xorb, two: Xorb) -> ShardFile:
    return ShardFile([(one, 1, 4), (two, 0, 1), (one, 3, 4)])


def content(one: Xorb, two: Xorb) -> bytes:
    return b"".join([*one.chunks[1:4], two.chunks[0], one.chunks[3]])


def name(one: Xorb, two: Xorb) -> bytes:
    return layout(one, two).encode()[:32]


def rebuild(cas: Cas, plan: dict, version: str) -> bytes:
    """What a client does: fetch each range, unpack its chunks, put the terms together."""
    chunks: dict[tuple[str, int], bytes] = {}
    entries = plan["fetch_info"] if version == "/v1" else plan["xorbs"]
    for xorb, fetches in entries.items():
        for fetch in fetches:
            ranges = (
                [(fetch["range"], fetch["url_range"])]
                if version == "/v1"
                else [(item["chunks"], item["bytes"]) for item in fetch["ranges"]]
            )
            for chunk_range, byte_range in ranges:
                headers = {"range": f"bytes={byte_range['start']}-{byte_range['end']}"}
                answer = cas.http.get(fetch["url"], headers=headers)
                assert answer.status_code == 206
                assert len(answer.content) == byte_range["end"] - byte_range["start"] + 1
                data, index = answer.content, chunk_range["start"]
                while data:
                    length = int.from_bytes(data[1:4], "little")
                    chunks[xorb, index] = data[8 : 8 + length]
                    data, index = data[8 + length :], index + 1
                assert index == chunk_range["end"]
    parts = []
    for term in plan["terms"]:
        part = b"".join(chunks[term["hash"], i] for i in range(term["range"]["start"], term["range"]["end"]))
        assert len(part) == term["unpacked_length"]
        parts.append(part)
    return b"".join(parts)[plan["offset_into_first_range"] :]


@pytest.mark.parametrize("version", ["/v1", "/v2"])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, None),
        (0, 0),
        (0, 159_999),
        (19_999, 20_000),
        (20_000, 29_999),
        (69_999, 70_000),
        (120_000, 10**12),
        (159_999, 159_999),
    ],
)
def test_reconstruction_of_any_range_gives_the_bytes(
    stored: tuple[Cas, Xorb, Xorb], version: str, start: int, end: int | None
) -> None:
    cas, one, two = stored
    headers = {} if end is None else {"range": f"bytes={start}-{end}"}
    answer = cas.reconstruction(name(one, two), version, **headers)
    assert answer.status_code == 200
    whole = content(one, two)
    wanted = whole[start:] if end is None else whole[start : end + 1]
    assert rebuild(cas, answer.json(), version)[: len(wanted)] == wanted


def test_range_past_the_end_is_416_and_malformed_is_400(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, one, two = stored
    past = cas.reconstruction(name(one, two), range="bytes=160000-")
    assert (past.status_code, past.headers["content-range"]) == (416, "bytes */160000")
    malformed = cas.reconstruction(name(one, two), range="bytes=9-1")
    assert (malformed.status_code, malformed.json()["code"]) == (400, "bad_range")


def test_file_of_another_repository_is_404(stored: tuple[Cas, Xorb, Xorb], write_token: str) -> None:
    cas, one, two = stored
    other = Cas(cas.server, write_token)
    assert other.reconstruction(name(one, two)).status_code == 404
    other.http.close()
    assert cas.reconstruction(chunk_hash(b"nobody")).status_code == 404
    assert cas.http.get(f"/v1/reconstructions/{hex_form(name(one, two))}").status_code == 401


def address(stored: tuple[Cas, Xorb, Xorb]) -> tuple[str, int, int]:
    cas, one, two = stored
    plan = cas.reconstruction(name(one, two), "/v1", range="bytes=20000-29999").json()
    fetch = plan["fetch_info"][hex_form(one.hash)][0]
    return fetch["url"], fetch["url_range"]["start"], fetch["url_range"]["end"]


def test_address_needs_no_token_and_opens_only_its_range(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, one, _ = stored
    url, start, end = address(stored)
    whole = one.body
    assert httpx.get(url, headers={"range": f"bytes={start}-{end}"}, trust_env=False).content == whole[start : end + 1]
    inner = cas.http.get(url, headers={"range": f"bytes={start + 3}-{end - 5}"})
    assert inner.content == whole[start + 3 : end - 4]
    for wider in (f"bytes={start - 1}-{end}", f"bytes={start}-{end + 1}", "bytes=-1"):
        assert cas.http.get(url, headers={"range": wider}).status_code == 403
    assert cas.http.get(url).json()["code"] == "range_not_signed"


@pytest.mark.parametrize("change", [("s=", "s=A"), ("e=", "e=1"), ("b=", "b=1")])
def test_changed_address_is_403(stored: tuple[Cas, Xorb, Xorb], change: tuple[str, str]) -> None:
    cas, *_ = stored
    url, start, end = address(stored)
    answer = cas.http.get(url.replace(*change), headers={"range": f"bytes={start}-{end}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "bad_signature")


def test_unknown_chunk_is_404(cas: Cas) -> None:
    answer = cas.http.get(f"/v1/chunks/default/{hex_form(chunk_hash(b'never'))}", headers=cas.write)
    assert (answer.status_code, answer.json()["code"]) == (404, "chunk_not_found")


def test_dedup_answer_is_a_keyed_shard_with_footer(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, one, two = stored
    first = hex_form(one.nodes[1][0])
    for path in ("/v1/chunks/default/", "/v1/chunks/default-merkledb/", "/chunks/default/"):
        answer = cas.http.get(path + first, headers=cas.write)
        assert answer.status_code == 200
    body = answer.content
    assert struct.unpack_from("<QQ", body, 32) == (2, 200)
    footer = body[-200:]
    assert struct.unpack_from("<Q", footer)[0] == 1
    file_offset, xorb_offset = struct.unpack_from("<QQ", footer, 8)
    key = footer[72:104]
    assert key != bytes(32)
    assert body[file_offset : file_offset + 32] == b"\xff" * 32
    seen = {}
    at = xorb_offset
    while body[at : at + 32] != b"\xff" * 32:
        xorb, count = body[at : at + 32], int.from_bytes(body[at + 36 : at + 40], "little")
        seen[xorb] = [body[at + 48 * (i + 1) : at + 48 * (i + 1) + 32] for i in range(count)]
        at += 48 * (count + 1)
    assert seen == {xorb.hash: [keyed(key, raw) for raw, _ in xorb.nodes] for xorb in (one, two)}
    assert cas.http.get(path + first, headers=cas.write).content == body
    assert hashlib.sha256(one.chunks[1]).digest() not in body


def shared_address(stored: tuple[Cas, Xorb, Xorb]) -> tuple[str, list[tuple[int, int]]]:
    """A file of chunks 0, 2 and 4 of the first xorb: its only address, and the byte ranges, ends included."""
    cas, one, _ = stored
    file = ShardFile([(one, 0, 1), (one, 2, 3), (one, 4, 5)])
    assert cas.post_shard(Shard([file], []).encode()).status_code == 200
    ((fetch,),) = cas.reconstruction(file.encode()[:32], "/v2").json()["xorbs"].values()
    return fetch["url"], [(part["bytes"]["start"], part["bytes"]["end"]) for part in fetch["ranges"]]


def test_ranges_of_a_xorb_share_an_address_and_may_come_in_one_answer(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, one, _ = stored
    url, ranges = shared_address(stored)
    whole = one.body
    assert [whole[start : last + 1] for start, last in ranges] == [
        chunk_header(len(one.chunks[at]), 0, len(one.chunks[at])) + one.chunks[at] for at in (0, 2, 4)
    ]
    for start, last in ranges:
        part = cas.http.get(url, headers={"range": f"bytes={start}-{last}"})
        assert (part.status_code, part.content) == (206, whole[start : last + 1])
    asked = ranges[0], (ranges[1][0] + 3, ranges[1][1]), ranges[2]
    header = {"range": "bytes=" + ", ".join(f"{start}-{last}" for start, last in asked)}
    answer = cas.http.get(url, headers=header)
    assert answer.status_code == 206
    assert answer.headers["content-length"] == str(len(answer.content))
    kind, _, boundary = answer.headers["content-type"].partition("; boundary=")
    assert kind == "multipart/byteranges"
    expected = b"".join(
        f"\r\n--{boundary}\r\ncontent-type: application/octet-stream\r\n"
        f"content-range: bytes {start}-{last}/{len(whole)}\r\n\r\n".encode()
        + whole[start : last + 1]
        for start, last in asked
    )
    assert answer.content == expected + f"\r\n--{boundary}--\r\n".encode()


@pytest.mark.parametrize("spread", ["{0}-{1},{3}-{5}", "{0}-{2},{3}-{4}", "{0}-{1},{1}-{1}", "{3}-{4},{0}-{1}", "0-"])
def test_a_shared_address_opens_nothing_between_its_ranges(stored: tuple[Cas, Xorb, Xorb], spread: str) -> None:
    cas, *_ = stored
    url, ranges = shared_address(stored)
    (first, end), (other, last), _ = ranges
    wanted = spread.format(first, end, end + 1, other, last, last + 1)
    answer = cas.http.get(url, headers={"range": f"bytes={wanted}"})
    assert (answer.status_code, answer.json()["code"]) == (403, "range_not_signed")


def test_conditions_are_for_one_range(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, one, _ = stored
    url, ((first, end), _, (other, last)) = shared_address(stored)
    headers = {"range": f"bytes={first}-{end},{other}-{last}", "if-range": f'"{hex_form(one.hash)}"'}
    assert cas.http.get(url, headers=headers).status_code == 403


def test_many_ranges_of_a_xorb_have_several_addresses(cas: Cas) -> None:
    xorb = fresh(*[1000 + at for at in range(80)])
    cas.post_xorb(xorb)
    file = ShardFile([(xorb, at, at + 1) for at in range(0, 80, 2)])
    assert cas.post_shard(Shard([file], [xorb]).encode()).status_code == 200
    plan = cas.reconstruction(file.encode()[:32], "/v2").json()
    (fetches,) = plan["xorbs"].values()
    assert [len(fetch["ranges"]) for fetch in fetches] == [32, 8]
    assert len({fetch["url"] for fetch in fetches}) == 2
    assert rebuild(cas, plan, "/v2") == b"".join(xorb.chunks[::2])


def test_head_of_a_xorb_gives_its_length(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, one, _ = stored
    answer = cas.http.head(f"/v1/xorbs/default/{hex_form(one.hash)}", headers=cas.read)
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(one.body)))


def test_file_hash_in_craft_agrees_with_a_shard(cas: Cas) -> None:
    xorb = fresh(9_000, 9_000)
    assert ShardFile([(xorb, 0, 2)]).encode()[:32] == file_hash(xorb)


def test_a_failed_if_range_does_not_open_the_whole_xorb(stored: tuple[Cas, Xorb, Xorb]) -> None:
    cas, *_ = stored
    url, start, end = address(stored)
    for condition in ('"x"', "Sat, 01 Jan 2000 00:00:00 GMT"):
        answer = cas.http.get(url, headers={"range": f"bytes={start}-{end}", "if-range": condition})
        assert (answer.status_code, answer.json()["code"]) == (403, "range_not_signed")
    two = cas.http.get(url, headers={"range": f"bytes={start}-{start},0-0"})
    assert two.status_code == 403


def test_dedup_answer_does_not_look_into_private_repositories(cas: Cas, write_token: str) -> None:
    known, secret = fresh(20_000), fresh(9_000)
    private = Cas(cas.server, write_token, private=True)
    for xorb in (known, secret):
        private.post_xorb(xorb)
    assert (
        private.post_shard(Shard([ShardFile([(known, 0, 1), (secret, 0, 1)])], [known, secret]).encode()).status_code
        == 200
    )
    path = f"/v1/chunks/default/{hex_form(known.nodes[0][0])}"
    assert secret.hash in private.http.get(path, headers=private.write).content
    assert cas.http.get(path, headers=cas.write).status_code == 404
    # The same chunk becomes known through a public file, the secret one does not.
    assert cas.post_shard(Shard([ShardFile([(known, 0, 1)])], [known]).encode()).status_code == 200
    answer = cas.http.get(path, headers=cas.write)
    assert answer.status_code == 200
    assert secret.hash not in answer.content
    private.http.close()


def test_unknown_xorb_is_404(cas: Cas) -> None:
    answer = cas.http.head(f"/v1/xorbs/default/{'7' * 64}", headers=cas.read)
    assert answer.status_code == 404
    with closing(sqlite3.connect(cas.server.data / "xetway.db")) as raw:
        key = raw.execute("SELECT value FROM secrets WHERE name = 'xorb-url'").fetchone()[0]
    signature = hmac.new(key, b"xorb\0" + f"{'7' * 64} 0-9 99999999999".encode(), "sha256").digest()[:24]
    query = f"b=0-9&e=99999999999&s={base64.urlsafe_b64encode(signature).decode()}"
    answer = cas.http.get(f"/xorb-data/{'7' * 64}?{query}", headers={"range": "bytes=0-8"})
    assert (answer.status_code, answer.json()["code"]) == (404, "xorb_not_found")


def test_damaged_xorb_is_not_relied_on_until_it_is_uploaded_again(cas: Cas) -> None:
    xorb = fresh(20_000, 30_000)
    shard = Shard([ShardFile([(xorb, 0, 2)])], [xorb]).encode()
    cas.post_xorb(xorb)
    cas.post_shard(shard)
    sha256 = hashlib.sha256(b"".join(xorb.chunks)).hexdigest()
    commit = [
        {"key": "header", "value": {"summary": "x"}},
        {"key": "lfsFile", "value": {"path": "f.bin", "algo": "sha256", "oid": sha256, "size": 50_000}},
    ]
    ndjson = b"".join(json.dumps(line).encode() + b"\n" for line in commit)

    (path,) = (cas.server.data / "xorbs").rglob(f"{hex_form(xorb.hash)}.xorb")
    whole = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(whole[:25_000] + bytes([whole[25_000] ^ 1]) + whole[25_001:])
    answer = cas.http.get(f"/download-hash/{hex_form(file_hash(xorb))}")
    assert (answer.status_code, answer.json()["code"]) == (500, "stored_data_corrupt")
    assert hex_form(xorb.hash) in cas.server.wait_for_log("request failed")

    assert cas.http.get(f"/v1/chunks/default/{hex_form(xorb.nodes[0][0])}", headers=cas.write).status_code == 404
    refusal = cas.post_shard(shard)
    assert (refusal.status_code, refusal.json()["code"]) == (400, "xorb_damaged")
    refusal = cas.http.post(f"/api/models/{cas.repo}/commit/main", content=ndjson, headers=cas.hub)
    assert (refusal.status_code, refusal.json()["code"]) == (400, "lfs_object_missing")

    assert cas.post_xorb(xorb).json() == {"was_inserted": False}
    assert cas.post_shard(shard).status_code == 200
    accepted = cas.http.post(f"/api/models/{cas.repo}/commit/main", content=ndjson, headers=cas.hub)
    assert accepted.status_code == 200, accepted.text
    assert cas.http.get(f"/download/{cas.repo}/f.bin").content == b"".join(xorb.chunks)
