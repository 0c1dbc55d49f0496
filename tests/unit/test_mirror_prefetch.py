"""Warming the cache: what is fetched, what is told, and that it is enough without the upstream."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.http_driver import Client, scope
from tests.unit.hub_driver import put, put_lfs
from tests.unit.mirror_driver import Answer, MirrorDriver, UpstreamHub

DATA = bytes(range(249)) * 3000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.driver.upload(DATA)
    hub.driver.commit(put("a.txt", b"hello"), put("empty", b""), put("sub/b.txt", b"more"), put_lfs("w.bin", SHA256))
    hub.tokens["hf_alice"] = hub.driver.new_token("alice")
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    return MirrorDriver(tmp_path / "mirror", upstream)


def prefetch(mirror: MirrorDriver, status: int = 200, token: str | None = None, **body: Any) -> list[dict[str, Any]]:
    raw = json.dumps({"repo": "org/m"} | body).encode()
    got = mirror.send("POST", "/api/xetway/prefetch", raw, status=status, token=token)
    return [json.loads(line) for line in got.body.splitlines()]


def test_everything_is_held_and_told(mirror: MirrorDriver) -> None:
    *events, result = prefetch(mirror)
    total = len(DATA) + len(b"hello") + len(b"more") + len(mirror.get("/org/m/resolve/main/.gitattributes").body)
    assert result == {"type": "result", "files": 5, "bytes": total, "fetched": total}
    last = {event["path"]: event for event in events}
    assert last["w.bin"] == {"type": "file", "path": "w.bin", "held": len(DATA), "total": len(DATA)}
    *_, again = prefetch(mirror)
    assert again["fetched"] == 0


def test_afterwards_the_upstream_is_not_needed(tmp_path: Path, mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    prefetch(mirror)
    asked = len(upstream.asked)
    offline = MirrorDriver(tmp_path / "mirror", upstream, offline=True)
    offline.content.held = mirror.content.held
    commit = offline.get("/api/models/org/m/revision/main").json["sha"]
    assert len(offline.get(f"/api/models/org/m/tree/{commit}?recursive=true&expand=false").json) == 6
    assert offline.get("/org/m/resolve/main/w.bin").body == DATA
    assert offline.get("/org/m/resolve/main/sub/b.txt").body == b"more"
    offline.get("/org/m/resolve/main/none", status=404)
    token = offline.get(f"/api/models/org/m/xet-read-token/{commit}").json["accessToken"]
    file = offline.send("HEAD", "/org/m/resolve/main/w.bin").headers["x-xet-hash"]
    offline.get(f"/v2/reconstructions/{file}", token=token)
    assert len(upstream.asked) == asked


def test_patterns(mirror: MirrorDriver) -> None:
    *events, result = prefetch(mirror, include=["*.txt"], exclude=["sub/*"])
    assert result["files"] == 1
    assert {event["path"] for event in events} == {"a.txt"}


def test_patterns_that_nothing_fits_are_refused(mirror: MirrorDriver) -> None:
    (refusal,) = prefetch(mirror, status=404, include=["*.none"])
    assert refusal["code"] == "no_match"
    assert "none of the 5 files of org/m at main" in refusal["error"]


def test_it_needs_the_right_to_read(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    prefetch(mirror, status=404)
    assert prefetch(mirror, token="hf_alice")[-1]["type"] == "result"


def test_a_hosted_repository_needs_nothing(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.own.create("me/own")
    assert prefetch(mirror, repo="me/own") == [{"type": "result", "files": 0, "bytes": 0, "fetched": 0}]
    assert upstream.asked == []


def test_trouble_in_the_middle_is_the_last_line(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    async def fails(*arguments: Any) -> None:
        raise ConnectionResetError

    mirror.content.prefetch = fails  # type: ignore[method-assign]
    last = prefetch(mirror)[-1]
    assert last == {
        "type": "error",
        "code": "upstream_unreachable",
        "error": "the upstream hub cannot be reached",
    }


def test_it_stops_when_the_client_leaves(mirror: MirrorDriver) -> None:
    stopped: list[str] = []

    async def forever(*arguments: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("prefetch")

    mirror.content.prefetch = forever  # type: ignore[method-assign]
    raw = b'{"repo": "org/m", "include": ["w.bin"]}'
    client = Client((raw,), leave_after=1)

    async def go() -> None:
        headers = [("content-length", str(len(raw)))]
        await mirror._application(scope("POST", "/api/xetway/prefetch", headers), client.receive, client.send)

    asyncio.run(go())
    assert stopped == ["prefetch"]
    assert not client.complete


@pytest.mark.parametrize(("name", "size"), [("a.txt", 5), ("w.bin", len(DATA))])
def test_a_wrong_length_ends_it_and_is_asked_for_anew(
    mirror: MirrorDriver, upstream: UpstreamHub, name: str, size: int
) -> None:
    def listed_longer(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        right, wrong = (f'"size":{bytes_},'.encode() for bytes_ in (size, size + 1))
        body = answer[2].replace(right, wrong) if "/tree/" in target else answer[2]
        return answer[0], answer[1], body, answer[3]

    upstream.meddle = listed_longer
    *_, last = prefetch(mirror, include=[name])
    assert (last["type"], last["code"]) == ("error", "upstream_integrity")
    *_, last = prefetch(mirror, include=[name])
    assert (last["type"], last["bytes"]) == ("result", size)
