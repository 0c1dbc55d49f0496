"""Which requests are taken for those of other sites' pages."""

from __future__ import annotations

import pytest

from tests.unit.http_driver import request
from xetway.errors import RequestError
from xetway.http.origins import check_host, check_origin
from xetway.http.request import Request


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:8080",
        "hub.localhost:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.1.2.3",
        "192.0.2.1:80",
        "[::1]",
        "[::1]:8080",
    ],
)
def test_local_hosts(host: str) -> None:
    check_host(request(headers=[("host", host)]))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "evil.example:127",
        "localhost.evil.example",
        "notlocalhost",
        "127.0.0.1.evil.example",
        "127.0.0.1.",
        "2130706433",
        "::1",
        "[::::]",
    ],
)
def test_foreign_hosts(host: str) -> None:
    with pytest.raises(RequestError) as caught:
        check_host(request(headers=[("host", host)]))
    assert (caught.value.status, caught.value.code) in {(421, "foreign_host"), (400, "bad_host")}
    if caught.value.status == 421:
        assert "--public-url" in caught.value.message


def test_no_host_is_no_browser() -> None:
    check_host(_request({}))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://hub.test:8080"},
        {"origin": "https://HUB.test:8080", "sec-fetch-site": "same-origin"},
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_own_writes(method: str, headers: dict[str, str]) -> None:
    check_origin(_request({"host": "hub.test:8080", **headers}, method))


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "same-origin, cross-site"},
    {"sec-fetch-site": ""},
    {"sec-fetch-site": "cross-site", "origin": "http://hub.test:8080"},
    {"sec-fetch-site": "same-origin", "origin": "http://evil.example"},
    {"origin": "http://evil.example"},
    {"origin": "http://hub.test"},
    {"origin": "http://hub.test:8081"},
    {"origin": "http://hub.test:8080.evil.example"},
    {"origin": "http://hub.test:8080, http://evil.example"},
    {"origin": "null"},
    {"origin": ""},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "BREW"])
def test_foreign_writes(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(RequestError) as caught:
        check_origin(_request({"host": "hub.test:8080", **headers}, method))
    assert (caught.value.status, caught.value.code) == (403, "cross_origin")


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reading_changes_nothing(method: str, headers: dict[str, str]) -> None:
    check_origin(_request({"host": "hub.test:8080", **headers}, method))


def test_behind_a_proxy_the_origin_is_the_public_one() -> None:
    public = "https://hub.example/prefix"
    check_origin(_request({"host": "inner:8080", "origin": "https://hub.example"}, "POST", public))
    with pytest.raises(RequestError):
        check_origin(_request({"host": "inner:8080", "origin": "http://inner:8080"}, "POST", public))


def _request(headers: dict[str, str], method: str = "GET", public_url: str | None = None) -> Request:
    async def receive() -> dict[str, object]:
        raise AssertionError

    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "raw_path": b"/", "headers": encoded}
    return Request(scope, receive, public_url)
