"""Answers of the upstream: kept, asked for again, shared or not, and served while the upstream is away."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.http_driver import request
from tests.unit.hub_driver import put
from tests.unit.mirror_driver import URL, Answer, MirrorDriver, UpstreamHub
from xetway.mirror.answers import Answered, Question
from xetway.mirror.names import RepoKey


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.driver.commit(put("a.txt", b"hello"), put("b/c.txt", b"more"))
    hub.tokens["hf_alice"] = hub.driver.new_token("alice")
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    return MirrorDriver(tmp_path / "mirror", upstream)


def hide(upstream: UpstreamHub, private: bool = True) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": private})


def commit_of(mirror: MirrorDriver) -> str:
    return str(mirror.get("/api/models/org/m").json["sha"])


def test_description_listing_refs_and_commits_come_from_upstream(mirror: MirrorDriver) -> None:
    commit = commit_of(mirror)
    assert mirror.get("/api/models/org/m/revision/main").json["sha"] == commit
    entries = mirror.get("/api/models/org/m/tree/main?recursive=true").json
    assert [entry["path"] for entry in entries] == [".gitattributes", "a.txt", "b", "b/c.txt"]
    assert mirror.get("/api/models/org/m/refs").json["branches"][0]["targetCommit"] == commit
    assert mirror.get("/api/models/org/m/commits/main").json[0]["id"] == commit


def test_paths_info_keeps_its_body_for_the_mirror(mirror: MirrorDriver) -> None:
    got = mirror.send("POST", "/api/models/org/m/paths-info/main", b"paths=a.txt&paths=none&expand=false")
    assert [entry["path"] for entry in got.json] == ["a.txt"]


def test_a_hosted_repository_wins(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.own.create("org/m")
    assert mirror.get("/api/models/org/m").json["sha"] != ""
    assert upstream.asked == []


@pytest.mark.parametrize("way", ["create", "move", "duplicate"])
def test_hiding_a_repository_of_the_upstream_is_told(
    mirror: MirrorDriver, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    def warnings() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]

    token = {"token": mirror.own.token}
    mirror.get("/api/models/org/m")
    mirror.get("/api/models/org/none", status=404)
    mirror.send("POST", "/api/repos/create", b'{"name":"org/none"}', **token)
    assert warnings() == []
    if way == "create":
        mirror.send("POST", "/api/repos/create", b'{"name":"org/m"}', **token)
    elif way == "move":
        mirror.send("POST", "/api/repos/move", b'{"fromRepo":"org/none","toRepo":"org/m"}', **token)
    else:
        mirror.send("POST", "/api/models/org/none/duplicate", b'{"repository":"org/m"}', **token)
    (line,) = warnings()
    assert line.startswith("model org/m was made here, and hides the upstream's")


@pytest.mark.parametrize("name", ["m", "none"])
def test_an_upload_to_what_is_not_here_is_refused_for_its_token(mirror: MirrorDriver, name: str) -> None:
    preupload, body = f"/api/models/org/{name}/preupload/main", b'{"files":[]}'
    read, other = (mirror.own.new_token("bob", *of) for of in (("read",), ("write", "bob/*")))
    for token, status, code in [
        (None, 401, "token_required"),
        ("hf_alice", 401, "invalid_token"),
        (read, 403, "read_only_token"),
        (other, 403, "wrong_repository"),
        (mirror.own.token, 404, "repo_not_found"),
    ]:
        assert mirror.send("POST", preupload, body, token=token, status=status).json["code"] == code


def test_a_hosted_repository_that_the_caller_may_not_read_does_not_win(mirror: MirrorDriver) -> None:
    mirror.own.create("org/m", private=True)
    assert [entry["path"] for entry in mirror.get("/api/models/org/m/tree/main").json][1] == "a.txt"


def test_what_a_commit_is_asked_about_is_asked_once(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    target = f"/api/models/org/m/tree/{commit_of(mirror)}?recursive=true&expand=false"
    assert mirror.get(target).headers["x-xetway-cache"] == "miss"
    again = mirror.get(target)
    assert (again.headers["x-xetway-cache"], again.headers["age"]) == ("hit", "0")
    assert upstream.count("GET", "/tree/") == 1


def test_what_a_branch_means_is_asked_each_time(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    first = commit_of(mirror)
    upstream.driver.commit(put("new.txt", b"new"))
    assert commit_of(mirror) != first


def test_etags_are_sent_back_to_the_upstream(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def with_etag(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        if headers.get("if-none-match") == 'W/"1"':
            return 304, [], b"", answer[3]
        return answer[0], [*answer[1], ("etag", 'W/"1"')], answer[2], answer[3]

    upstream.meddle = with_etag
    first = mirror.get("/api/models/org/m/revision/main")
    again = mirror.get("/api/models/org/m/revision/main")
    assert (first.headers["x-xetway-cache"], again.headers["x-xetway-cache"]) == ("miss", "revalidated")
    assert first.body == again.body
    assert again.headers["etag"] == 'W/"1"'


def test_the_same_question_at_the_same_time_is_asked_once(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    commit_of(mirror)
    before = len(upstream.asked)
    caller = mirror.mirror.callers.of(request())

    async def all_at_once() -> list[Answered]:
        question = Question("/api/models/org/m/refs", RepoKey("model", "org/m"))
        return await asyncio.gather(*(mirror.mirror.answers.get(question, caller) for _ in range(20)))

    assert len({answer.body for answer in asyncio.run(all_at_once())}) == 1
    assert len(upstream.asked) == before + 1


def test_links_to_pages_lead_here(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    link = f'<{URL}/api/models/org/m/tree/main?cursor=x%3D>; rel="next", <{URL}/other>; rel="canonical"'
    upstream.meddle = lambda method, target, headers, answer: (answer[0], [*answer[1], ("link", link)], *answer[2:])
    got = mirror.get("/api/models/org/m/tree/main")
    assert got.headers["link"] == '<http://hub.test/api/models/org/m/tree/main?cursor=x%3D>; rel="next"'


def test_stars_in_place_of_xet_hashes_are_dropped(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    body = b'[{"type":"file","path":"w","size":1,"oid":"' + b"0" * 40 + b'","xetHash":"' + b"*" * 64 + b'"}]'
    upstream.meddle = lambda method, target, headers, answer: (
        *answer[:2],
        body if "/tree/" in target else answer[2],
        URL,
    )
    assert mirror.get("/api/models/org/m/tree/main").json == [{"type": "file", "path": "w", "size": 1, "oid": "0" * 40}]


def test_the_callers_token_goes_upstream_and_ours_does_not(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.get("/api/models/org/m", token="hf_alice")
    assert upstream.asked[-1][2]["authorization"] == "Bearer hf_alice"
    mirror.get("/api/models/org/m", token=mirror.own.token)
    assert "authorization" not in upstream.asked[-1][2]


def test_the_fallback_token_is_for_callers_without_one(tmp_path: Path, upstream: UpstreamHub) -> None:
    mirror = MirrorDriver(tmp_path / "mirror", upstream, fallback="hf_alice")
    mirror.get("/api/models/org/m")
    assert upstream.asked[-1][2]["authorization"] == "Bearer hf_alice"


def test_a_private_repository_is_kept_for_its_token_alone(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    hide(upstream)
    commit = mirror.get("/api/models/org/m", token="hf_alice").json["sha"]
    target = f"/api/models/org/m/tree/{commit}"
    assert mirror.get(target, token="hf_alice").headers["x-xetway-cache"] == "miss"
    assert mirror.get(target, token="hf_alice").headers["x-xetway-cache"] == "hit"
    refused = mirror.get(target, status=404)
    assert refused.headers["x-error-code"] == "RepoNotFound"
    assert mirror.get(target, token="hf_mallory", status=404).headers["x-error-code"] == "RepoNotFound"


def test_rights_to_a_private_commit_are_asked_again_after_five_minutes(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    hide(upstream)
    commit = mirror.get("/api/models/org/m", token="hf_alice").json["sha"]
    target = f"/api/models/org/m/tree/{commit}"
    mirror.get(target, token="hf_alice")
    upstream.tokens["hf_alice"] = "xetway_revoked"
    assert mirror.get(target, token="hf_alice").headers["x-xetway-cache"] == "hit"
    mirror.now += 301
    mirror.get(target, token="hf_alice", status=404)
    upstream.is_down = True
    mirror.now += 10
    mirror.get(target, token="hf_alice", status=502)


def test_a_repository_that_was_hidden_is_public_for_five_minutes_at_most(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    target = f"/api/models/org/m/tree/{commit_of(mirror)}"
    mirror.get(target)
    hide(upstream)
    mirror.now += 301
    mirror.get(target, status=404)
    assert mirror.get(target, token="hf_alice").json


@pytest.mark.parametrize("question", ["/api/models/org/m/tree/main", "/org/m/resolve/main/new.txt"])
def test_what_was_told_after_a_repository_was_hidden_is_never_shared(
    mirror: MirrorDriver, upstream: UpstreamHub, question: str
) -> None:
    mirror.get("/api/models/org/m/tree/main")
    hide(upstream)
    upstream.driver.commit(put("new.txt", b"secret"))
    mirror.now += 200  # within what the upstream's word holds for
    mirror.get(question, token="hf_alice")
    upstream.is_down = True
    mirror.now += 200
    got = mirror.get(question, status=None)
    assert got.status == 502 or "new.txt" not in got.body.decode()
    assert b"secret" not in got.body
    mirror.get(question, token="hf_alice")


def test_what_was_told_while_a_repository_was_public_is_shared_while_the_upstream_is_away(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    mirror.get("/api/models/org/m/tree/main")
    upstream.driver.commit(put("new.txt", b"seen by all"))
    mirror.now += 200
    mirror.get("/api/models/org/m/tree/main", token="hf_alice")
    mirror.get("/org/m/resolve/main/new.txt", token="hf_alice")
    upstream.is_down = True
    mirror.now += 200
    assert "new.txt" in mirror.get("/api/models/org/m/tree/main").body.decode()
    assert mirror.get("/org/m/resolve/main/new.txt").body == b"seen by all"


def test_a_wrong_token_does_not_make_a_hidden_repository_public(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    target = f"/api/models/org/m/tree/{commit_of(mirror)}"
    mirror.get(target)
    hide(upstream)

    def strict(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        wrong = headers.get("authorization", "").startswith("Bearer hf_wrong")
        return (401, [], b'{"error":"Invalid credentials"}', answer[3]) if wrong else answer

    upstream.meddle = strict
    mirror.now += 301
    mirror.get(target, token="hf_wrong", status=401)
    mirror.get("/api/models/org/m", token="hf_wrong", status=401)


def test_names_that_nothing_has_are_not_asked_for(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    for name in ("org/m%2Ftree%2Fmain", "org%2Fm/x", "org/-", "a%20b/c"):
        assert mirror.get(f"/api/models/{name}", status=404).json["code"] == "repo_not_found"
    assert upstream.asked == []


def test_an_answer_that_leads_elsewhere_is_refused(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.meddle = lambda method, target, headers, answer: (302, [("location", "https://x.test/")], b"", answer[3])
    assert mirror.get("/api/models/org/m/refs", status=502).json["code"] == "bad_upstream_answer"


def test_no_token_is_on_the_disk(mirror: MirrorDriver, upstream: UpstreamHub, tmp_path: Path) -> None:
    hide(upstream)
    mirror.get("/api/models/org/m", token="hf_alice")
    mirror.get("/api/models/org/m/xet-read-token/main", token="hf_alice")
    issued = upstream.driver.hub.xet_tokens.issue(1, "read", "alice")[0].partition(".")[0]
    with closing(sqlite3.connect(tmp_path / "mirror" / "mirror" / "answers.db")) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in (tmp_path / "mirror").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert b"hf_alice" not in data
            assert issued[:20].encode() not in data


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_is_kept_is_served_while_the_upstream_is_in_trouble(
    mirror: MirrorDriver, upstream: UpstreamHub, status: int
) -> None:
    fresh = mirror.get("/api/models/org/m/revision/main")
    upstream.meddle = lambda method, target, headers, answer: (status, [("retry-after", "7")], b"{}", answer[3])
    mirror.now += 60
    got = mirror.get("/api/models/org/m/revision/main")
    assert got.body == fresh.body
    assert (got.headers["x-xetway-cache"], got.headers["age"]) == ("stale", "60")
    assert got.headers["warning"].startswith("110 ")
    other = mirror.get("/api/models/org/m/refs", status=status)
    assert other.headers["retry-after"] == "7"


def test_an_upstream_that_is_down_is_left_alone_and_bounded(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    fresh = mirror.get("/api/models/org/m/revision/main")
    upstream.is_down = True
    mirror.now += 999
    assert mirror.get("/api/models/org/m/revision/main").body == fresh.body
    asked = len(upstream.asked)
    assert mirror.get("/api/models/org/m/revision/main").headers["x-xetway-cache"] == "stale"
    assert len(upstream.asked) == asked
    mirror.now += 2
    got = mirror.get("/api/models/org/m/revision/main", status=502)
    assert got.json["code"] == "connect_failed"


def test_offline_serves_what_is_kept_and_says_what_is_not(
    tmp_path: Path, mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    fresh = mirror.get("/api/models/org/m/revision/main")
    asked = len(upstream.asked)
    offline = MirrorDriver(tmp_path / "mirror", upstream, offline=True)
    offline.now += 10**8
    assert offline.get("/api/models/org/m/revision/main").body == fresh.body
    got = offline.get("/api/models/org/m/refs", status=504)
    assert got.json["code"] == "not_cached"
    assert "/api/models/org/m/refs" in got.headers["x-error-message"]
    assert len(upstream.asked) == asked


def test_refusals_are_passed_on_and_not_kept(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    got = mirror.get("/api/models/org/m/tree/nope", status=404)
    assert got.headers["x-error-code"] == "RevisionNotFound"
    upstream.driver.send("POST", "/api/models/org/m/branch/nope", {})
    assert mirror.get("/api/models/org/m/tree/nope").json


def test_a_request_that_comes_back_is_refused(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.get("/api/models/org/m")
    via = upstream.asked[-1][2]["x-xetway-via"]
    got = mirror.get("/api/models/org/m", headers={"x-xetway-via": f"other, {via}"}, status=508)
    assert got.json["code"] == "loop_detected"


def test_lists_of_repositories_show_ours_and_theirs(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.own.create("me/mine")
    mirror.own.create("org/m")
    upstream.driver.create("org/other")
    names = [item["id"] for item in mirror.get("/api/models").json]
    assert names == ["org/m", "me/mine", "org/other"]
    assert [item["id"] for item in mirror.get("/api/models?filter=x").json] == ["org/other", "org/m"]


def test_pages_of_lists_lead_through_ours_then_theirs(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.own.create("me/a")
    mirror.own.create("me/b")
    upstream.driver.create("org/n")
    seen, target = [], "/api/models?limit=1"
    for _ in range(10):
        got = mirror.get(target)
        seen += [item["id"] for item in got.json]
        if "link" not in got.headers:
            break
        target = got.headers["link"].partition("hub.test")[2].partition(">")[0]
    assert seen == ["me/b", "me/a", "org/n", "org/m"]


def test_a_foreign_token_is_explained_by_the_upstream(mirror: MirrorDriver) -> None:
    assert mirror.get("/api/whoami-v2", token="hf_alice").json["name"] == "alice"
    assert mirror.get("/api/whoami-v2", token=mirror.own.token).json["name"] == "alice"
    mirror.get("/api/whoami-v2", status=401)
