"""Uploads and downloads of clients without Xet: LFS batches and their signed addresses."""

from __future__ import annotations

import hashlib
import os

from tests.unit.hub_driver import HubDriver, put_lfs


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
