"""What clients see of files: listings, resolve, content by hash."""

from __future__ import annotations

import hashlib
import os

import pytest

from tests.unit.hub_driver import HubDriver, put, put_lfs
from xetway._native import Hash
from xetway.errors import StoreCorruptionError
from xetway.hub.git import object_id
from xetway.hub.objects import get_blobs, get_content

API = "/api/models/org/m"


def test_listings(hub: HubDriver) -> None:
    sha256 = hub.upload(b"weights")
    hub.now += 100
    head = hub.commit(put("d/e/a.txt", b"1"), put_lfs("w.bin", sha256), title="files")["commitOid"]
    top = {item["path"]: item for item in hub.get(f"{API}/tree/main")}
    assert set(top) == {".gitattributes", "d", "w.bin"}
    file = hub.store.file_by_sha256(1, bytes.fromhex(sha256))
    assert file is not None
    assert top["w.bin"]["lfs"] == {"oid": sha256, "size": 7, "pointerSize": 126}
    assert top["w.bin"]["xetHash"] == str(file.hash)
    assert top["w.bin"]["size"] == 7
    assert top["d"]["type"] == "directory"
    assert "xetHash" not in top[".gitattributes"]
    assert [item["path"] for item in hub.get(f"{API}/tree/main/d%2Fe")] == ["d/e/a.txt"]
    assert [item["path"] for item in hub.get(f"{API}/tree/main/d?recursive=true")] == ["d/e", "d/e/a.txt"]
    for path in ("none", "w.bin", "d/e/a.txt"):
        assert hub.send("GET", f"{API}/tree/main/{path}", status=404).headers["x-error-code"] == "EntryNotFound"
    last = {item["path"]: item["lastCommit"] for item in hub.get(f"{API}/tree/main?expand=true&recursive=true")}
    assert last["d"] == {"id": head, "title": "files", "date": "2023-11-14T22:15:00.000Z"}
    assert last[".gitattributes"]["title"] == "initial commit"
    form = b"paths=d&paths=w.bin&paths=none&paths=d%2Fe%2Fa.txt&expand=False"
    found = hub.send(
        "POST", f"{API}/paths-info/main", form, headers={"content-type": "application/x-www-form-urlencoded"}
    )
    assert [item["path"] for item in found.json] == ["d", "w.bin", "d/e/a.txt"]
    body = {"paths": ["d/e"], "expand": True}
    found = hub.send("POST", f"{API}/paths-info/main", body, headers={"content-type": "application/json"})
    assert [(item["path"], item["lastCommit"]["id"]) for item in found.json] == [("d/e", head)]
    info = hub.get(f"{API}?blobs=true")
    siblings = {item["rfilename"]: item for item in info["siblings"]}
    assert siblings["w.bin"]["lfs"] == {"sha256": sha256, "size": 7, "pointerSize": 126}
    assert siblings["d/e/a.txt"]["blobId"] == "56a6051ca2b02b04ef92d5150c9ef600403cb1de"
    assert info["sha"] == head
    assert "siblings" not in hub.get(f"{API}?expand=lastModified")


def test_limits_of_requests(hub: HubDriver) -> None:
    files = [{"path": "x", "size": 1}] * 1001
    assert hub.send("POST", f"{API}/preupload/main", {"files": files}, status=400).json["code"] == "too_many_files"
    copies = {"target": {"name": "org/m"}, "files": [{"sha256": "0" * 64}] * 1001}
    assert hub.send("POST", f"{API}/lfs-files/duplicate", copies, status=400).json["code"] == "too_many_files"
    asked = {"paths": ["x"] * 10_001}
    for body, kind, code in (
        (asked, "application/json", "too_many_paths"),
        (b"paths=x&" * 20_000, "application/x-www-form-urlencoded", "bad_form"),
        (b"paths=%ff", "application/x-www-form-urlencoded", "bad_form"),
        (b"paths=\xff", "application/x-www-form-urlencoded", "bad_form"),
        (b"{", "application/json", "bad_json"),
    ):
        answer = hub.send("POST", f"{API}/paths-info/main", body, headers={"content-type": kind}, status=400)
        assert answer.json["code"] == code
    for target in (f"{API}/commits/main?cursor=x", "/api/models?limit=x", "/api/models?cursor=-1"):
        assert hub.send("GET", target, status=400).json["code"] == "bad_query"


@pytest.mark.parametrize("folder", ["", "/d"])
def test_trees_page_by_page(hub: HubDriver, folder: str) -> None:
    names = [f"d/{number % 7}/{'x' * (number % 3 + 1)}/{number}.txt" for number in range(1500)]
    hub.commit(
        *(put(name, b"1") for name in names), put("d.txt", b""), put("d/1-", b""), put("d/1.txt", b""), put("d0", b"")
    )
    page = hub.send("GET", f"{API}/tree/main{folder}?recursive=True&expand=False")
    assert len(page.json) == 1000
    seen = [item["path"] for item in page.json]
    while "link" in page.headers:
        page = hub.send("GET", page.headers["link"].partition("hub.test")[2].partition(">")[0])
        seen += [item["path"] for item in page.json]
    assert len(seen) == len(set(seen))
    files = {*names, "d/1-", "d/1.txt"} | (set() if folder else {"d.txt", "d0", ".gitattributes", "d"})
    assert set(seen) == files | {path.rpartition("/")[0] for path in names} | {f"d/{number}" for number in range(7)}


