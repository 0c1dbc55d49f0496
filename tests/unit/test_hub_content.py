"""What clients see of files: how to upload them, listings, resolve, LFS."""

from __future__ import annotations

import base64
import hashlib
import os
import time

import pytest

from tests.unit.hub_driver import HubDriver, put, put_lfs
from xetway._native import Hash
from xetway.errors import RequestError, StoreCorruptionError
from xetway.hub.git import object_id
from xetway.hub.objects import MAX_INLINE_BYTES, get_blobs, get_content
from xetway.hub.rules import IgnoreRules, LfsRules, Pattern, Steps

API = "/api/models/org/m"


def plan(hub: HubDriver, path: str, size: int, sample: bytes = b"text", revision: str = "main") -> dict[str, object]:
    body = {"files": [{"path": path, "size": size, "sample": base64.b64encode(sample).decode()}]}
    answer: dict[str, object] = hub.send("POST", f"{API}/preupload/{revision}", body).json["files"][0]
    assert answer["path"] == path
    assert answer["shouldIgnore"] is False
    return answer


@pytest.mark.parametrize(
    ("path", "size", "sample", "mode"),
    [
        ("a.txt", 10, b"text", "regular"),
        ("a.txt", MAX_INLINE_BYTES, b"text", "regular"),
        ("a.txt", MAX_INLINE_BYTES + 1, b"text", "lfs"),
        ("a.safetensors", 10, b"text", "lfs"),
        ("d/e/a.gguf", 10, b"text", "lfs"),
        ("a.dat", 10, b"te\0xt", "lfs"),
        ("a.dat", 0, b"", "regular"),
        ("a.bin", 0, b"", "regular"),
        ("a.bin.txt", 5, b"x", "regular"),
        ("saved_model/x/y", 5, b"x", "lfs"),
        ("events.out.tfevents.1", 5, b"x", "lfs"),
        ("caf\u00e9.bin", 5, b"x", "lfs"),
        ("a.json", 5, "\u00e9".encode(), "regular"),
    ],
)
def test_upload_modes(hub: HubDriver, path: str, size: int, sample: bytes, mode: str) -> None:
    assert plan(hub, path, size, sample)["uploadMode"] == mode


def test_attributes_of_the_revision_decide(hub: HubDriver) -> None:
    hub.send("POST", f"{API}/branch/dev", {})
    rules = b"*.txt filter=lfs\nsmall/*.txt -filter\n# *.md filter=lfs\n\n"
    hub.commit(put(".gitattributes", rules), revision="dev")
    assert plan(hub, "a.txt", 5)["uploadMode"] == "regular"
    assert plan(hub, "a.txt", 5, revision="dev")["uploadMode"] == "lfs"
    assert plan(hub, "small/a.txt", 5, revision="dev")["uploadMode"] == "regular"
    assert plan(hub, "a.safetensors", 5, revision="dev")["uploadMode"] == "regular"
    assert plan(hub, "a.md", 5, revision="dev")["uploadMode"] == "regular"


def test_what_is_there_is_named(hub: HubDriver) -> None:
    sha256 = hub.upload(b"weights")
    hub.commit(put("d/a.txt", b"1"), put_lfs("w.bin", sha256))
    assert plan(hub, "d/a.txt", 1)["oid"] == "56a6051ca2b02b04ef92d5150c9ef600403cb1de"
    assert plan(hub, "w.bin", 7)["oid"] == sha256
    for path in ("d", "none", "d/a.txt/x"):
        assert plan(hub, path, 1)["oid"] is None


