"""What the mirror says: every address in its answers is its own, revalidated where it may have changed."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from server_process import ServerError
from upstream import Fault, Rule

from tests.conformance.crafted_repo import CraftedRepo
from tests.conformance.mirror_client import Mirrored, origin, path_of, ranges
from tests.conftest import HUB_TOKEN


def strangers(mirrored: Mirrored, answer: httpx.Response) -> list[str]:
    """Addresses in an answer that lead past the mirror."""
    text = json.dumps(dict(answer.headers)) + answer.text
    found = re.findall(r"https?://(?:127\.0\.0\.1|localhost|\[::1\]):\d+", text)
    return [url for url in found if url != origin(mirrored.mirror.url)]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_resolve_of_a_xet_file(mirrored: Mirrored, crafted: CraftedRepo, method: str) -> None:
    file = crafted.files[0]
    for _ in ("cold", "warm"):
        answer = mirrored.ask(method, path_of(crafted, file))
        assert answer.status_code == 200
        headers = answer.headers
        assert headers["x-repo-commit"] == crafted.commit
        assert headers["x-linked-etag"].strip('"') == headers["etag"].strip('"') == file.sha256
        assert headers["x-linked-size"] == headers["content-length"] == str(len(file.data))
        assert headers["x-xet-hash"] == file.hash
        assert f"<{mirrored.mirror.url}/api/models/{crafted.name}/xet-read-token/" in headers["link"]
        assert not strangers(mirrored, httpx.Response(200, headers=headers))
        if method == "GET":
            assert hashlib.sha256(answer.content).hexdigest() == file.sha256


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_resolve_of_a_small_file(mirrored: Mirrored, crafted: CraftedRepo, method: str) -> None:
    for revision in ("main", crafted.commit):
        answer = mirrored.ask(method, f"/{crafted.name}/resolve/{revision}/config.json")
        assert answer.status_code == 200
        assert answer.headers["x-repo-commit"] == crafted.commit
        assert answer.headers["content-length"] == "2"
        assert answer.headers["etag"].strip('"') == hashlib.sha1(b"blob 2\0{}", usedforsecurity=False).hexdigest()
        assert answer.content == (b"{}" if method == "GET" else b"")
        assert not strangers(mirrored, answer)


def test_listing_pages_and_addresses(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    path: str | None = f"/api/models/{crafted.name}/tree/main?recursive=true&expand=false"
    names, pages = [], 0
    while path:
        answer = mirrored.get(path)
        assert answer.status_code == 200, answer.text
        assert not strangers(mirrored, answer)
        names += [entry["path"] for entry in answer.json()]
        pages += 1
        following = answer.links.get("next", {}).get("url")
        assert following is None or following.startswith(f"{mirrored.mirror.url}/api/models/")
        path = following and following.removeprefix(mirrored.mirror.url)
    assert sorted(names) == sorted([".gitattributes", "config.json", *(file.name for file in crafted.files)])
    assert pages >= 1


def test_api_answers_have_no_foreign_address(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    name = crafted.name
    for path in (
        f"/api/models/{name}",
        f"/api/models/{name}/revision/main?blobs=true",
        f"/api/models/{name}/refs",
        f"/api/models/{name}/commits/main",
        f"/api/models/{name}/xet-read-token/main",
    ):
        answer = mirrored.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert not strangers(mirrored, answer), path
    listed = mirrored.ask("POST", f"/api/models/{name}/paths-info/main", data={"paths": [crafted.files[0].name]})
    assert [entry["xetHash"] for entry in listed.json()] == [crafted.files[0].hash]


def test_what_changed_is_noticed_and_what_did_not_is_not_sent_again(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    path = f"/api/models/{crafted.name}/revision/main"
    first = mirrored.get(path)
    while not any(item.target == path for item in list(mirrored.upstream.seen)):
        time.sleep(0.001)  # the upstream notes what it has answered a moment later
    mirrored.upstream.forget()
    assert mirrored.get(path).json() == first.json()
    asked = [item for item in mirrored.upstream.seen if item.target == path]
    assert all(item.status == 304 for item in asked), "revalidated with its ETag"
    by_commit = f"/api/models/{crafted.name}/tree/{crafted.commit}?recursive=true"
    assert mirrored.get(by_commit).status_code == 200
    mirrored.upstream.forget()
    assert mirrored.get(by_commit).status_code == 200
    assert not [item for item in mirrored.upstream.seen if "/tree/" in item.target], "a commit never changes"


def test_our_own_conditional_answers(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    path = path_of(crafted, crafted.files[0])
    etag = mirrored.ask("HEAD", path).headers["etag"]
    again = mirrored.get(path, headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_reconstructions_lead_here(mirrored: Mirrored, crafted: CraftedRepo, version: str) -> None:
    file, size = crafted.files[0], len(crafted.files[0].data)
    xet = mirrored.xet_token(crafted)
    for _ in ("cold", "warm"):
        plan = mirrored.plan(file.hash, xet, version, range=f"bytes=0-{size - 1}")
        assert sum(term["unpacked_length"] for term in plan.json()["terms"]) == size
        assert not strangers(mirrored, plan)
        stored = mirrored.content(plan)
        assert len(stored) == size + 8 * sum(term["range"]["end"] for term in plan.json()["terms"])
        mirrored.upstream.forget()
    middle = mirrored.plan(file.hash, xet, version, range="bytes=70000-70999").json()
    assert middle["offset_into_first_range"] == 70_000 - 65_536
    assert [term["unpacked_length"] for term in middle["terms"]] == [65_536]
    assert mirrored.plan(file.hash, xet, version, range=f"bytes={size}-{size + 10}").status_code == 416
    assert mirrored.plan("1" * 64, xet, version).status_code == 404
    assert mirrored.upstream.data_bytes == 0


def test_unversioned_routes_of_old_clients(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    xet = mirrored.xet_token(crafted)
    headers = {"authorization": f"Bearer {xet['accessToken']}"}
    plan = mirrored.http.get(f"{xet['casUrl']}/reconstructions/{crafted.files[0].hash}", headers=headers)
    assert mirrored.content(plan)


def test_a_plan_needs_a_xet_token_and_an_address_its_signature(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    xet = mirrored.xet_token(crafted)
    url = f"{xet['casUrl']}/v2/reconstructions/{crafted.files[0].hash}"
    for wrong in ("xetm_", "xetm_" + "A" * 80, xet["accessToken"][:-4] + "AAAA", HUB_TOKEN):
        assert mirrored.http.get(url, headers={"authorization": f"Bearer {wrong}"}).status_code == 401
    (address, start, last), *_ = ranges(mirrored.plan(crafted.files[0].hash, xet).json())
    wanted = {"range": f"bytes={start}-{last}"}
    assert mirrored.http.get(re.sub(r"([?&]s=)..", r"\1AA", address), headers=wanted).status_code == 403
    assert mirrored.http.get(address.partition("?")[0], headers=wanted).status_code in {400, 403}


def test_errors_are_the_hubs(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    for path, status, code in (
        (f"/api/models/{crafted.name}/revision/nowhere", 404, "RevisionNotFound"),
        (f"/{crafted.name}/resolve/main/nowhere.bin", 404, "EntryNotFound"),
        ("/api/models/org/does-not-exist", {401, 404}, "RepoNotFound"),
        ("/org/does-not-exist/resolve/main/x", {401, 404}, "RepoNotFound"),
    ):
        answer = mirrored.get(path)
        assert answer.status_code in ({status} if isinstance(status, int) else status), (path, answer.text)
        assert answer.headers["x-error-code"] == code, path


def test_a_missing_file_has_the_commit_in_its_refusal(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    """Clients remember by it that there is no such file."""
    answer = mirrored.ask("HEAD", f"/{crafted.name}/resolve/main/nowhere.json")
    assert (answer.status_code, answer.headers.get("x-repo-commit")) == (404, crafted.commit)


def test_rate_limits_are_passed_on(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    mirrored.upstream.add(Rule(Fault.TOO_MANY, "hub_api", times=None, value=1))
    answer = mirrored.get(f"/api/models/{crafted.name}")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) == 1


def test_downloads_by_name_and_hash(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    file = crafted.files[0]
    for path in (f"/download/{crafted.name}/{file.name}", f"/download-hash/{file.hash}"):
        answer = mirrored.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert hashlib.sha256(answer.content).hexdigest() == file.sha256
        part = mirrored.get(path, headers={"range": "bytes=65530-65545"})
        assert (part.status_code, part.content) == (206, file.data[65_530:65_546])
    assert mirrored.get(f"/download-hash/{'3' * 64}").status_code == 404


def test_ranges_nobody_proved_are_marked(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    path = path_of(crafted, crafted.files[0])
    part = mirrored.get(path, headers={"range": "bytes=0-9"})
    assert part.headers["x-xetway-proof"] == "none"
    assert mirrored.get(path).status_code == 200
    assert mirrored.get(path, headers={"range": "bytes=0-9"}).headers["x-xetway-proof"] == "proven"


@pytest.mark.parametrize("how", ["", "bytes=0-0", "bytes=-5", "bytes=5-", "bytes=131000-131100"])
def test_ranges_are_right_cold_and_warm(mirrored: Mirrored, crafted: CraftedRepo, how: str) -> None:
    file = crafted.files[1]
    expected = {
        "": file.data,
        "bytes=0-0": file.data[:1],
        "bytes=-5": file.data[-5:],
        "bytes=5-": file.data[5:],
        "bytes=131000-131100": file.data[131_000:131_101],
    }[how]
    for _ in ("cold", "warm"):
        answer = mirrored.get(path_of(crafted, file), headers={"range": how} if how else {})
        assert (answer.status_code, answer.content) == (206 if how else 200, expected)
        assert answer.headers["x-repo-commit"] == crafted.commit


def test_two_processes_may_not_share_a_cache(make_mirrored: Callable[..., Mirrored], make_mirror) -> None:
    first = make_mirrored()
    with pytest.raises(ServerError, match=r"in use|another"):
        make_mirror(first.upstream, data=first.mirror.data)


def test_a_mirror_has_one_worker(make_mirror) -> None:
    with pytest.raises(ServerError, match="--workers"):
        make_mirror("http://127.0.0.1:9", "--workers", "2")


@pytest.mark.parametrize("url", ["nowhere", "ftp://example.org", "http://", "http://user:word@example.org"])
def test_an_upstream_that_is_no_address(make_mirror, url: str) -> None:
    with pytest.raises(ServerError, match="--upstream"):
        make_mirror(url)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_upstream_may_not_be_this_server(make_mirror, host: str) -> None:
    port = free_port()
    with pytest.raises(ServerError, match="this server itself"):
        make_mirror(f"http://{host}:{port}", "--port", str(port))


def test_mirrors_in_a_circle_are_noticed(make_mirror, tmp_path: Path) -> None:
    ports = free_port(), free_port()
    for port, other in (ports, ports[::-1]):
        make_mirror(f"http://127.0.0.1:{other}", "--port", str(port), data=tmp_path / f"at-{port}")
    with httpx.Client(trust_env=False, timeout=30) as http:
        answer = http.get(f"http://127.0.0.1:{ports[0]}/api/models/org/model")
    assert answer.status_code == 508
    assert answer.json()["code"] == "loop_detected"
