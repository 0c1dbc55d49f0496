"""Networks as companies have them: TLS that is intercepted, proxies, names that do not resolve, and none at all."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerError, ServerProcess

from tests.conformance.crafted_repo import CraftedRepo, craft_repo
from tests.peers.certificates import Authority, make_authority
from tests.peers.mirrored import Site
from tests.peers.proxies import PASSWORD, QUOTED, Proxy
from tests.peers.test_mirror_faults import by_get, by_xet, check

DIRECT = {"NO_PROXY": "", "no_proxy": ""}  # takes back what keeps proxies away from loopback


def get(url: str) -> tuple[int, Any]:
    """Status and JSON (or bytes) of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def failure(mirror: ServerProcess, path: str) -> dict[str, Any]:
    """The JSON of a refusal."""
    status, body = get(f"{mirror.url}{path}")
    assert 500 <= status < 600, (status, body)
    assert set(body) >= {"error", "code"}
    return body


@pytest.fixture
def crafted(server: ServerProcess, write_token: str) -> CraftedRepo:
    return craft_repo(server, write_token, files=3, chunks=8)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


def test_intercepted_tls_says_what_to_do(make_upstream, make_mirror, crafted: CraftedRepo, authority) -> None:
    mirror = make_mirror(make_upstream(tls=authority.server_context()))
    for path in (f"/api/models/{crafted.name}", f"/{crafted.name}/resolve/main/{crafted.files[0].name}"):
        told = failure(mirror, path)
        assert told["code"] == "tls_untrusted"
        for word in ("127.0.0.1", "--ca-bundle", "SSL_CERT_FILE"):
            assert word in told["error"], told


def how_to_trust(authority: Authority, how: str) -> dict[str, Any]:
    if how == "--ca-bundle":
        return {"options": (how, str(authority.root))}
    if how == "SSL_CERT_DIR":
        return {"env": {how: str(authority.hashed_folder())}}
    return {"env": {how: str(authority.root)}}