@pytest.mark.parametrize(
    ("pattern", "path", "matched"),
    [
        ("*.bin", "a/b.bin", True),
        ("*.bin", "a/b.binx", False),
        ("a/*.bin", "a/b.bin", True),
        ("a/*.bin", "x/a/b.bin", False),
        ("/a.bin", "a.bin", True),
        ("/a.bin", "x/a.bin", False),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("**/z", "z", True),
        ("**/z", "a/z", True),
        ("a/**", "a/b/c", True),
        ("a/**", "b/a", False),
        ("a/**/*", "a/b", True),
        ("a?c", "x/abc", True),
        ("[ab].txt", "b.txt", True),
        ("*a*a*a*a*a*a*a*a*a*b", "a" * 250, False),
        ("**/" * 60 + "x", "a/" * 400 + "b", False),
        ("**", "a/b", True),
        ("/**", "a/b", True),
        ("a/**", "a", False),
        ("a/**/b/**/c", "a/b/x/b/y/c", True),
        ("a/**/b/**/c", "a/x/c", False),
        ("a/*x*/c", "a/oxo/c", True),
        ("a*c", "a/c", False),
        ("a/*/c", "a/b/b/c", False),
        ("x[!a-c]z", "xdz", True),
        ("x[^a-c]z", "xbz", False),
        ("[]]x", "]x", True),
        ("x[b-a]", "xb", True),
        ("a/x[!b]c", "a/x/c", False),
        ("x[y", "x[y", True),
        ("x[]", "x[]", True),
        ("x\\*y", "x*y", True),
        ("x\\*y", "xzy", False),
        ("x\\", "x\\", True),
        (".{2}|a+", ".{2}|a+", True),
        ("[&&--||~~]", "|", True),
    ],
)
def test_attribute_patterns(pattern: str, path: str, matched: bool) -> None:
    assert Pattern(pattern).matches(path, Steps()) is matched


def test_unusual_attributes() -> None:
    rules = LfsRules(
        '\n\r\n*\n* filter=lfs\n*.x filter\n*.y !filter\n*.z -filter\n"q" filter=lfs\n[attr]a filter=lfs\n',
        Steps(),
    )
    assert [rules.matches(f"f.{end}") for end in "wxyz"] == [True, False, False, False]


def test_matching_is_bounded() -> None:
    deep = "a/" * 63 + "f"
    rules = [f"**/a/{'a/**/' * 10}{'?' * (number % 3)}*{number:03}*f filter=lfs" for number in range(1_000)]
    began = time.process_time()
    assert not LfsRules("\n".join(rules), Steps()).matches(deep)
    assert time.process_time() - began < 5
    with pytest.raises(RequestError) as caught:
        LfsRules("\n".join(rules), Steps(100_000)).matches(deep)
    assert caught.value.code == "too_many_rules"
    ignored = IgnoreRules("*x\n" * 10, Steps(1_500))
    assert not ignored.matches("d/a")
    # The folder is decided already.
    assert not ignored.matches("d/b")
    with pytest.raises(RequestError):
        ignored.matches("e/a")


@pytest.mark.parametrize(
    "path", ["a//b", "a/.git/b", "a/" * 64 + "f", "a/" * 1_000_000 + "f", "a" + "\u0301\u0323" * 100_000]
)
def test_preupload_refuses_what_no_commit_takes(hub: HubDriver, path: str) -> None:
    began = time.process_time()
    body = {"files": [{"path": path, "size": 1}]}
    assert hub.send("POST", f"{API}/preupload/main", body, status=400).json["code"] == "bad_path"
    asked = {"paths": [path]}
    found = hub.send("POST", f"{API}/paths-info/main", asked, headers={"content-type": "application/json"}, status=None)
    assert found.json == []
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        ("*.log", ["a.log", "d/a.log", "a.log/x"], ["a.logx", "log"]),
        ("/build\n", ["build", "build/a/b"], ["d/build"]),
        ("build/", ["build/a", "d/build/a"], ["build", "d/build"]),
        ("docs/*.txt", ["docs/a.txt"], ["docs/d/a.txt", "x/docs/a.txt"]),
        ("**/cache", ["cache", "a/b/cache", "cache/x"], ["cached"]),
        ("*.log\n!keep.log", ["a.log"], ["keep.log", "d/keep.log"]),
        ("d/\n!d/a", ["d/a"], ["a"]),
        ("# comment\n\n\\#real\n\\!mark  \r\n", ["#real", "!mark"], ["# comment", "real"]),
        ("", [], ["a"]),
    ],
)
def test_ignored_paths(text: str, ignored: list[str], kept: list[str]) -> None:
    rules = IgnoreRules(text, Steps())
    assert [path for path in ignored + kept if rules.matches(path)] == ignored


