"""The content store of the upstream under our addresses: tokens, reconstructions, bytes of xorbs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.unit.http_driver import Client
from tests.unit.hub_driver import put_lfs
from tests.unit.mirror_driver import Answer, MirrorDriver, UpstreamHub, with_length
from xetway._native import Hash
from xetway.errors import StorageFullError

DATA = bytes(range(251)) * 5000
OTHER = DATA[::-1]
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.driver.upload(DATA)
    hub.driver.commit(put_lfs("w.bin", SHA256))
    hub.tokens["hf_alice"] = hub.driver.new_token("alice")
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    # The upstream's tokens are dated by its own clock, which is that of the tests.
    driver = MirrorDriver(tmp_path / "mirror", upstream)
    driver.now = upstream.driver.hub.xet_tokens._now()
    return driver


def token_of(mirror: MirrorDriver, **options: Any) -> str:
    return str(mirror.get("/api/models/org/m/xet-read-token/main", **options).json["accessToken"])


def file_of(mirror: MirrorDriver, **options: Any) -> str:
    return mirror.send("HEAD", "/org/m/resolve/main/w.bin", **options).headers["x-xet-hash"]


def target_of(url: str) -> str:
    assert url.startswith("http://hub.test/")
    return url.removeprefix("http://hub.test")


def test_tokens_are_ours_in_headers_and_body(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    got = mirror.get("/api/models/org/m/xet-read-token/main")
    assert got.json["casUrl"] == got.headers["x-xet-cas-url"] == "http://hub.test"
    assert got.json["accessToken"] == got.headers["x-xet-access-token"]
    assert got.json["accessToken"].startswith("xetm_")
    theirs = upstream.driver.hub.xet_tokens
    assert got.json["exp"] == int(got.headers["x-xet-token-expiration"]) >= int(theirs._now()) + 11 * 3600


def test_a_token_that_ends_soon_is_asked_for_afresh_and_lives_long_enough(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    def short(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        if "/xet-read-token/" not in target:
            return answer
        body = json.loads(answer[2]) | {"exp": int(mirror.now) + 30}
        return answer[0], answer[1], json.dumps(body).encode(), answer[3]

    upstream.meddle = short
    got = mirror.get("/api/models/org/m/xet-read-token/main").json
    assert got["exp"] - mirror.now > 90
    mirror.get("/api/models/org/m/xet-read-token/main")
    assert upstream.count("GET", "/xet-read-token/") == 2


def test_a_token_is_shared_for_some_minutes(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    for _ in range(5):
        token_of(mirror)
    assert upstream.count("GET", "/xet-read-token/") == 1
    mirror.now += 301
    token_of(mirror)
    assert upstream.count("GET", "/xet-read-token/") == 2


@pytest.mark.parametrize("version", ["/v1", "/v2", ""])
def test_reconstructions_name_our_addresses_which_give_the_bytes(mirror: MirrorDriver, version: str) -> None:
    file, token = file_of(mirror), token_of(mirror)
    plan = mirror.get(f"{version}/reconstructions/{file}", token=token).json
    assert "upstream" not in json.dumps(plan)
    fetches = plan["xorbs"] if version == "/v2" else plan["fetch_info"]
    (entry,) = next(iter(fetches.values()))
    span = entry["ranges"][0]["bytes"] if version == "/v2" else entry["url_range"]
    first, last = span["start"], span["end"]
    headers = {"range": f"bytes={first}-{last}", "x-xet-session-id": "s-1"}
    got = mirror.get(target_of(entry["url"]), headers=headers, status=206)
    assert len(got.body) == last + 1 - first
    assert got.headers["content-range"] == f"bytes {first}-{last}/*"
    assert mirror.content.opened[-1] == (3, first, last + 1, "s-1")


def test_an_address_gives_only_what_was_signed(mirror: MirrorDriver) -> None:
    file, token = file_of(mirror), token_of(mirror)
    plan = mirror.get(f"/v1/reconstructions/{file}", token=token, headers={"range": "bytes=500000-600000"}).json
    (entry,) = next(iter(plan["fetch_info"].values()))
    target, first, last = target_of(entry["url"]), entry["url_range"]["start"], entry["url_range"]["end"]
    assert first > 0
    inside = mirror.get(target, headers={"range": f"bytes={first + 1}-{last - 1}"}, status=206)
    assert len(inside.body) == last - first - 1
    for wrong in (f"bytes={first - 1}-{last}", f"bytes={first}-{last + 1}", "bytes=0-0", "nonsense"):
        headers = {"range": wrong}
        answer = mirror.get(target, headers=headers, status=None)
        assert answer.status == 403 or len(answer.body) <= last + 1 - first
    assert mirror.get(target, status=403).json["code"] == "range_not_signed"
    changed = re.sub(r"g=\d+", "g=4", target)
    assert mirror.get(changed, headers={"range": f"bytes={first}-{last}"}, status=403).json["code"] == "bad_signature"
    head = mirror.send("HEAD", target, status=206)
    assert head.headers["content-length"] == str(last + 1 - first)


def test_ranges_of_files(mirror: MirrorDriver) -> None:
    file, token = file_of(mirror), token_of(mirror)
    past = {"range": f"bytes={len(DATA)}-{2 * len(DATA)}"}
    got = mirror.get(f"/v2/reconstructions/{file}", token=token, headers=past, status=416)
    assert got.headers["content-range"] == f"bytes */{len(DATA)}"
    over = {"range": f"bytes=0-{10 * len(DATA)}"}
    whole = mirror.get(f"/v2/reconstructions/{file}", token=token, headers=over).json
    assert sum(term["unpacked_length"] for term in whole["terms"]) == len(DATA)
    mirror.get(f"/v2/reconstructions/{file}", token=token, headers={"range": "bytes=9-1"}, status=400)
    empty = mirror.get(f"/v2/reconstructions/{Hash.ZERO}", token=token).json
    assert empty == {"offset_into_first_range": 0, "terms": [], "xorbs": {}}


def test_a_file_that_was_not_seen_is_the_upstreams_decision(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    file = upstream.driver.send("HEAD", "/org/m/resolve/main/w.bin").headers["x-xet-hash"]
    token = token_of(mirror)
    mirror.get(f"/v2/reconstructions/{file}", token=token)
    assert upstream.count("GET", "/reconstructions/") == 1
    mirror.get(f"/v2/reconstructions/{file}", token=token)
    assert upstream.count("GET", "/reconstructions/") == 1
    mirror.get(f"/v2/reconstructions/{'1' * 64}", token=token, status=404)


def test_a_cached_file_is_not_given_to_those_the_upstream_refuses(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    upstream.driver.create("bob/own")
    upstream.tokens["hf_bob"] = upstream.driver.new_token("bob", "write", "bob/*")
    file = file_of(mirror, token="hf_alice")
    mirror.get(f"/v2/reconstructions/{file}", token=token_of(mirror, token="hf_alice"))
    mirror.get("/api/models/org/m/xet-read-token/main", token="hf_bob", status=404)
    bobs = mirror.get("/api/models/bob/own/xet-read-token/main", token="hf_bob").json["accessToken"]
    mirror.get(f"/v2/reconstructions/{file}", token=bobs, status=404)


def test_forged_and_old_tokens_are_refused(mirror: MirrorDriver) -> None:
    file, token = file_of(mirror), token_of(mirror)
    changed = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    for wrong in (changed, "xetm_", "xetm_????", "xetm_AAAA"):
        got = mirror.get(f"/v2/reconstructions/{file}", token=wrong, status=401)
        assert got.json["code"] == "invalid_token"
    mirror.now += 10**6
    assert mirror.get(f"/v2/reconstructions/{file}", token=token, status=401).json["code"] == "expired_token"


def test_hosted_content_is_still_found_by_hosted_tokens(mirror: MirrorDriver) -> None:
    mirror.own.create("me/own")
    digest = mirror.own.upload(DATA[:100_000])
    mirror.own.commit(put_lfs("w.bin", digest), repo="models/me/own")
    file = mirror.send("HEAD", "/me/own/resolve/main/w.bin").headers["x-xet-hash"]
    token = mirror.get("/api/models/me/own/xet-read-token/main").json["accessToken"]
    assert not token.startswith("xetm_")
    mirror.get(f"/v2/reconstructions/{file}", token=token)


def test_while_the_upstream_is_away_cached_files_can_be_fetched(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    file, token = file_of(mirror), token_of(mirror)
    mirror.get(f"/v2/reconstructions/{file}", token=token)
    upstream.is_down = True
    mirror.now += 400
    got = mirror.get("/api/models/org/m/xet-read-token/main")
    assert got.headers["x-xetway-cache"] == "stale"
    mirror.get(f"/v2/reconstructions/{file}", token=got.json["accessToken"])
    mirror.get("/api/models/org/other/xet-read-token/main", status=502)


def test_a_token_given_while_the_upstream_was_away_fetches_when_it_is_back(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    file = file_of(mirror, token="hf_alice")
    upstream.is_down = True
    token = token_of(mirror, token="hf_alice")
    assert b"hf_alice" not in base64.urlsafe_b64decode(token.removeprefix("xetm_") + "==")
    mirror.get(f"/v2/reconstructions/{file}", token=token, status=502)
    upstream.is_down = False
    mirror.get(f"/v2/reconstructions/{file}", token=token)
    kind, url, headers = mirror.content.fetched_with[-1]
    assert (kind, url) == ("refresh", "http://upstream.test/api/models/org/m/xet-read-token/main")
    assert headers == {"x-xetway-via": mirror.mirror.callers.identity, "authorization": "Bearer hf_alice"}


def test_with_such_a_token_the_upstream_is_asked_about_files_that_it_did_not_show(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    file_of(mirror)
    upstream.is_down = True
    token = token_of(mirror)
    upstream.is_down = False
    upstream.driver.upload(OTHER)
    upstream.driver.commit(put_lfs("other.bin", hashlib.sha256(OTHER).hexdigest()))
    other = upstream.driver.send("HEAD", "/org/m/resolve/main/other.bin").headers["x-xet-hash"]
    upstream.is_down = True
    assert mirror.get(f"/v2/reconstructions/{other}", token=token, status=502).json["code"] == "connect_failed"
    upstream.is_down = False
    for _ in range(2):
        mirror.get(f"/v2/reconstructions/{other}", token=token)
    assert upstream.count("GET", "/xet-read-token/") == 3
    mirror.get(f"/v2/reconstructions/{'0' * 63}1", token=token, status=404)


def test_such_a_token_opens_nothing_that_its_bearer_may_no_longer_read(
    mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    file = file_of(mirror, token="hf_alice")
    upstream.is_down = True
    token = token_of(mirror, token="hf_alice")
    upstream.is_down = False
    del upstream.tokens["hf_alice"]
    mirror.get(f"/v2/reconstructions/{'0' * 63}1", token=token, status=404)
    # That refusal ended what the bearer was shown.
    assert mirror.get(f"/v2/reconstructions/{file}", token=token, status=404).json["code"] == "repo_not_found"


def test_the_servers_own_hub_token_is_in_no_token_of_a_client(tmp_path: Path, upstream: UpstreamHub) -> None:
    mirror = MirrorDriver(tmp_path / "mirror", upstream, fallback="hf_alice")
    mirror.now = upstream.driver.hub.xet_tokens._now()
    file = file_of(mirror)
    upstream.is_down = True
    token = token_of(mirror)
    assert mirror.mirror.tokens.open(f"Bearer {token}").hub_token is None
    upstream.is_down = False
    mirror.get(f"/v2/reconstructions/{file}", token=token)
    assert mirror.content.fetched_with[-1][2]["authorization"] == "Bearer hf_alice"


def test_offline_cached_files_can_be_fetched_and_others_fail_at_once(
    tmp_path: Path, mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    file = file_of(mirror)
    mirror.get(f"/v2/reconstructions/{file}", token=token_of(mirror))
    offline = MirrorDriver(tmp_path / "mirror", upstream, offline=True)
    token = token_of(offline)
    got = offline.get(f"/v2/reconstructions/{file}", token=token, status=404)
    assert got.json["code"] == "not_cached"
    offline.content.held = mirror.content.held
    offline.get(f"/v2/reconstructions/{file}", token=token)
    refused = offline.get("/api/models/org/other/xet-read-token/main", status=504)
    assert refused.headers["x-error-code"] == "NotCached"


def test_a_cache_without_room_is_final(mirror: MirrorDriver) -> None:
    class Full:
        proven = True
        closed = 0

        async def read_parts(self) -> list[bytes]:
            raise StorageFullError("the cache is full")

        def close(self) -> None:
            Full.closed += 1

    plan = mirror.get(f"/v2/reconstructions/{file_of(mirror)}", token=token_of(mirror)).json
    fetch = next(iter(plan["xorbs"].values()))[0]
    first = fetch["ranges"][0]["bytes"]
    asked = {"range": f"bytes={first['start']}-{first['end']}"}

    async def full(*_arguments: Any) -> Full:
        return Full()

    mirror.content.open_xorb = full  # type: ignore[method-assign]
    # Not a 507, which clients repeat for minutes.
    got = mirror.get(target_of(fetch["url"]), headers=asked, status=413)
    assert got.json == {"error": "the cache is full", "code": "storage_full"}
    assert Full.closed == 1


@pytest.mark.parametrize("more", [-1, 1])
def test_a_file_of_another_length_than_was_told_is_not_planned(
    mirror: MirrorDriver, upstream: UpstreamHub, more: int
) -> None:
    commit, token = mirror.get("/api/models/org/m").json["sha"], token_of(mirror)

    def told() -> Client:
        return mirror.send("HEAD", f"/org/m/resolve/{commit}/w.bin")

    upstream.meddle = with_length(more)
    file = told().headers["x-xet-hash"]
    upstream.meddle = None
    asked = {"range": f"bytes=0-{len(DATA) + more - 1}"}
    # Not a 502, which clients repeat: with the length that they were told.
    refused = mirror.get(f"/v2/reconstructions/{file}", token=token, headers=asked, status=400)
    assert refused.json["code"] == "upstream_integrity"
    assert told().headers["content-length"] == str(len(DATA))
    mirror.get(f"/v2/reconstructions/{file}", token=token)


def test_a_file_of_which_two_lengths_were_told_is_not_planned(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.driver.commit(put_lfs("copy.bin", SHA256))
    upstream.meddle = with_length(1)
    mirror.send("HEAD", "/org/m/resolve/main/copy.bin")
    upstream.meddle = None
    file, token = file_of(mirror), token_of(mirror)
    refused = mirror.get(f"/v2/reconstructions/{file}", token=token, status=400)
    assert refused.json["code"] == "upstream_integrity"
    mirror.get(f"/v2/reconstructions/{file_of(mirror)}", token=token)


def test_a_private_repository_gives_no_token_away_offline(
    tmp_path: Path, mirror: MirrorDriver, upstream: UpstreamHub
) -> None:
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    file_of(mirror, token="hf_alice")
    offline = MirrorDriver(tmp_path / "mirror", upstream, offline=True)
    token_of(offline, token="hf_alice")
    offline.get("/api/models/org/m/xet-read-token/main", status=504)
