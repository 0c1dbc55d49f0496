"""The page at / and /health."""

from __future__ import annotations

import re

from tests.unit.http_driver import call
from xetway import __version__
from xetway.web.pages import HEALTH, routes


def test_health() -> None:
    got = call([HEALTH], "GET", "/health")
    assert (got.status, got.json) == (200, {"status": "ok", "version": __version__})


def test_index_has_this_servers_address() -> None:
    got = call(routes(), "GET", "/", [("host", "hub.test:1234")])
    page = got.body.decode()
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in got.headers["content-security-policy"]
    assert "export HF_ENDPOINT=http://hub.test:1234" in page
    assert "/download/" in page
    assert "/download-hash/" in page
    assert "${" not in page


def test_index_names_the_hub_that_is_mirrored() -> None:
    page = call(routes("https://hub.example/?<b>"), "GET", "/").body.decode()
    assert "mirror of <code>https://hub.example/?&lt;b&gt;</code>" in page
    assert "mirror of" not in call(routes(), "GET", "/").body.decode()


def test_index_needs_nothing_from_elsewhere() -> None:
    page = call(routes(), "GET", "/").body.decode()
    assert not re.search(r"""(?:src|href)=["'](?!data:|/|#)""", page)
    assert "<script" not in page


def test_a_host_header_cannot_put_markup_into_the_page() -> None:
    got = call(routes(), "GET", "/", [("host", '"><script>alert(1)</script>')])
    assert (got.status, got.json["code"]) == (400, "bad_host")