def test_ignored_files_are_named(hub: HubDriver) -> None:
    def asked(**more: str) -> list[str]:
        body = {"files": [{"path": path, "size": 1} for path in ("a.log", "b.tmp")], **more}
        plans = hub.send("POST", f"{API}/preupload/main", body).json["files"]
        return [item["path"] for item in plans if item["shouldIgnore"]]

    assert asked() == []
    assert asked(gitIgnore="*.log") == ["a.log"]
    hub.commit(put(".gitignore", b"*.tmp\n"))
    assert asked() == ["b.tmp"]
    assert asked(gitIgnore="") == []


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


def batch(hub: HubDriver, operation: str, data: bytes, **more: object) -> dict[str, object]:
    item = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    answer: dict[str, object] = hub.send(
        "POST", "/org/m.git/info/lfs/objects/batch", {"operation": operation, "objects": [item], **more}
    ).json
    return answer


def follow(action: dict[str, str]) -> str:
    assert action["href"].startswith("http://hub.test/")
    return action["href"].removeprefix("http://hub.test")


def test_lfs_upload_and_download(hub: HubDriver) -> None:
    data = os.urandom(300_000)
    answer = batch(hub, "upload", data, transfers=["basic", "multipart"])
    assert answer["transfer"] == "basic"
    actions = answer["objects"][0]["actions"]  # type: ignore[index]
    verify = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
    assert (
        hub.send("POST", follow(actions["verify"]), verify, token=None, status=404).json["code"] == "lfs_object_missing"
    )
    for wrong, code in (
        (data[:-1], "lfs_size_mismatch"),
        (data[:-1] + b"x", "sha256_mismatch"),
        (data + b"x", "lfs_size_mismatch"),
    ):
        assert hub.send("PUT", follow(actions["upload"]), wrong, token=None, status=400).json["code"] == code
    hub.send("PUT", follow(actions["upload"]), data, token=None)
    hub.send("POST", follow(actions["verify"]), verify, token=None)
    assert "actions" not in batch(hub, "upload", data)["objects"][0]  # type: ignore[index]
    hub.commit(put_lfs("w.bin", str(verify["oid"]), len(data)))
    assert hub.send("GET", "/org/m/resolve/main/w.bin").body == data
    download = batch(hub, "download", data)["objects"][0]["actions"]["download"]  # type: ignore[index]
    assert hub.send("GET", follow(download), token=None).body == data
    assert batch(hub, "download", b"other")["objects"][0]["error"]["code"] == 404  # type: ignore[index]


def test_clients_with_xet_are_sent_there(hub: HubDriver) -> None:
    transfers = ["basic", "multipart", "xet"]
    assert batch(hub, "upload", b"new", transfers=transfers)["transfer"] == "xet"
    hub.upload(b"new")
    assert batch(hub, "upload", b"new", transfers=transfers)["transfer"] == "basic"
    assert batch(hub, "download", b"new", transfers=transfers)["transfer"] == "basic"


def test_signed_addresses_open_one_thing(hub: HubDriver) -> None:
    actions = batch(hub, "upload", b"data")["objects"][0]["actions"]  # type: ignore[index]
    target = follow(actions["upload"])
    path, _, query = target.partition("?")
    for changed in (
        target.replace("/1/", "/2/"),
        target.replace("n=4", "n=5"),
        path,
        target[:-1],
        f"{path}?{query.replace('e=', 'e=1')}",
        target.replace(hashlib.sha256(b"data").hexdigest(), "0" * 64),
        f"{path}?n=a&e=b&s=c",
    ):
        assert hub.send("PUT", changed, b"data", status=403).json["code"] == "bad_signature"
    hub.send("GET", target.replace("upload", "download"), status=403)
    old = hub.hub.lfs_urls
    old._now = lambda: 1.0
    expired = follow(batch(hub, "upload", b"data")["objects"][0]["actions"]["upload"])  # type: ignore[index]
    old._now = lambda: 1e9
    assert hub.send("PUT", expired, b"data", status=403).json["code"] == "expired_url"


def test_bad_batches(hub: HubDriver) -> None:
    for item in ({"oid": "x", "size": 1}, {"oid": "A" * 64, "size": 1}, {"oid": "0" * 64, "size": -1}):
        body = {"operation": "upload", "objects": [item]}
        assert hub.send("POST", "/org/m.git/info/lfs/objects/batch", body, status=400).json["code"] == "bad_lfs_batch"
    hub.send("POST", "/org/m.git/info/lfs/objects/batch", {"operation": "steal", "objects": []}, status=400)


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
