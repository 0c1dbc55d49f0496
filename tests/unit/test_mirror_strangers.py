"""What no Hub answers and no client of a Hub sends: the mirror keeps nothing of it, and goes on."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.unit.http_driver import request
from tests.unit.hub_driver import put
from tests.unit.mirror_driver import Answer, Meddle, MirrorDriver, UpstreamHub
from xetway.errors import NotFoundError, RequestError, TransportError
from xetway.mirror import file_table
from xetway.mirror.callers import Callers, own_token
from xetway.mirror.file_table import FileInfo
from xetway.mirror.names import RepoKey, repo_named, revision_named

REPO = RepoKey("model", "org/m")
OID = "0" * 40


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.driver.commit(put("a.txt", b"hello"))
    hub.tokens["hf_alice"] = hub.driver.new_token("alice")
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    return MirrorDriver(tmp_path / "mirror", upstream)


@pytest.fixture
def commit(mirror: MirrorDriver) -> str:
    return str(mirror.get("/api/models/org/m").json["sha"])


def with_body(part: str, body: bytes, *headers: tuple[str, str]) -> Meddle:
    """Answer 200 with this body where the address has this part."""

    def meddle(method: str, target: str, sent: dict[str, str], answer: Answer) -> Answer:
        return (200, list(headers), body, answer[3]) if part in target else answer

    return meddle


def with_head(status: int, *headers: tuple[str, str]) -> Meddle:
    def meddle(method: str, target: str, sent: dict[str, str], answer: Answer) -> Answer:
        return (status, list(headers), b"", answer[3]) if "/resolve/" in target else answer

    return meddle


def listing(**fields: Any) -> bytes:
    return json.dumps([{"type": "file", "path": "x", "oid": OID, "size": 3} | fields]).encode()


# --- malformed answers


@pytest.mark.parametrize(
    "body",
    [b"<html>log in</html>", b"", b'{"a":1}', b"[1]", b"[" * 100_000, listing(path="x").replace(b"x", b"\xff", 1)],
)
def test_a_page_in_place_of_a_listing_is_not_kept(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str, body: bytes
) -> None:
    target = f"/api/models/org/m/tree/{commit}?recursive=true"
    upstream.meddle = with_body("/tree/", body)
    assert mirror.get(target, status=502).json["code"] == "bad_upstream_answer"
    upstream.meddle = None
    assert [entry["path"] for entry in mirror.get(target).json] == [".gitattributes", "a.txt"]


def test_what_is_kept_is_better_than_a_page_in_its_place(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    good = mirror.get("/api/models/org/m/revision/main")
    upstream.meddle = with_body("/revision/", b"<html>log in</html>")
    got = mirror.get("/api/models/org/m/revision/main")
    assert (got.body, got.headers["x-xetway-cache"]) == (good.body, "stale")


@pytest.mark.parametrize(
    "body",
    [
        listing(size=10**30),
        listing(size=-1),
        listing(lfs={"oid": "a" * 64, "size": -5, "pointerSize": 1}),
        listing(lfs={"oid": "a" * 64, "size": 1 << 63, "pointerSize": 1}),
    ],
)
def test_a_listed_size_that_no_file_has_is_not_believed(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str, body: bytes
) -> None:
    upstream.meddle = with_body("/tree/", body)
    assert mirror.get(f"/api/models/org/m/tree/{commit}?recursive=true").body == body
    assert mirror.send("HEAD", f"/org/m/resolve/{commit}/x", status=404).headers["x-xetway-cache"] == "miss"


@pytest.mark.parametrize("link", ['<http://[>; rel="next"', '<//[/x>; rel="next"'])
def test_a_link_that_cannot_be_read_leads_nowhere(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str, link: str
) -> None:
    upstream.meddle = with_body("/tree/", b"[]", ("link", link))
    assert mirror.get(f"/api/models/org/m/tree/{commit}").json == []


@pytest.mark.parametrize("location", ["http://[", "file:///etc/passwd", "ftp://x/y"])
def test_a_redirect_to_nowhere_is_refused(mirror: MirrorDriver, upstream: UpstreamHub, location: str) -> None:
    upstream.meddle = with_head(302, ("location", location), ("etag", '"x"'), ("x-repo-commit", OID))
    mirror.send("HEAD", "/org/m/resolve/main/a.txt", status=502)
    assert all("authorization" not in headers for _, _, headers in upstream.asked)


def test_a_redirect_without_a_scheme_is_followed_without_a_token(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.meddle = with_head(302, ("location", "//cdn.test/x"), ("etag", '"x"'), ("x-repo-commit", OID))
    mirror.send("HEAD", "/org/m/resolve/main/a.txt", token="hf_alice", status=502)
    method, target, headers = next(asked for asked in upstream.asked if asked[1] == "/x")
    assert (method, "authorization" in headers) == ("HEAD", False)
    assert not mirror.mirror.upstream.is_down


@pytest.mark.parametrize(
    "headers",
    [
        [("content-length", "5")],
        [("content-length", "5"), ("etag", '"page"')],
        [("content-length", "5"), ("x-repo-commit", OID)],
    ],
)
def test_headers_that_no_hub_gives_are_not_kept(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str, headers: list[tuple[str, str]]
) -> None:
    target = f"/org/m/resolve/{commit}/a.txt"
    upstream.meddle = with_head(200, *headers)
    first = mirror.send("HEAD", target, status=None)
    assert first.headers.get("etag") != '""', "two files without a tag would be one to a client's cache"
    upstream.meddle = None
    assert mirror.send("HEAD", target).headers["x-xetway-cache"] == "miss"


@pytest.mark.parametrize(
    "token",
    [
        {"casUrl": "http://[", "accessToken": "x", "exp": 1_900_000_000},
        {"casUrl": "http://", "accessToken": "x", "exp": 1_900_000_000},
        {"casUrl": "http://x\n/", "accessToken": "x", "exp": 1_900_000_000},
        {"casUrl": "http://x", "accessToken": "x\ny", "exp": 1_900_000_000},
        {"casUrl": "http://x", "accessToken": "", "exp": 1_900_000_000},
        {"casUrl": "http://x", "accessToken": "x", "exp": 10**30},
        {"casUrl": "http://x", "accessToken": "x", "exp": -1},
    ],
)
def test_a_xet_token_that_cannot_be_used_is_refused(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str, token: dict[str, Any]
) -> None:
    upstream.meddle = with_body("xet-read-token", json.dumps(token).encode())
    got = mirror.get(f"/api/models/org/m/xet-read-token/{commit}", status=502)
    assert got.json["code"] == "bad_upstream_answer"


def test_a_list_of_repositories_that_is_none_is_refused(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.own.create("org/own")
    upstream.meddle = with_body("/api/models?", b'{"error":1}')
    assert mirror.get("/api/models?limit=3", status=502).json["code"] == "bad_upstream_answer"


def test_a_listing_whose_pages_lead_in_a_circle_ends(mirror: MirrorDriver, upstream: UpstreamHub, commit: str) -> None:
    link = f'<http://upstream.test/api/models/org/m/tree/{commit}?cursor=x>; rel="next"'
    upstream.meddle = with_body("/tree/", listing(), ("link", link))
    got = mirror.send("POST", "/api/xetway/prefetch", b'{"repo":"org/m"}', status=502)
    assert "without end" in got.json["error"]


def test_an_answer_that_cannot_be_kept_is_given(mirror: MirrorDriver, tmp_path: Path) -> None:
    storage = mirror.mirror.storage
    storage.read(lambda tx: tx.execute("PRAGMA busy_timeout = 0"))
    other = sqlite3.connect(tmp_path / "mirror" / "mirror" / "answers.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with storage.write() as nothing:
        assert nothing is None
    storage.keep_repo(REPO, is_public=True)
    other.execute("ROLLBACK")
    with pytest.raises(ValueError, match="ours"), storage.write():
        raise ValueError("ours")
    assert storage.repo(REPO) is None
    storage.keep_repo(REPO, is_public=True)
    assert storage.repo(REPO) is not None
    other.close()


def test_an_answer_that_is_too_large_does_not_make_the_upstream_one_that_is_away(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    def too_large(method: str, target: str, sent: dict[str, str], answer: Answer) -> Answer:
        raise TransportError("the answer is longer than 67108864 bytes", code="bad_answer", host="upstream.test")

    upstream.meddle = too_large
    mirror.get("/api/models/org/m", status=502)
    assert not mirror.mirror.upstream.is_down
    upstream.is_down = True
    mirror.get("/api/models/org/m", status=502)
    assert mirror.mirror.upstream.is_down


# --- clients


def test_a_body_is_kept_under_how_it_was_meant(mirror: MirrorDriver, commit: str) -> None:
    target, body = f"/api/models/org/m/paths-info/{commit}", b'{"paths":["a.txt"]}'
    form, right = "application/x-www-form-urlencoded", "application/json; charset=utf-8"
    assert mirror.send("POST", target, body, headers={"content-type": form}).json == []
    got = mirror.send("POST", target, body, headers={"content-type": right}).json
    assert [entry["path"] for entry in got] == ["a.txt"]


@pytest.mark.parametrize("expand", ["true", "True", "1"])
def test_what_may_change_about_a_commit_is_asked_again(mirror: MirrorDriver, commit: str, expand: str) -> None:
    target, body = f"/api/models/org/m/paths-info/{commit}", f"paths=a.txt&expand={expand}".encode()
    seen = [mirror.send("POST", target, body).headers["x-xetway-cache"] for _ in range(2)]
    assert seen == ["miss", "miss"]
    plain = [mirror.send("POST", target, b"paths=a.txt&expand=false").headers["x-xetway-cache"] for _ in range(2)]
    assert plain == ["miss", "hit"]


@pytest.mark.parametrize("parts", [("api", "models"), ("datasets", "squad"), ("Spaces", "x"), ("models",)])
def test_what_would_be_another_address_names_no_repository(parts: tuple[str, ...]) -> None:
    with pytest.raises(NotFoundError):
        repo_named("model", *parts)


@pytest.mark.parametrize("revision", ["..", ".", "a/../b", "", "a//b"])
def test_a_revision_does_not_lead_elsewhere(mirror: MirrorDriver, upstream: UpstreamHub, revision: str) -> None:
    with pytest.raises(RequestError):
        revision_named(revision)
    body = json.dumps({"repo": "org/m", "revision": revision}).encode()
    mirror.send("POST", "/api/xetway/prefetch", body, status=400)
    assert upstream.asked == []


def test_a_revision_in_a_query_does_not_lead_elsewhere(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    assert mirror.get("/download/org/m/raw/main/a.txt?revision=..", status=400).json["code"] == "bad_revision"
    assert upstream.asked == []


def test_only_names_of_servers_are_passed_on_as_its_way() -> None:
    callers = Callers(b"k" * 32)
    caller = callers.of(request(headers=[("x-xetway-via", f"{'a' * 16}, {'Z' * 3000},\t, é")]))
    assert dict(caller.headers())["x-xetway-via"] == f"{'a' * 16}, {callers.identity}"
    assert dict(caller.lasting_headers()) == {"x-xetway-via": callers.identity}


def test_the_way_of_one_request_is_not_that_of_later_ones(mirror: MirrorDriver, commit: str) -> None:
    callers, tokens = mirror.mirror.callers, mirror.mirror.tokens
    first = callers.of(request(headers=[("x-xetway-via", ", ".join(["a" * 16] * 7))]))
    tokens.credentials(first, REPO, commit)
    _, _, headers = tokens.credentials(callers.of(request()), REPO, commit)
    assert headers == {"x-xetway-via": callers.identity}
    token = callers.of(request(headers=[("authorization", "Bearer hf_alice")]))
    assert tokens.credentials(token, REPO, commit)[2]["authorization"] == "Bearer hf_alice"


@pytest.mark.parametrize("token", ["xetway_abc", "xet_abc.def", "xetm_abc"])
def test_no_token_that_was_made_here_is_sent_away(token: str) -> None:
    assert own_token(request(headers=[("authorization", f"Bearer {token}")])) is None


def test_names_that_nothing_has_take_bounded_room(
    mirror: MirrorDriver, upstream: UpstreamHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_table, "_MOST_MISSING", 3)
    monkeypatch.setattr(file_table, "_PRUNE_INTERVAL", 1)
    files, storage = mirror.mirror.files, mirror.mirror.storage
    files.keep("public", REPO, "resolve", [FileInfo(OID, "there", 1, OID, False, None, storage.now_s())])
    for number in range(10):
        mirror.now += 1
        files.keep_missing("public", REPO, "resolve", OID, f"none{number}")
    files.keep_missing("public", REPO, "resolve", OID, "x" * 1001)
    left = [
        row[0] for row in storage.read(lambda tx: tx.execute("SELECT path FROM files ORDER BY checked_at").fetchall())
    ]
    assert left == ["there", "none7", "none8", "none9"]


def test_many_patterns_are_refused_at_once(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    body = json.dumps({"repo": "org/m", "include": [f"{number}*" for number in range(201)]}).encode()
    assert mirror.send("POST", "/api/xetway/prefetch", body, status=400).json["code"] == "too_many_patterns"
    body = json.dumps({"repo": "org/m", "exclude": ["*a" * 300]}).encode()
    assert mirror.send("POST", "/api/xetway/prefetch", body, status=400).json["code"] == "too_many_patterns"
    assert upstream.asked == []


# --- rights


def test_a_refused_xet_token_ends_what_the_caller_was_given(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str
) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    mirror.now += 301
    mirror.get(f"/api/models/org/m/tree/{commit}", token="hf_alice")
    audience = mirror.mirror.callers.of(request(headers=[("authorization", "Bearer hf_alice")])).audience
    assert mirror.mirror.files.knows(audience, REPO, 0)
    del upstream.tokens["hf_alice"]
    mirror.get(f"/api/models/org/m/xet-read-token/{commit}", token="hf_alice", status=None)
    assert not mirror.mirror.files.knows(audience, REPO, 0), "it could be read again while the upstream is away"


def without_visibility(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
    """Answers of a Hub that says who may read a repository only where it is asked for that."""
    if "/revision/" not in target or answer[0] != 200:
        return answer
    told = json.loads(answer[2])
    if headers.get("if-none-match") == f'"{told["sha"]}"':
        return 304, [], b"", answer[3]
    del told["private"]
    return 200, [("etag", f'"{told["sha"]}"')], json.dumps(told).encode(), answer[3]


def test_a_description_that_does_not_say_who_may_read_it_is_not_shared_unasked(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    upstream.meddle = without_visibility
    question = "/api/models/org/m/revision/main"
    mirror.get("/api/models/org/m")
    mirror.get(question)
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    upstream.driver.commit(put("new.txt", b"secret"))
    mirror.now += 200  # within what the upstream's word holds for
    assert "new.txt" in mirror.get(question, token="hf_alice").body.decode()
    upstream.is_down = True
    mirror.get(question, status=502)
    assert "new.txt" in mirror.get(question, token="hf_alice").body.decode()


def test_a_description_that_is_unchanged_says_what_it_said(
    mirror: MirrorDriver, upstream: UpstreamHub, commit: str
) -> None:
    upstream.meddle = without_visibility
    target = f"/api/models/org/m/tree/{commit}"
    mirror.get(target)
    mirror.get("/api/models/org/m/revision/main")
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    mirror.now += 290
    again = mirror.get("/api/models/org/m/revision/main", token="hf_alice")
    assert again.headers["x-xetway-cache"] == "revalidated"
    mirror.now += 290
    mirror.get(target, status=404)
