"""Prefetching: the account of a mirror is followed line by line, and its end is not taken for granted."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from xetway.errors import ConfigError, XetwayError
from xetway.transfer.prefetching import Prefetch, Prefetched, run_prefetch
from xetway.transfer.results import Observer, Progress

WANTED = Prefetch(repo="org/model", type="model", revision="main", include=("*.bin",))
TOKEN = "hf_secretsecret"


class Mirror(HTTPServer):
    """Answers every POST with these lines, as they are."""

    status = 200
    headers: tuple[tuple[str, str], ...] = ()
    lines: tuple[bytes, ...] = ()

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((self.path, self.headers.get("authorization"), body))
        self.send_response(self.server.status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.end_headers()
        for line in self.server.lines:
            self.wfile.write(line)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


class Notes(Observer):
    def __init__(self) -> None:
        self.said: list[Any] = []

    def progressed(self, progress: Progress) -> None:
        self.said.append((progress.path, progress.written_bytes, progress.total_bytes))

    def finished(self, path: str, size: int) -> None:
        self.said.append((path, "done"))


def test_progress_and_result(mirror: Mirror) -> None:
    mirror.lines = (
        b'{"type":"file","path":"a.bin","held":5,"total":10}\n\n',
        b'{"type":"something new","extra":1}\n',
        b'{"type":"file","path":"a.bin","held":10,"total":10}\n',
        b'{"type":"result","files":1,"bytes":10,"fetched":7}\n',
    )
    notes = Notes()
    assert run_prefetch(mirror.url, TOKEN, WANTED, notes) == Prefetched(files=1, bytes=10, fetched=7)
    assert notes.said == [("a.bin", 5, 10), ("a.bin", 10, 10), ("a.bin", "done")]
    ((path, token, body),) = mirror.asked
    assert (path, token) == ("/api/xetway/prefetch", f"Bearer {TOKEN}")
    assert body == {"repo": "org/model", "type": "model", "revision": "main", "include": ["*.bin"], "exclude": []}


def test_failure_of_the_mirror_keeps_its_code(mirror: Mirror) -> None:
    mirror.lines = (b'{"type":"error","code":"storage_full","error":"no room"}\n',)
    with pytest.raises(XetwayError, match="no room") as failed:
        run_prefetch(mirror.url, TOKEN, WANTED, Observer())
    assert failed.value.code == "storage_full"


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((b'{"type":"file","path":"a","held":1,"total":2}\n',), "connection_cut"),
        ((b'{"type":"result","fi',), "bad_hub_answer"),
        ((b"<html>\n",), "bad_hub_answer"),
    ],
)
def test_account_without_a_result_is_a_failure(mirror: Mirror, lines: tuple[bytes, ...], code: str) -> None:
    mirror.lines = lines
    with pytest.raises(XetwayError) as failed:
        run_prefetch(mirror.url, None, WANTED, Observer())
    assert failed.value.code == code


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (404, (), "no_prefetch"),
        (404, (("x-error-code", "RepoNotFound"), ("x-error-message", "no such repo")), "hub_refused"),
        (401, (), "token_refused"),
        (302, (("location", "http://127.0.0.1:1/steal"),), "hub_refused"),
    ],
)
def test_refusals(mirror: Mirror, status: int, headers: tuple[tuple[str, str], ...], code: str) -> None:
    mirror.status, mirror.headers = status, headers
    with pytest.raises(XetwayError) as refused:
        run_prefetch(mirror.url, TOKEN, WANTED, Observer())
    assert refused.value.code == code
    assert TOKEN not in str(refused.value)
    assert len(mirror.asked) == 1


def test_nobody_there() -> None:
    with pytest.raises(XetwayError, match="is the mirror running") as failed:
        run_prefetch("http://127.0.0.1:9", TOKEN, WANTED, Observer())
    assert failed.value.code == "connect_failed"


def test_a_server_without_tls_is_told(mirror: Mirror) -> None:
    with pytest.raises(XetwayError, match="begin with http://") as failed:
        run_prefetch(mirror.url.replace("http:", "https:"), TOKEN, WANTED, Observer())
    assert failed.value.code == "tls_untrusted"


def test_certificates_that_are_none(tmp_path: Any) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("nonsense")
    calls: list[Callable[[], Any]] = [
        lambda: run_prefetch("http://127.0.0.1:9", None, WANTED, Observer(), ca_bundle=str(path)),
        lambda: run_prefetch("http://127.0.0.1:9", None, WANTED, Observer(), ca_bundle=str(tmp_path / "none")),
    ]
    for call in calls:
        with pytest.raises(ConfigError) as refused:
            call()
        assert refused.value.code == "bad_ca_bundle"