def test_resolve(hub: HubDriver) -> None:
    data = os.urandom(200_000)
    sha256 = hub.upload(data)
    head = hub.commit(put("a b.txt", b"text"), put_lfs("w.bin", sha256), put("page.html", b"<script>"))["commitOid"]
    answer = hub.send("HEAD", "/org/m/resolve/main/w.bin", token=None)
    file = hub.store.file_by_sha256(1, bytes.fromhex(sha256))
    assert file is not None
    expected = {
        "x-repo-commit": head,
        "etag": f'"{sha256}"',
        "x-linked-etag": f'"{sha256}"',
        "x-linked-size": "200000",
        "content-length": "200000",
        "accept-ranges": "bytes",
        "x-xet-hash": str(file.hash),
        "x-xet-refresh-route": f"{API}/xet-read-token/{head}",
        "link": f'<http://hub.test{API}/xet-read-token/{head}>; rel="xet-auth"',
    }
    assert expected.items() <= answer.headers.items()
    assert answer.body == b""
    assert hub.send("GET", "/org/m/resolve/main/w.bin").body == data
    part = hub.send("GET", "/org/m/resolve/main/w.bin", headers={"range": "bytes=0-0"}, status=206)
    assert (part.body, part.headers["content-range"]) == (data[:1], "bytes 0-0/200000")
    small = hub.send("GET", f"/org/m/resolve/{head}/a%20b.txt")
    assert small.headers["etag"] == f'"{object_id("blob", b"text").hex()}"'
    assert small.body == b"text"
    assert small.headers["content-disposition"].endswith('filename="a b.txt"')
    assert "x-xet-hash" not in small.headers
    page = hub.send("GET", "/org/m/resolve/main/page.html")
    assert page.headers["content-type"].startswith("text/plain")
    assert page.headers["x-content-type-options"] == "nosniff"
    missing = hub.send("HEAD", "/org/m/resolve/main/none", status=404)
    assert (missing.headers["x-error-code"], missing.headers["x-repo-commit"]) == ("EntryNotFound", head)
    for target in (
        "/none/m/resolve/main/x",
        "/gpt2/resolve/main/x",
        "/api/models/gpt2",
        "/datasets/org/m/resolve/main/x",
    ):
        assert hub.send("GET", target, status=404).headers["x-error-code"] == "RepoNotFound"


def test_damaged_content_is_not_given_out(hub: HubDriver) -> None:
    hub.commit(put("a.txt", b"text"))
    with hub.store.db.write() as tx:
        tx.execute("UPDATE blobs SET data = ? WHERE size = 4", (b"tex7",))
    answer = hub.send("GET", "/org/m/resolve/main/a.txt", status=500)
    assert answer.json["code"] == "stored_data_corrupt"
    with hub.store.db.read() as tx, pytest.raises(StoreCorruptionError):
        blobs = get_blobs(tx, [row[0] for row in tx.execute("SELECT oid FROM blobs WHERE size = 4")])
        get_content(tx, *blobs.values())


def test_xet_tokens(hub: HubDriver) -> None:
    for scope in ("read", "write"):
        answer = hub.send("GET", f"{API}/xet-{scope}-token/main")
        assert answer.headers["x-xet-cas-url"] == answer.json["casUrl"] == "http://hub.test/-/cas/1"
        assert answer.headers["x-xet-access-token"] == answer.json["accessToken"]
        assert int(answer.headers["x-xet-token-expiration"]) == answer.json["exp"]
        grant = hub.hub.xet_tokens.check(f"Bearer {answer.json['accessToken']}")
        assert (grant.repo_id, grant.scope, grant.user) == (1, scope, "alice")
    hub.send("GET", f"{API}/xet-write-token/None?create_pr=1")
    hub.send("GET", f"{API}/xet-read-token/none", status=404)


def test_files_by_hash(hub: HubDriver) -> None:
    from tests.unit.http_driver import request
    from xetway.errors import NotFoundError
    from xetway.hub.content import open_blob, readable_content

    sha256 = hub.upload(b"weights")
    file = hub.store.file_by_sha256(1, bytes.fromhex(sha256))
    assert file is not None
    hub.commit(put("notes.txt", b"Hello World!"))
    small = (
        "a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165",
        hashlib.sha256(b"Hello World!").hexdigest(),
    )
    for digests, content in (((str(file.hash), sha256, sha256.upper()), b"weights"), (small, b"Hello World!")):
        for digest in digests:
            found = readable_content(hub.hub, request(), digest)
            assert str(found.hash) == digests[0]
            assert open_blob(hub.store, found.blob, 0, found.blob.size).read_parts() == [content]
    hub.send("PUT", f"{API}/settings", {"private": True})
    for digest in (sha256, *small):
        with pytest.raises(NotFoundError):
            readable_content(hub.hub, request(), digest)
    owner = request(headers=[("authorization", f"Bearer {hub.token}")])
    assert readable_content(hub.hub, owner, sha256).hash == file.hash
    assert str(readable_content(hub.hub, owner, small[1]).hash) == small[0]
    with pytest.raises(NotFoundError):
        readable_content(hub.hub, owner, "1" * 64)
    for digest in ("0" * 64, hashlib.sha256().hexdigest()):
        empty = readable_content(hub.hub, request(), digest)
        assert (empty.hash, empty.blob.size) == (Hash.ZERO, 0)
