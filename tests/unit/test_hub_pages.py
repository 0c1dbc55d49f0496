"""The pages of repositories: lists of files, commits, and the addresses that clients print."""

from __future__ import annotations

import html
import re

import pytest

from tests.unit.hub_driver import HubDriver, put


@pytest.fixture
def filled(hub: HubDriver) -> tuple[HubDriver, str]:
    answer = hub.commit(put("README.md", b"hi"), put("sub/a b<&>.txt", b"12345"))
    return hub, answer["commitOid"]


def page(hub: HubDriver, target: str) -> str:
    answer = hub.send("GET", target, token=None)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    text = answer.body.decode()
    assert "${" not in text
    assert "<script" not in text
    return text


def links(text: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'<td><a href="([^"]*)"', text)]


def test_every_link_of_a_listing_leads_somewhere(filled) -> None:
    hub, _ = filled
    root = links(page(hub, "/org/m"))
    assert root[1:] == ["/org/m/resolve/main/README.md", "/org/m/tree/main/sub"]
    (file,) = links(page(hub, root[2]))
    assert hub.send("GET", file, token=None).body == b"12345"


def test_names_are_text_not_markup(filled) -> None:
    hub, _ = filled
    text = page(hub, "/org/m/tree/main/sub")
    assert "a b&lt;&amp;&gt;.txt" in text
    assert "b<&>" not in text


def test_the_commit_that_an_upload_prints(filled) -> None:
    hub, oid = filled
    text = page(hub, f"/org/m/commit/{oid}")
    assert oid in text
    assert f"/org/m/tree/{oid}" in text
    assert hub.send("GET", f"/org/m/commit/{'0' * 40}", token=None, status=404).json["code"]


def test_blob_leads_to_the_content(filled) -> None:
    hub, _ = filled
    answer = hub.send("GET", "/org/m/blob/main/sub/a%20b%3C&%3E.txt", token=None, status=302)
    assert hub.send("GET", answer.headers["location"], token=None).body == b"12345"


def test_private_repositories_have_no_pages(hub: HubDriver) -> None:
    hub.create("org/secret", private=True)
    missing = hub.send("GET", "/org/none", token=None, status=404)
    for path in ("", "/tree/main", "/blob/main/x", "/commit/main"):
        answer = hub.send("GET", f"/org/secret{path}", token=None, status=404)
        assert answer.json["code"] == missing.json["code"]


def test_datasets_have_pages_of_their_own(hub: HubDriver) -> None:
    hub.create("org/d", type="dataset")
    assert "datasets/org/d" in page(hub, "/datasets/org/d")
