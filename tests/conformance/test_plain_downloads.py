"""/download and /download-hash: what tools that know only HTTP get."""

from __future__ import annotations

import base64
import hashlib
import json
import random
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.craft import chunk_hash, hex_form

REPO = "plain/files"
BIG = random.Random(7).randbytes(3_000_000)
BIG_SHA256 = hashlib.sha256(BIG).hexdigest()
ODD_NAME = 'odd "näme" %41;.bin'
SMALL = {"README.md": b"hello\n", "empty.txt": b"", f"sub dir/{ODD_NAME}": b"odd"}


class Hub:
    """A server and a client that may write to it."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.http = httpx.Client(trust_env=False, timeout=20)
        self.auth = {"authorization": f"Bearer {token}"}

    def create(self, repo: str, kind: str = "model", *, private: bool = False) -> None:
        namespace, name = repo.split("/")
        body = {"name": name, "organization": namespace, "type": kind, "private": private}
        made = self.http.post(f"{self.url}/api/repos/create", json=body, headers=self.auth)
        assert made.status_code == 200, made.text

    def commit(self, repo: str, *lines: dict[str, object], kind: str = "models", revision: str = "main") -> str:
        body = "\n".join(json.dumps(line) for line in ({"key": "header", "value": {"summary": "x"}}, *lines))
        made = self.http.post(
            f"{self.url}/api/{kind}/{repo}/commit/{quote(revision, safe='')}",
            content=body,
            headers={**self.auth, "content-type": "application/x-ndjson"},
        )
        assert made.status_code == 200, made.text
        oid: str = made.json()["commitOid"]
        return oid

    def put_lfs(self, repo: str, content: bytes) -> None:
        oid = hashlib.sha256(content).hexdigest()
        asked = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": oid, "size": len(content)}]}
        made = self.http.post(f"{self.url}/{repo}.git/info/lfs/objects/batch", json=asked, headers=self.auth)
        assert made.status_code == 200, made.text
        actions = made.json()["objects"][0].get("actions")
        if actions:
            put = self.http.put(actions["upload"]["href"], content=content)
            assert put.status_code == 200, put.text

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.request(method, self.url + path, headers=named)


def file(path: str, content: bytes) -> dict[str, object]:
    encoded = base64.b64encode(content).decode()
    return {"key": "file", "value": {"path": path, "content": encoded, "encoding": "base64"}}


def lfs_file(path: str, content: bytes) -> dict[str, object]:
    oid = hashlib.sha256(content).hexdigest()
    return {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": oid, "size": len(content)}}


@pytest.fixture(scope="module")
def hub(server: ServerProcess, write_token: str) -> Iterator[Hub]:
    hub = Hub(server.url, write_token)
    with hub.http:
        hub.create(REPO)
        hub.put_lfs(REPO, BIG)
        lines = [file(path, content) for path, content in SMALL.items()]
        hub.commit(REPO, *lines, lfs_file("model.bin", BIG))
        yield hub


def test_whole_files(hub: Hub) -> None:
    for path, content in {**SMALL, "model.bin": BIG}.items():
        answer = hub.get(f"/download/{REPO}/{quote(path)}")
        assert (answer.status_code, answer.content) == (200, content), answer.text
        assert answer.headers["content-length"] == str(len(content))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["accept-ranges"] == "bytes"
        head = hub.get(f"/download/{REPO}/{quote(path)}", "HEAD")
        assert head.content == b""
        same = {"content-length", "etag", "content-disposition", "x-repo-commit"}
        assert {name: head.headers[name] for name in same} == {name: answer.headers[name] for name in same}


def test_the_etag_is_the_hash(hub: Hub) -> None:
    etag = hub.get(f"/download/{REPO}/model.bin", "HEAD").headers["etag"]
    listed = hub.get(f"/api/models/{REPO}/tree/main").json()
    assert etag == f'"{next(item["xetHash"] for item in listed if item["path"] == "model.bin")}"'
    blob = hashlib.sha1(b"blob 6\0hello\n", usedforsecurity=False).hexdigest()
    assert hub.get(f"/download/{REPO}/README.md", "HEAD").headers["etag"] == f'"{blob}"'


@pytest.mark.parametrize(
    ("wanted", "start", "end"), [("0-0", 0, 1), ("1000000-2000000", 1_000_000, 2_000_001), ("-5", -5, None)]
)
def test_ranges(hub: Hub, wanted: str, start: int, end: int | None) -> None:
    answer = hub.get(f"/download/{REPO}/model.bin", range=f"bytes={wanted}")
    assert answer.status_code == 206
    assert answer.content == BIG[start:end]
    first = start % len(BIG)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(BIG)}"


def test_conditions(hub: Hub) -> None:
    path = f"/download/{REPO}/model.bin"
    etag = hub.get(path, "HEAD").headers["etag"]
    assert hub.get(path, if_none_match=etag).status_code == 304
    assert hub.get(path, if_none_match='"other"').status_code == 200
    assert hub.get(path, range="bytes=0-4", if_range=etag).content == BIG[:5]
    assert hub.get(path, range="bytes=0-4", if_range='"other"').content == BIG
    assert hub.get(path, range=f"bytes={len(BIG)}-").status_code == 416


def test_a_date_proves_nothing(hub: Hub) -> None:
    hub.create("plain/moves")
    hub.commit("plain/moves", file("x", b"older"))
    hub.commit("plain/moves", file("x", b"newer"))
    answer = hub.get("/download/plain/moves/x")
    assert "last-modified" not in answer.headers
    now = answer.headers["date"]
    assert hub.get("/download/plain/moves/x", if_modified_since=now).content == b"newer"
    assert hub.get("/download/plain/moves/x", range="bytes=2-", if_range=now).content == b"newer"


def test_names_in_content_disposition(hub: Hub) -> None:
    plain = hub.get(f"/download/{REPO}/model.bin", "HEAD").headers["content-disposition"]
    assert plain == 'attachment; filename="model.bin"'
    odd = hub.get(f"/download/{REPO}/sub%20dir/{quote(ODD_NAME)}", "HEAD").headers["content-disposition"]
    assert odd == ("attachment; filename=\"odd _n_me_ _41_.bin\"; filename*=UTF-8''" + quote(ODD_NAME, safe=""))


def test_by_hash(hub: Hub) -> None:
    etag = hub.get(f"/download/{REPO}/model.bin", "HEAD").headers["etag"].strip('"')
    for digest in (etag, etag.upper(), BIG_SHA256):
        answer = hub.get(f"/download-hash/{digest}")
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"{etag}"')
        assert answer.content == BIG
    assert hub.get(f"/download-hash/{etag}", range="bytes=10-19").content == BIG[10:20]
    unknown = hub.get(f"/download-hash/{hex_form(chunk_hash(b'nobody has this'))}")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "file_not_found")


@pytest.mark.parametrize("digest", ["0" * 64, hashlib.sha256(b"").hexdigest()])
def test_the_empty_file_has_a_hash_too(hub: Hub, digest: str) -> None:
    for method in ("GET", "HEAD"):
        answer = hub.get(f"/download-hash/{digest}", method, range="bytes=0-")
        assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")


def test_revisions(hub: Hub) -> None:
    first = hub.get(f"/api/models/{REPO}").json()["sha"]
    made = hub.http.post(f"{hub.url}/api/models/{REPO}/branch/dev%2Fx", json={}, headers=hub.auth)
    assert made.status_code in {200, 201}, made.text
    second = hub.commit(REPO, file("README.md", b"changed"), revision="dev/x")
    path = f"/download/{REPO}/README.md"
    assert hub.get(path).content == b"hello\n"
    assert hub.get(f"{path}?revision=dev/x").content == b"changed"
    assert hub.get(f"{path}?revision=dev%2Fx").headers["x-repo-commit"] == second
    assert hub.get(f"{path}?revision={first}").content == b"hello\n"
    missing = hub.get(f"{path}?revision=nothing")
    assert (missing.status_code, missing.headers["x-error-code"]) == (404, "RevisionNotFound")


def test_what_is_not_there(hub: Hub) -> None:
    for path, code in (
        (f"/download/{REPO}/nothing", "EntryNotFound"),
        (f"/download/{REPO}/sub%20dir", "EntryNotFound"),
        ("/download/plain/nothing/x", "RepoNotFound"),
    ):
        for method in ("GET", "HEAD"):
            answer = hub.get(path, method)
            assert (answer.status_code, answer.headers["x-error-code"]) == (404, code)


def test_datasets_are_asked_for(hub: Hub) -> None:
    hub.create("plain/data", "dataset")
    hub.commit("plain/data", file("rows.csv", b"a,b\n"), kind="datasets")
    assert hub.get("/download/plain/data/rows.csv").status_code == 404
    assert hub.get("/download/plain/data/rows.csv?type=dataset").content == b"a,b\n"


def test_private_content_is_hidden_also_by_hash(hub: Hub) -> None:
    secret = random.Random(8).randbytes(200_000)
    hub.create("plain/secret", private=True)
    hub.put_lfs("plain/secret", secret)
    hub.commit("plain/secret", lfs_file("model.bin", secret))
    path, digest = "/download/plain/secret/model.bin", hashlib.sha256(secret).hexdigest()
    etag = hub.get(path, "HEAD", **hub.auth).headers["etag"].strip('"')
    for address in (path, f"/download-hash/{digest}", f"/download-hash/{etag}"):
        assert hub.get(address, **hub.auth).content == secret
        assert hub.get(address).status_code == 404
