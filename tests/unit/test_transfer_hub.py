"""The Hub's interface as our client reads it, and what its refusals become."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from tests.unit.transfer_driver import COMMIT, ENDPOINT, TOKEN, FakeWire, git_oid
from xetway.errors import FormatError, XetwayError
from xetway.transfer.names import parse_repo
from xetway.transfer.refusals import refusal
from xetway.transfer.wire import Answer, TokenRoute

REPO = parse_repo("org/model")


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


def test_listing_reads_every_page_from_our_endpoint_only() -> None:
    wire = FakeWire({f"{number:03}.txt": b"x" for number in range(25)})
    wire.page = 10
    files = run(wire.hub().tree(REPO, COMMIT))
    assert [file.path for file in files] == sorted(wire.files)
    assert len(wire.asked) == 3
    # the fake asserts that no request leaves the endpoint, whatever host the link names
    assert all(headers["authorization"] == f"Bearer {TOKEN}" for _, _, headers, _ in wire.sent)


@pytest.mark.parametrize("link", ["x:@evil.test/p", "x:.evil.test/p", "x::8080/p", "x:", "http://["])
def test_a_link_cannot_make_our_endpoint_another_host(link: str) -> None:
    wire = FakeWire({})
    wire.answers["/api/models/org/model/tree/"] = Answer(
        200, [("link", f'<{link}>; rel="next"')], b"[]", ENDPOINT + "/x"
    )
    with pytest.raises(FormatError) as refused:
        run(wire.hub().tree(REPO, COMMIT))
    assert refused.value.code == "bad_hub_answer"
    assert len(wire.asked) == 1


def test_listing_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import xetway.transfer.hub as module

    monkeypatch.setattr(module, "_MAX_PAGES", 3)
    wire = FakeWire({f"{number}": b"x" for number in range(9)})
    wire.page = 1
    with pytest.raises(FormatError) as refused:
        run(wire.hub().tree(REPO, COMMIT))
    assert refused.value.code == "bad_hub_answer"


def test_files_have_the_ids_that_clients_name_content_by() -> None:
    wire = FakeWire({"small.txt": b"text", "large.bin": b"\0" * 200_000}, xet=("large.bin",))
    large, small = run(wire.hub().files(REPO, COMMIT, ["large.bin", "small.txt"]))
    assert large.etag == hashlib.sha256(b"\0" * 200_000).hexdigest()
    assert large.digest.algorithm == "sha256"
    assert small.etag == git_oid(b"text")
    assert (small.digest.algorithm, small.xet_hash) == ("git-sha1", None)


def test_hidden_xet_hash_of_a_gated_repository_is_no_hash() -> None:
    wire = FakeWire({"a.bin": b"a"}, xet=("a.bin",))
    wire.answers["/api/models/org/model/tree/"] = wire.json([{**wire.entry("a.bin"), "xetHash": "*" * 64}])
    (file,) = run(wire.hub().tree(REPO, COMMIT))
    assert file.xet_hash is None


@pytest.mark.parametrize(
    "change",
    [
        {"oid": "../../../x"},
        {"oid": ""},
        {"size": -1},
        {"lfs": {"oid": "no", "size": 1}},
        {"lfs": {"oid": "a" * 64, "size": -1}},
    ],
)
def test_ids_that_would_become_file_names_are_checked(change: dict[str, Any]) -> None:
    wire = FakeWire({"a": b"a"})
    wire.answers["/api/models/org/model/tree/"] = wire.json([wire.entry("a") | change])
    with pytest.raises(FormatError) as refused:
        run(wire.hub().tree(REPO, COMMIT))
    assert refused.value.code == "bad_hub_answer"


@pytest.mark.parametrize("body", [b"<html>login</html>", b'{"sha": "main"}', b'{"sha": null}', b"\xff"])
def test_an_answer_of_something_else_than_a_hub(body: bytes) -> None:
    wire = FakeWire({})
    wire.answers["/api/models/org/model/revision/"] = Answer(200, [], body, ENDPOINT)
    with pytest.raises(FormatError) as refused:
        run(wire.hub().commit_of(REPO, "main"))
    assert refused.value.code == "bad_hub_answer"


def test_missing_file_and_folder_are_told_apart() -> None:
    wire = FakeWire({"sub/a.txt": b"a"})
    for path, words in (("nothing", "no file 'nothing'"), ("sub", "--include 'sub/*'")):
        with pytest.raises(XetwayError) as missing:
            run(wire.hub().files(REPO, COMMIT, [path]))
        assert missing.value.code == "entry_not_found"
        assert words in str(missing.value)


def test_revision_is_one_segment_of_the_address() -> None:
    wire = FakeWire({})
    run(wire.hub().commit_of(REPO, "refs/pr/1"))
    assert wire.asked == [("GET", "/api/models/org/model/revision/refs%2Fpr%2F1")]


@pytest.mark.parametrize(
    ("status", "headers", "code", "words"),
    [
        (404, {"x-error-code": "RepoNotFound"}, "repo_not_found", "check the name"),
        (401, {"x-error-code": "RepoNotFound"}, "repo_not_found", "the token may not read it"),
        (404, {}, "repo_not_found", "org/model"),
        (404, {"x-error-code": "RevisionNotFound"}, "revision_not_found", "'dev'"),
        (404, {"x-error-code": "EntryNotFound"}, "entry_not_found", "no file"),
        (403, {"x-error-code": "GatedRepo"}, "gated_repo", f"{ENDPOINT}/org/model"),
        (401, {"x-error-message": "Invalid user token"}, "token_refused", "HF_TOKEN"),
        (403, {"x-error-message": "read only"}, "not_allowed", "read only"),
        (429, {"retry-after": "30"}, "rate_limited", "try again in 30 s"),
        (500, {"x-error-message": "oops\r\nx"}, "hub_refused", "500: oops x"),
        (302, {"location": "http://login"}, "hub_refused", "302"),
    ],
)
def test_refusals_say_what_to_do(status: int, headers: dict[str, str], code: str, words: str) -> None:
    wire = FakeWire({})
    wire.answers["/api/"] = Answer(status, list(headers.items()), b"", ENDPOINT)
    with pytest.raises(XetwayError) as refused:
        run(wire.hub().commit_of(REPO, "dev"))
    assert refused.value.code == code
    assert words in str(refused.value)
    assert TOKEN not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_refusal_without_a_token_asks_for_one() -> None:
    wire = FakeWire({})
    wire.answers["/api/"] = Answer(401, [], b'{"error": "who are you"}', ENDPOINT)
    with pytest.raises(XetwayError) as refused:
        run(wire.hub(None).commit_of(REPO, "main"))
    assert refused.value.code == "token_required"
    assert "who are you" in str(refused.value)


def test_token_routes_tell_nothing_of_the_token() -> None:
    route = FakeWire({}).hub().read_tokens(REPO, COMMIT)
    assert TOKEN not in repr(route)
    assert route == TokenRoute(f"{ENDPOINT}/api/models/org/model/xet-read-token/{COMMIT}", route.headers)


def test_an_address_for_tls_asked_without_is_told() -> None:
    body = b"<html>The plain HTTP request was sent to HTTPS port</html>"
    told = refusal(Answer(400, [], body, "http://hub.test/x"), "http://hub.test", REPO)
    assert "begin with https://" in str(told)
