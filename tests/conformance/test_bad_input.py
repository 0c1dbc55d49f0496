"""The table of bad input: each row gets its status, a stable code, one line of JSON, and gives nothing away.

Rows are sent as exact bytes. What is not HTTP at all is answered by the HTTP parser: a bare status without a body
(code None).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.raw import build, exchange

REPO = "bad/input"
HASH = "0123456789abcdef" * 4
ABSENT_TOKEN = "xetway_" + "A" * 43


class Row(NamedTuple):
    """One request and what it gets. `half_close` ends the client's side after the bytes."""

    name: str
    request: bytes
    status: int
    code: str | None
    half_close: bool = False


def get(target: str, status: int, code: str | None, *headers: str) -> Row:
    return Row(f"GET {target[:60]} {' '.join(headers)[:40]}", build("GET", target, *headers), status, code)


def post(target: str, status: int, code: str | None, *headers: str, body: bytes = b"", cut: bool = False) -> Row:
    named = " ".join(headers).lower()
    if "content-length" not in named and "transfer-encoding" not in named:
        headers = (*headers, f"Content-Length: {len(body)}")
    name = f"POST {target[:60]} {' '.join(headers)[:60]}{' cut' if cut else ''}"
    return Row(name, build("POST", target, *headers, body=body), status, code, cut)


