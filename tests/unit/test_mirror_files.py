"""Files of the upstream: what clients are told of them, their content, and who may have it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.unit.hub_driver import put, put_lfs
from tests.unit.mirror_driver import URL, Answer, MirrorDriver, UpstreamHub, with_length

DATA = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.driver.upload(DATA)
    hub.driver.commit(put("a.txt", b"hello"), put_lfs("w.bin", SHA256))
    hub.tokens["hf_alice"] = hub.driver.new_token("alice")
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    return MirrorDriver(tmp_path / "mirror", upstream)


def test_head_tells_what_the_upstream_tells_with_our_addresses(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    got = mirror.send("HEAD", "/org/m/resolve/main/w.bin").headers
    theirs = upstream.driver.send("HEAD", "/org/m/resolve/main/w.bin").headers
    for name in ("x-repo-commit", "etag", "x-linked-etag", "x-linked-size", "x-xet-hash", "content-length"):
        assert got[name] == theirs[name]
    route = f"/api/models/org/m/xet-read-token/{got['x-repo-commit']}"
    assert got["link"] == f'<http://hub.test{route}>; rel="xet-auth"'
    assert got["x-xet-refresh-route"] == route


def test_a_commits_file_is_looked_up_once(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    commit = mirror.send("HEAD", "/org/m/resolve/main/a.txt").headers["x-repo-commit"]
    asked = len(upstream.asked)
    got = mirror.send("HEAD", f"/org/m/resolve/{commit}/a.txt")
    assert got.headers["x-xetway-cache"] == "hit"
    assert len(upstream.asked) == asked


def test_a_listing_tells_of_files_too(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    commit = mirror.get("/api/models/org/m").json["sha"]
    mirror.get(f"/api/models/org/m/tree/{commit}?recursive=true")
    got = mirror.send("HEAD", f"/org/m/resolve/{commit}/w.bin").headers
    assert got["etag"] == f'"{SHA256}"'
    assert upstream.count("HEAD", "/resolve/") == 0


def test_content_of_chunked_files_with_ranges(mirror: MirrorDriver) -> None:
    assert mirror.get("/org/m/resolve/main/w.bin").body == DATA
    part = mirror.get("/org/m/resolve/main/w.bin", headers={"range": "bytes=5-9"}, status=206)
    assert (part.body, part.headers["content-range"]) == (DATA[5:10], f"bytes 5-9/{len(DATA)}")
    assert part.headers["x-xetway-proof"] == "proven"
    assert mirror.get("/org/m/resolve/main/w.bin", headers={"range": f"bytes={len(DATA)}-"}, status=416)
    assert mirror.get("/org/m/resolve/main/w.bin", headers={"if-none-match": f'"{SHA256}"'}, status=304)


def test_content_of_plain_files(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    assert mirror.get("/org/m/resolve/main/a.txt", token="hf_alice").body == b"hello"
    algorithm, digest, url, headers = mirror.content.opened[-1]
    commit = mirror.get("/api/models/org/m").json["sha"]
    assert (algorithm, url) == ("git-sha1", f"{URL}/org/m/resolve/{commit}/a.txt")
    assert headers["authorization"] == "Bearer hf_alice"
    assert mirror.get("/org/m/resolve/main/a.txt", headers={"range": "bytes=1-2"}, status=206).body == b"el"


def test_readers_of_ranges_ask_what_a_branch_means_now_and_then(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    for start in range(5):
        mirror.get("/org/m/resolve/main/w.bin", headers={"range": f"bytes={start}-9"}, status=206)
    assert upstream.count("HEAD", "/resolve/main/w.bin") == 1
    mirror.now += 11
    mirror.get("/org/m/resolve/main/w.bin", headers={"range": "bytes=0-9"}, status=206)
    assert upstream.count("HEAD", "/resolve/main/w.bin") == 2


def test_redirects_elsewhere_become_answers(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def elsewhere(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        if method != "HEAD" or "/resolve/" not in target:
            return answer
        more = [pair for pair in answer[1] if pair[0].startswith("x-")]
        return 302, [*more, ("location", "https://cdn.test/x?Signature=s"), ("content-length", "77")], b"", answer[3]

    upstream.meddle = elsewhere
    got = mirror.send("HEAD", "/org/m/resolve/main/w.bin")
    assert (got.headers["content-length"], got.headers["etag"]) == (str(len(DATA)), f'"{SHA256}"')
    assert "location" not in got.headers


def test_a_file_on_another_host_is_asked_for_its_size_without_a_token(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    def elsewhere(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        if target == "/x":
            return 200, [("content-length", "5")], b"", answer[3]
        if method != "HEAD" or "/resolve/" not in target:
            return answer
        more = [pair for pair in answer[1] if pair[0] in {"x-repo-commit", "etag"}]
        return 307, [*more, ("location", "https://cdn.test/x")], b"", answer[3]

    upstream.meddle = elsewhere
    assert mirror.send("HEAD", "/org/m/resolve/main/a.txt", token="hf_alice").headers["content-length"] == "5"
    assert "authorization" not in next(headers for _, target, headers in upstream.asked if target == "/x")


def test_a_renamed_repository_is_followed(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def renamed(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        if target.startswith("/old/name/"):
            return 307, [("location", target.replace("/old/name/", "/org/m/"))], b"", answer[3]
        return answer

    upstream.meddle = renamed
    got = mirror.send("HEAD", "/old/name/resolve/main/a.txt")
    assert got.headers["content-length"] == "5"


def test_a_missing_file_is_the_upstreams_word(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    got = mirror.send("HEAD", "/org/m/resolve/main/none.txt", status=404).headers
    assert (got["x-error-code"], len(got["x-repo-commit"])) == ("EntryNotFound", 40)
    upstream.is_down = True
    got = mirror.send("HEAD", "/org/m/resolve/main/none.txt", status=404).headers
    assert (got["x-error-code"], len(got["x-repo-commit"])) == ("EntryNotFound", 40)


def test_while_the_upstream_is_away_what_was_seen_is_served(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.get("/org/m/resolve/main/w.bin")
    upstream.is_down = True
    mirror.now += 400
    got = mirror.get("/org/m/resolve/main/w.bin")
    assert (got.body, got.headers["x-xetway-cache"], got.headers["age"]) == (DATA, "stale", "400")
    assert mirror.get("/org/m/resolve/main/a.txt", status=502).json["code"] == "connect_failed"
    mirror.now += 1000
    mirror.get("/org/m/resolve/main/w.bin", status=502)


def test_offline(tmp_path: Path, mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    commit = mirror.get("/api/models/org/m").json["sha"]
    mirror.get(f"/api/models/org/m/tree/{commit}?recursive=true")
    mirror.get("/org/m/resolve/main/w.bin")
    asked = len(upstream.asked)
    offline = MirrorDriver(tmp_path / "mirror", upstream, offline=True)
    offline.content.held = mirror.content.held
    offline.now += 10**8
    assert offline.get("/org/m/resolve/main/w.bin").body == DATA
    missing = offline.send("HEAD", "/org/m/resolve/main/none.txt", status=404)
    assert missing.headers["x-error-code"] == "EntryNotFound"
    content = offline.get("/org/m/resolve/main/a.txt", status=504)
    assert content.json["code"] == "not_cached"
    got = offline.send("HEAD", "/org/other/resolve/main/a.txt", status=504)
    assert "a.txt of models/org/other at main" in got.headers["x-error-message"]
    assert len(upstream.asked) == asked


def test_private_files_are_not_shared(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    commit = mirror.send("HEAD", "/org/m/resolve/main/w.bin", token="hf_alice").headers["x-repo-commit"]
    mirror.get(f"/org/m/resolve/{commit}/w.bin", token="hf_alice")
    mirror.get(f"/org/m/resolve/{commit}/w.bin", status=404)
    mirror.get(f"/download-hash/{SHA256}", status=404)
    assert mirror.get(f"/download-hash/{SHA256}", token="hf_alice").body == DATA
    upstream.is_down = True
    mirror.get(f"/org/m/resolve/{commit}/w.bin", status=502)
    assert mirror.get(f"/org/m/resolve/{commit}/w.bin", token="hf_alice").body == DATA


def test_plain_downloads_by_name_and_hash(mirror: MirrorDriver) -> None:
    got = mirror.get("/download/org/m/w.bin?revision=main")
    xet = got.headers["etag"].strip('"')
    assert got.body == DATA
    assert "w.bin" in got.headers["content-disposition"]
    assert mirror.get(f"/download-hash/{xet}").body == DATA
    assert mirror.get(f"/download-hash/{SHA256}", headers={"range": "bytes=-3"}, status=206).body == DATA[-3:]
    mirror.get(f"/download-hash/{'1' * 64}", status=404)
    mirror.get("/download/org/m/w.bin?type=nonsense", status=400)


def test_raw_gives_what_git_has(mirror: MirrorDriver) -> None:
    got = mirror.send("HEAD", "/org/m/raw/main/w.bin")
    assert int(got.headers["content-length"]) < 200
    assert "x-xet-hash" not in got.headers


def test_a_file_without_a_digest_is_not_kept(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def without(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        return answer[0], [pair for pair in answer[1] if pair[0] != "etag"], answer[2], answer[3]

    upstream.meddle = without
    got = mirror.get("/org/m/resolve/main/a.txt")
    assert (got.body, got.headers["x-xetway-proof"]) == (b"hello", "none")
    assert mirror.content.held == set()


def test_a_large_file_without_a_digest_is_refused(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def without(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        kept = [pair for pair in answer[1] if pair[0] not in {"etag", "content-length"}]
        return answer[0], [*kept, ("content-length", str(1 << 30))], answer[2], answer[3]

    upstream.meddle = without
    assert mirror.get("/org/m/resolve/main/a.txt", status=502).json["code"] == "unverifiable_file"


def test_a_length_lost_on_the_way_is_not_taken_for_an_empty_file(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def without_length(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        kept = [pair for pair in answer[1] if pair[0] not in {"content-length", "x-linked-size"}]
        return answer[0], [*kept, ("content-length", "0")] if method == "HEAD" else answer[1], answer[2], answer[3]

    upstream.meddle = without_length
    for name in ("a.txt", "w.bin"):
        got = mirror.get(f"/org/m/resolve/main/{name}", status=502)
        assert got.json["code"] == "bad_upstream_answer"
    upstream.meddle = None
    assert mirror.get("/org/m/resolve/main/a.txt").body == b"hello"


@pytest.mark.parametrize("more", [-1, 1])
@pytest.mark.parametrize(("name", "content"), [("a.txt", b"hello"), ("w.bin", DATA)])
def test_a_wrong_length_is_forgotten_when_the_content_has_another(
    mirror: MirrorDriver, upstream: UpstreamHub, name: str, content: bytes, more: int
) -> None:
    commit = mirror.get("/api/models/org/m").json["sha"]
    path = f"/org/m/resolve/{commit}/{name}"
    upstream.meddle = with_length(more)
    for asked in ({}, {"range": "bytes=1-"}):
        assert mirror.get(path, status=502, headers=asked).json["code"] == "upstream_integrity"
    assert upstream.count("HEAD", name) == 2
    upstream.meddle = None
    for word in ("miss", "hit"):
        got = mirror.get(path)
        assert (got.body, got.headers["x-xetway-cache"]) == (content, word)


def test_a_listing_with_a_wrong_length_does_not_make_its_file_missing(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    def listed_longer(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        body = answer[2].replace(b'"size":5,', b'"size":6,') if "/tree/" in target else answer[2]
        return answer[0], answer[1], body, answer[3]

    commit = mirror.get("/api/models/org/m").json["sha"]
    upstream.meddle = listed_longer
    listed = mirror.get(f"/api/models/org/m/tree/{commit}?recursive=true").json
    assert next(entry["size"] for entry in listed if entry["path"] == "a.txt") == 6
    path = f"/org/m/resolve/{commit}/a.txt"
    assert mirror.get(path, status=502).json["code"] == "upstream_integrity"
    upstream.is_down = True
    assert mirror.get(path, status=502).json["code"] == "connect_failed"
    upstream.is_down = False
    assert mirror.get(path).body == b"hello"