@pytest.mark.parametrize("how", ["--ca-bundle", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"])
def test_every_way_to_trust_works(
    server, make_upstream, make_mirror, make_client, crafted: CraftedRepo, authority: Authority, how: str
) -> None:
    trust = how_to_trust(authority, how)
    upstream = make_upstream(tls=authority.server_context())
    mirror = make_mirror(upstream, *trust.get("options", ()), env=trust.get("env"))
    site = Site(server, upstream, mirror, make_client)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    assert upstream.url.startswith("https://")


def test_a_bundle_that_is_none_is_one_line(make_mirror, tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate\n")
    for name in ("nowhere.pem", "empty.pem"):
        with pytest.raises(ServerError, match=r"(?i)ca.bundle"):
            make_mirror("https://127.0.0.1:1", "--ca-bundle", str(tmp_path / name))


def test_a_name_that_does_not_resolve(make_mirror, crafted: CraftedRepo) -> None:
    told = failure(make_mirror("http://hub.invalid"), f"/api/models/{crafted.name}")
    assert told["code"] == "dns_failure"
    assert "hub.invalid" in told["error"]


def test_only_the_data_has_a_name_that_does_not_resolve(site: Site, server, write_token: str, crafted) -> None:
    site.upstream.pretend_cdn("http://cdn.invalid:1")
    got = by_get(site, crafted)
    assert all("dns_failure" in said and "cdn.invalid" in said for said in got.values()), got
    site.upstream.pretend_cdn(None)
    others = craft_repo(server, write_token, files=3)
    check(site, others, by_get(site, others), all_right=True)


def test_nobody_listens(site: Site, crafted: CraftedRepo) -> None:
    site.upstream.down()
    told = failure(site.mirror, f"/api/models/{crafted.name}")
    assert told["code"] == "connect_failed"
    assert "127.0.0.1" in told["error"]
    site.upstream.up()
    deadline = time.monotonic() + 20  # it leaves an upstream alone for a while that was down
    while get(f"{site.mirror.url}/api/models/{crafted.name}")[0] != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy() as running:
        yield running


@pytest.mark.parametrize(
    ("variable", "scheme", "how"),
    [
        ("HTTP_PROXY", "http", "FORWARD"),
        ("http_proxy", "http", "FORWARD"),
        ("ALL_PROXY", "http", "FORWARD"),
        ("ALL_PROXY", "socks5", "SOCKS"),
        ("all_proxy", "socks5h", "SOCKS"),
    ],
)
def test_proxies(
    server, make_upstream, make_mirror, make_client, crafted, proxy: Proxy, variable: str, scheme: str, how: str
) -> None:
    upstream = make_upstream()
    mirror = make_mirror(upstream, env={**DIRECT, variable: proxy.url(scheme)})
    site = Site(server, upstream, mirror, make_client)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    ports = {item.rpartition(":")[2] for item in proxy.served}
    assert {item.split()[0] for item in proxy.served} == {how}
    assert ports == {url.rpartition(":")[2] for url in (upstream.url, upstream.cas_url, upstream.cdn_url)}
    assert PASSWORD not in mirror.log
    assert QUOTED not in mirror.log


def test_tls_through_a_proxy(
    server, make_upstream, make_mirror, make_client, crafted: CraftedRepo, proxy: Proxy, authority: Authority
) -> None:
    upstream = make_upstream(tls=authority.server_context())
    mirror = make_mirror(upstream, "--ca-bundle", str(authority.root), env={**DIRECT, "HTTPS_PROXY": proxy.url()})
    site = Site(server, upstream, mirror, make_client)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    assert {item.split()[0] for item in proxy.served} == {"CONNECT"}


def test_no_proxy_keeps_it_out(server, make_upstream, make_mirror, make_client, crafted, proxy: Proxy) -> None:
    upstream = make_upstream()
    env = {"HTTP_PROXY": proxy.url(), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    site = Site(server, upstream, make_mirror(upstream, env=env), make_client)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    assert {item.split()[1].partition(":")[0] for item in proxy.served} == {"localhost"}, (
        "all but the CDN's is excepted"
    )


def test_a_proxy_that_refuses_is_named_without_the_password(make_upstream, make_mirror, crafted, proxy) -> None:
    mirror = make_mirror(make_upstream(), env={**DIRECT, "HTTP_PROXY": proxy.url(password="wrongSecret")})
    told = failure(mirror, f"/api/models/{crafted.name}")
    assert told["code"] == "proxy_auth_failed"
    assert proxy.refused
    assert "wrongSecret" not in mirror.log + json.dumps(told)


def test_a_dead_proxy_is_a_clear_error(make_upstream, make_mirror, crafted: CraftedRepo, proxy: Proxy) -> None:
    dead = "http://someone:aSecretWord@127.0.0.1:9"
    mirror = make_mirror(make_upstream(), env={**DIRECT, "HTTP_PROXY": dead})
    told = failure(mirror, f"/api/models/{crafted.name}")
    assert told["code"] in {"proxy_failed", "connect_failed"}
    assert "127.0.0.1:9" in told["error"] or "proxy" in told["error"]
    assert "aSecretWord" not in mirror.log + json.dumps(told)


# -- without an upstream


def test_offline_serves_what_is_there(site: Site, make_mirror, crafted: CraftedRepo, server, write_token) -> None:
    check(site, crafted, by_xet(site, crafted), all_right=True)
    assert site.mirror.stop() == 0
    site.upstream.forget()
    site.mirror = make_mirror(site.upstream, "--offline", data=site.mirror.data)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    check(site, crafted, by_get(site, crafted), all_right=True)
    other = craft_repo(server, write_token)
    for path in (
        f"/api/models/{other.name}",
        f"/{other.name}/resolve/main/{other.files[0].name}",
        f"/download/{other.name}/{other.files[0].name}",
    ):
        told = failure(site.mirror, path)
        assert told["code"] == "not_cached"
        assert "offline" in told["error"]
    assert len(site.upstream.seen) == 0, "offline means that nobody is asked"


def test_an_upstream_that_is_down_is_not_missed(site: Site, crafted: CraftedRepo) -> None:
    path = f"{site.mirror.url}/api/models/{crafted.name}/revision/main"
    assert get(path)[0] == 200
    check(site, crafted, by_xet(site, crafted), all_right=True)
    site.upstream.down()
    check(site, crafted, by_xet(site, crafted), all_right=True)
    check(site, crafted, by_get(site, crafted), all_right=True)
    with urllib.request.urlopen(path) as answer:
        assert answer.headers["x-xetway-cache"] == "stale"
    with urllib.request.urlopen(f"{site.mirror.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    assert [line for line in lines if "stale" in line and not line.startswith("#") and not line.endswith(" 0")], lines


def test_stale_answers_have_an_end(make_upstream, make_mirror, make_client, server, crafted: CraftedRepo) -> None:
    upstream = make_upstream()
    site = Site(server, upstream, make_mirror(upstream, "--max-stale", "1s"), make_client)
    path = f"{site.mirror.url}/api/models/{crafted.name}/revision/main"
    assert get(path)[0] == 200
    upstream.down()
    deadline = time.monotonic() + 30
    while (answer := get(path))[0] == 200:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert answer[0] >= 500
    assert answer[1]["code"] == "connect_failed"
    by_commit = get(f"{site.mirror.url}/api/models/{crafted.name}/revision/{crafted.commit}")
    assert by_commit[0] in {200, answer[0]}
