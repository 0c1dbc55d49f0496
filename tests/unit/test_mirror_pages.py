"""Pages of upstream repositories: as those of hosted ones, with links that lead here."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from tests.unit.hub_driver import put
from tests.unit.mirror_driver import Answer, MirrorDriver, UpstreamHub


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.driver.commit(put("README.md", b"hi"), put("sub/a b<&>.txt", b"12345" * 1000))
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    return MirrorDriver(tmp_path / "mirror", upstream)


def page(mirror: MirrorDriver, target: str) -> str:
    answer = mirror.get(target)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return answer.body.decode()


def links(text: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'<td><a href="([^"]*)"', text)]


def test_every_link_of_a_listing_leads_here(mirror: MirrorDriver) -> None:
    root = page(mirror, "/org/m")
    assert links(root)[1:] == ["/org/m/resolve/main/README.md", "/org/m/tree/main/sub"]
    sub = page(mirror, links(root)[2])
    (file,) = links(sub)
    assert "5,000 bytes" in sub
    assert mirror.get(file).body == b"12345" * 1000


def test_it_says_how_to_fetch_them(mirror: MirrorDriver) -> None:
    text = html.unescape(page(mirror, "/org/m/tree/main/sub"))
    assert "export HF_ENDPOINT=http://hub.test\nhf download org/m\n" in text
    assert "curl --fail -O -C - 'http://hub.test/org/m/resolve/main/sub/a%20b%3C%26%3E.txt'" in text
    assert "--repo-type" not in text


def test_a_dataset_is_named_with_its_type_and_revision(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.driver.create("org/d", type="dataset")
    oid = mirror.get("/api/datasets/org/d/revision/main").json["sha"]
    assert f"hf download org/d --repo-type dataset --revision {oid}" in page(mirror, f"/datasets/org/d/tree/{oid}")


def test_long_folders_are_shown_page_by_page(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.driver.commit(*(put(f"many/{number:04}", b"x") for number in range(1_001)))
    first = page(mirror, "/org/m/tree/main/many")
    (more,) = re.findall(r'<a href="(\?[^"]*)">more', first)
    assert len(links(first)) == 1_000
    assert links(page(mirror, "/org/m/tree/main/many" + html.unescape(more))) == ["/org/m/resolve/main/many/1000"]


def test_a_link_that_is_no_address_is_no_error(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    def odd(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        return answer[0], [*answer[1], ("link", '<x:////[bad?cursor=1>; rel="next"')], *answer[2:]

    upstream.meddle = odd
    assert links(page(mirror, "/org/m/tree/main/sub")) == ["/org/m/resolve/main/sub/a%20b%3C%26%3E.txt"]


def test_pages_of_files_and_commits_lead_on(mirror: MirrorDriver) -> None:
    blob = mirror.get("/org/m/blob/main/README.md", status=302)
    assert blob.headers["location"] == "/org/m/resolve/main/README.md"
    assert mirror.get("/org/m/commit/main", status=302).headers["location"] == "/org/m/tree/main"


def test_what_is_not_there_is_refused_as_elsewhere(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    assert mirror.get("/org/none", status=404).headers["x-error-code"] == "RepoNotFound"
    mirror.get("/org/m/tree/none", status=404)
    upstream.driver.send("PUT", "/api/models/org/m/settings", {"private": True})
    mirror.get("/org/m", status=404)


def test_odd_answers_of_the_upstream_are_no_page(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    upstream.meddle = lambda method, target, headers, answer: (200, [], b'{"sha": "short"}', answer[3])
    assert mirror.get("/org/m", status=502).json["code"] == "bad_upstream_answer"


def test_a_hosted_repository_of_that_name_is_shown(mirror: MirrorDriver, upstream: UpstreamHub) -> None:
    mirror.own.create("me/own")
    asked = len(upstream.asked)
    assert "hf download me/own" in page(mirror, "/me/own")
    assert len(upstream.asked) == asked