TRAVERSAL = [
    get(target, 400, "bad_path")
    for target in (
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "//etc/passwd",
        "/%2Fetc%2Fpasswd",
        f"/download/{REPO}/../../../xetway.db",
        f"/download/{REPO}/%2E%2E/%2e./xetway.db",
        f"/download/{REPO}/a/..%2F..%2Fxetway.db",
        f"/download/{REPO}/%2Fetc/passwd",
        f"/download/{REPO}/a//b",
        f"/download/{REPO}/./README.md",
        f"/download/{REPO}/README.md%00.png",
        f"/download/{REPO}/a%0Ab",
        f"/download/{REPO}/%c0%ae%c0%ae/xetway.db",
        f"/download/{REPO}/%ff",
        f"/download/{REPO}/%zz",
        f"/download/{REPO}/100%",
        f"/{REPO}/resolve/main/../../../xetway.db",
        f"/{REPO}/resolve/..%2f..%2fmain/README.md",
        f"/api/models/{REPO}/tree/main/..%2F..",
        f"/api/models/..%2f..%2f/{REPO}",
        "/download-hash/..%2f..%2fxetway.db",
        "/xorb-data/..%2fxetway.db",
        "/v1/reconstructions/..%2f..%2fxetway.db",
        "/v1/chunks/default/%2e%2e",
    )
]
NOT_THERE = [
    get(f"/download/{REPO}/..\\..\\xetway.db", 404, "entry_not_found"),
    get(f"/download/{REPO}/C:%5Cwindows%5Cwin.ini", 404, "entry_not_found"),
    get(f"/download/{REPO}/README.md/x", 404, "entry_not_found"),
    get(f"/download/{REPO}/README.md?revision=../../x", 404, "revision_not_found"),
    get(f"/download/{REPO}/README.md?revision=%00", 404, "revision_not_found"),
    get("/download/nobody/nothing/x", 404, "repo_not_found"),
    get("/download/nobody", 404, "route_not_found"),
    get("/nothing/here", 404, "repo_not_found"),
    get("/nothing/here/there", 404, "route_not_found"),
    get("/xetway.db", 404, "route_not_found"),
]
OVERLONG = [
    get(f"/download/{REPO}/" + "x" * 1025, 400, "bad_path"),
    get(f"/download/{REPO}/" + "%41" * 1025, 400, "bad_path"),
    get(f"/download/{REPO}/" + "/".join(["x" * 1000] * 20), 400, "bad_path"),
    get(f"/{REPO}/resolve/" + "r" * 2000 + "/x", 400, "bad_path"),
    get("/" + "x" * 70_000, 414, None),
    get("/download-hash/" + "0" * 1000, 400, "bad_hash"),
]
HASHES = [
    get("/download-hash/xyz", 400, "bad_hash"),
    get("/download-hash/" + HASH[:-1], 400, "bad_hash"),
    get("/download-hash/" + HASH + "0", 400, "bad_hash"),
    get("/download-hash/" + HASH[:-1] + "g", 400, "bad_hash"),
    get("/download-hash/" + "%C3%A9" * 32, 400, "bad_hash"),
    get("/download-hash/" + HASH, 404, "file_not_found"),
    get("/xorb-data/xyz", 400, "bad_hash"),
]
RANGES = [
    get(f"/download/{REPO}/README.md", 416, "range_not_satisfiable", "Range: bytes=5-"),
    get(f"/download/{REPO}/README.md", 416, "range_not_satisfiable", "Range: bytes=999999999999999999-"),
    get(f"/download/{REPO}/README.md", 416, "range_not_satisfiable", "Range: bytes=-0"),
]
METHODS = [
    Row("DELETE /health", build("DELETE", "/health"), 405, "method_not_allowed"),
    Row("TRACE /", build("TRACE", "/"), 405, "method_not_allowed"),
    Row("made-up method", build("BREW", f"/download/{REPO}/README.md"), 405, "method_not_allowed"),
    post(f"/download/{REPO}/README.md", 405, "method_not_allowed", body=b"x"),
    post("/health", 405, "method_not_allowed", body=b"x" * 100_000),
    Row("OPTIONS *", build("OPTIONS", "*"), 400, "bad_path"),
    Row("DELETE of a xorb", build("DELETE", f"/v1/xorbs/default/{HASH}"), 404, "route_not_found"),
    Row(
        "PUT of a xorb",
        build("PUT", f"/xorbs/default/{HASH}", "Content-Length: 3", body=b"abc"),
        404,
        "route_not_found",
    ),
    get("/v1/shards", 404, "route_not_found"),
    get("/v2/shards", 404, "route_not_found"),
    get(f"/v1/xorb-grants/default/{HASH}", 404, "route_not_found"),
    get("/v1", 404, "route_not_found"),
    get("/v2/nothing", 404, "route_not_found"),
    post(f"/v1/xorb-grants/default/{HASH}", 404, "grants_not_offered", body=b"{}"),
]
AUTHORIZATION = [
    get("/api/whoami-v2", 401, "token_required"),
    get("/api/whoami-v2", 401, "invalid_token", f"Authorization: Bearer {ABSENT_TOKEN}"),
    get("/api/whoami-v2", 401, "invalid_token", "Authorization: Bearer " + "x" * 10_000),
    get(f"/v1/reconstructions/{HASH}", 401, None, "Authorization: Bearer nonsense"),
    get(f"/v1/reconstructions/{HASH}", 401, None, "Authorization: Bearer a.b.c"),
    get(f"/v1/reconstructions/{HASH}", 401, None),
    post("/api/repos/create", 401, "token_required", body=b'{"name":"x","organization":"y"}'),
]
BODIES = [
    post("/api/repos/create", 400, "truncated_body", "Content-Length: 100", body=b'{"name":"x"}', cut=True),
    post("/api/repos/create", 400, "truncated_body", "Transfer-Encoding: chunked", body=b'5\r\n{"na', cut=True),
    post("/api/repos/create", 400, "truncated_body", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\n", cut=True),
    post("/api/repos/create", 400, "truncated_body", "Transfer-Encoding: chunked", body=b"2\r\n{}\r\nqq\r\n", cut=True),
    post("/api/repos/create", 400, "bad_json", body=b"name=x&organization=y"),
    post("/api/repos/create", 400, "bad_json", "Content-Type: application/json", body=b"{"),
    post("/api/repos/create", 400, "bad_json", "Content-Type: application/json", body=b'{"name":"\xff"}'),
    post("/api/repos/create", 400, "bad_json", "Content-Type: application/json", body=b'{"name":[]}'),
    post("/api/repos/create", 400, "bad_json", "Content-Type: application/json", body=b"[" * 100_000),
    *(
        post(
            f"/api/models/{REPO}/commit/main",
            400,
            "bad_commit",
            body=b'{"key":"header","value":{"summary":"s"}}\n' + line,
        )
        for line in (
            b'{"key":"\xff","value":{}}',
            b'{"key":"file","value":{"path":"\xff","content":"x"}}',
            b'{"key":"file","value":{"path":"x","content":"\xff"}}',
        )
    ),
    post(f"/api/models/{REPO}/commit/main", 400, "bad_commit", body=b'{"key":"header","value":{"summary":"\xff"}}'),
    post("/api/repos/create", 413, "body_too_large", "Content-Length: 99999999999", cut=True),
    post("/api/repos/create", 413, "body_too_large", "Content-Length: 18446744073709551000", cut=True),
]
PARSER = [
    Row("two lengths", build("POST", "/health", "Content-Length: 1", "Content-Length: 2", body=b"xx"), 400, None),
    Row("negative length", build("POST", "/health", "Content-Length: -1"), 400, None),
    Row("endless length", build("POST", "/health", "Content-Length: " + "9" * 40), 400, None),
    Row("NUL in the path", build("GET", "/a\0b"), 400, None),
    Row("space in the path", build("GET", "/a b"), 400, None),
    Row("control character in a header", build("GET", "/", "X-A: a\x01b"), 400, None),
    Row("relative path", build("GET", "../x"), 400, None),
    Row("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, None),
]
HEADERS = [
    get("/health", 431, "headers_too_large", "X-Big: " + "x" * 66_000),
    get("/health", 431, "headers_too_large", *(f"X-{n}: {'x' * 900}" for n in range(80))),
    get("/health", 431, None, *(f"X-{n}: x" for n in range(150))),
    get("/health", 431, None, "X-Big: " + "x" * 600_000),
    Row("no host", b"GET / HTTP/1.1\r\n\r\n", 400, "bad_host"),
    Row("host with markup", build("GET", "/", host="<script>"), 400, "bad_host"),
    Row("two hosts", build("GET", "/", "Host: b"), 400, "bad_host"),
    Row("a name that was pointed here", build("GET", "/api/models", host="evil.example"), 421, "foreign_host"),
    Row("with a port", build("GET", "/health", host="evil.example:8080"), 421, "foreign_host"),
    Row("that looks local", build("GET", "/health", host="127.0.0.1.evil.example"), 421, "foreign_host"),
    get(f"/download/{REPO}/README.md?revision=%ff", 400, "bad_query"),
    get(f"/download/{REPO}/README.md?" + "&".join(["a=b"] * 500), 400, "bad_query"),
    get(f"/download/{REPO}/README.md?type=car", 400, "bad_type"),
]
ORIGINS = [
    post("/api/repos/create", 403, "cross_origin", "Origin: http://evil.example", body=b"{}"),
    post("/api/repos/create", 403, "cross_origin", "Origin: null", body=b"{}"),
    post(
        "/api/repos/create", 403, "cross_origin", "Sec-Fetch-Site: cross-site", "Content-Type: text/plain", body=b"{}"
    ),
    Row(
        "DELETE of another port", build("DELETE", "/api/repos/delete", "Sec-Fetch-Site: same-site"), 403, "cross_origin"
    ),
]
TABLE = [
    *TRAVERSAL,
    *NOT_THERE,
    *OVERLONG,
    *HASHES,
    *RANGES,
    *METHODS,
    *AUTHORIZATION,
    *BODIES,
    *PARSER,
    *HEADERS,
    *ORIGINS,
]


@pytest.fixture(scope="module")
def hub(server: ServerProcess, write_token: str) -> Iterator[httpx.Client]:
    """The server, with a repository that has a README of 5 bytes."""
    headers = {"authorization": f"Bearer {write_token}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False, timeout=20) as client:
        namespace, name = REPO.split("/")
        made = client.post("/api/repos/create", json={"name": name, "organization": namespace})
        assert made.status_code == 200, made.text
        lines = (
            {"key": "header", "value": {"summary": "a file"}},
            {
                "key": "file",
                "value": {"path": "README.md", "content": base64.b64encode(b"hello").decode(), "encoding": "base64"},
            },
        )
        body = "\n".join(map(json.dumps, lines))
        made = client.post(
            f"/api/models/{REPO}/commit/main", content=body, headers={"content-type": "application/x-ndjson"}
        )
        assert made.status_code == 200, made.text
        yield client


def with_token(row: Row, token: str) -> bytes:
    """Rows about bodies are about what comes after the token was accepted."""
    if row not in BODIES:
        return row.request
    return row.request.replace(b"\r\n", f"\r\nAuthorization: Bearer {token}\r\n".encode(), 1)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_bad_input(row: Row, hub: httpx.Client, server: ServerProcess, write_token: str) -> None:
    answer = exchange(server.url, with_token(row, write_token), half_close=row.half_close)
    assert answer.status == row.status, answer.raw[:500]
    if answer.body:
        told = answer.json
        assert set(told) == {"error", "code"}
        assert re.fullmatch(r"[a-z][a-z0-9_]+", told["code"])
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-error-message"].isprintable()
        assert answer.headers["x-request-id"]
        if row.code is not None:
            assert told["code"] == row.code
    else:
        assert row.code is None
    if row.status == 405:
        assert answer.headers["allow"]
    for secret in (b"Traceback", b".py", str(server.data).encode(), write_token.encode(), ABSENT_TOKEN.encode()):
        assert secret not in answer.raw


@pytest.mark.parametrize("header", ["bytes=abc", "bytes=4-2", "bytes=0-0,2-3", "lines=1-2", "bytes", "bytes=--1"])
def test_ranges_that_are_none_get_everything(header: str, hub: httpx.Client) -> None:
    answer = hub.get(f"/download/{REPO}/README.md", headers={"range": header})
    assert (answer.status_code, answer.content) == (200, b"hello")


FOR_OTHERS = [("--public-url", "https://hub.example"), ("--host", "0.0.0.0")]  # noqa: S104


@pytest.mark.parametrize("options", FOR_OTHERS)
def test_a_server_for_others_has_any_name(options: tuple[str, str], make_server: Callable[..., ServerProcess]) -> None:
    answer = exchange(make_server(*options).url, build("GET", "/health", host="inner.example"))
    assert answer.status == 200


DATES = (
    "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
    "Mon, 01 Jan 2020 00:00:00 +99999999999999999999",
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "soon",
)


@pytest.mark.parametrize("name", ["if-modified-since", "if-range", "if-unmodified-since"])
@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("path", [f"/download/{REPO}/README.md", f"/{REPO}/resolve/main/README.md"])
def test_dates_get_everything(path: str, date: str, name: str, hub: httpx.Client) -> None:
    answer = hub.get(path, headers={name: date, **({"range": "bytes=0-1"} if name == "if-range" else {})})
    assert (answer.status_code, answer.content) == (200, b"hello")


def test_nothing_is_left_behind(hub: httpx.Client, server: ServerProcess) -> None:
    for row in TABLE:
        exchange(server.url, row.request, half_close=row.half_close)
    assert hub.get("/health").json()["status"] == "ok"
    assert list((server.data / "tmp").iterdir()) == []
    assert [path for path in server.data.rglob("*") if path.name in {"passwd", "x"}] == []


def test_the_log_gives_nothing_away(hub: httpx.Client, server: ServerProcess, write_token: str) -> None:
    hub.get("/", headers={"x-request-id": "the-last-one"})
    server.wait_for_log("the-last-one")
    for secret in ("Traceback", str(server.data), write_token, ABSENT_TOKEN, "signature="):
        assert secret not in server.log
    assert all(len(line) < 2000 for line in server.lines)


def test_the_data_folder_is_private(server: ServerProcess) -> None:
    names = {path.name for path in Path(server.data).iterdir()}
    assert "xetway.db" in names
