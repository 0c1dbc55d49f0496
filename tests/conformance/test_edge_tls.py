"""HTTPS of a real server: both HTTP versions, certificates of clients, and new certificates while it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from server_process import ServerError, ServerProcess

from tests.conformance.model_server import ModelServer, chat, events
from tests.peers.certificates import Authority, make_authority

CHAT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> tuple[Path, Path]:
    """The certificate and key that the server of this test is configured with."""
    found = tmp_path / "tls.pem", tmp_path / "tls.key"
    put(authority, "server", found)
    return found


@pytest.fixture
def secured(files: tuple[Path, Path], serving: Callable[..., ServerProcess]) -> Callable[..., ServerProcess]:
    """As `serving`, with HTTPS."""

    def make(*settings: str) -> ServerProcess:
        cert, key = files
        return serving(f"tls.cert={cert}", f"tls.key={key}", *settings)

    return make


def put(authority: Authority, name: str, files: tuple[Path, Path]) -> None:
    """Replace the server's certificate and key, each at once, as tools that renew certificates do."""
    cert, key = authority.sign(name)
    for source, target in zip((cert, key), files, strict=True):
        shutil.copy(source, f"{target}.new")
        os.replace(f"{target}.new", target)


def trusting(authority: Authority, client: tuple[Path, Path] | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.root))
    if client is not None:
        context.load_cert_chain(*client)
    return context


def shown(server: ServerProcess, authority: Authority) -> str:
    """The common name in the certificate that a new connection gets."""
    port = int(server.url.rsplit(":", 1)[1])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as link,
        trusting(authority).wrap_socket(link, server_hostname="localhost") as secure,
    ):
        subject = secure.getpeercert()["subject"]  # type: ignore[index]
    return dict(pair for pairs in subject for pair in pairs)["commonName"]  # type: ignore[misc]


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_both_versions_of_http_are_spoken(
    secured: Callable[..., ServerProcess], authority: Authority, upstream: ModelServer, version: str
) -> None:
    server = secured()
    assert server.url.startswith("https://127.0.0.1:")
    with httpx.Client(
        base_url=server.url, verify=trusting(authority), http2=version == "HTTP/2", trust_env=False, timeout=30
    ) as client:
        got = client.post(CHAT, json={"model": "m"})
        assert (got.http_version, got.status_code, got.content) == (version, 200, chat("hi"))
        upstream.manner = events(b"1", b"2", b"[DONE]")
        with client.stream("POST", CHAT, json={"model": "m", "stream": True}) as got:
            lines = [line for line in got.iter_lines() if line]
        assert lines == ["data: 1", "data: 2", "data: [DONE]"]
        assert client.get("/health").status_code == 200
        assert client.get("/v1/none").json()["code"] == "route_not_found"


def test_curl_speaks_http2(secured: Callable[..., ServerProcess], authority: Authority) -> None:
    if "HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, text=True, check=False).stdout:
        pytest.skip("needs curl with HTTP/2")
    server = secured()
    asked = ["curl", "--http2", "--silent", "--show-error", "--noproxy", "*", "--cacert", str(authority.root)]
    told = ["--write-out", "\n%{http_version} %{http_code}", "--data", '{"model":"m"}', server.url + CHAT]
    got = subprocess.run([*asked, *told], capture_output=True, text=True, check=True, timeout=30).stdout
    assert got.splitlines() == [chat("hi").decode(), "2 200"]


def test_clients_need_a_certificate_where_an_authority_is_named(
    secured: Callable[..., ServerProcess], authority: Authority, tmp_path: Path
) -> None:
    clients = make_authority(tmp_path / "clients", "Clients of a test")
    server = secured(f"tls.client_ca={clients.root}")
    known, stranger = clients.sign("client", "clientAuth"), authority.sign("stranger", "clientAuth")
    with httpx.Client(verify=trusting(authority, known), trust_env=False, timeout=30) as client:
        assert client.post(server.url + CHAT, json={"model": "m"}).content == chat("hi")
    for mine in (None, stranger):
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url + "/health", verify=trusting(authority, mine), trust_env=False)


def test_plain_http_gets_no_answer(secured: Callable[..., ServerProcess]) -> None:
    server = secured()
    with pytest.raises(httpx.TransportError):
        httpx.get(server.url.replace("https:", "http:") + "/health", trust_env=False)


def test_a_new_certificate_is_for_new_connections_and_streams_go_on(
    secured: Callable[..., ServerProcess], files: tuple[Path, Path], authority: Authority, upstream: ModelServer
) -> None:
    step = threading.Semaphore(1)
    upstream.manner = events(b"1", b"2", b"[DONE]", step=step)
    server = secured()
    assert shown(server, authority) == "server"
    with (
        httpx.Client(base_url=server.url, verify=trusting(authority), trust_env=False, timeout=30) as client,
        client.stream("POST", CHAT, json={"model": "m", "stream": True}) as got,
    ):
        lines = (line for line in got.iter_lines() if line)
        assert next(lines) == "data: 1"
        put(authority, "renewed", files)
        server.wait_for_log("new connections get the new certificate")
        assert shown(server, authority) == "renewed"
        step.release(2)
        assert list(lines) == ["data: 2", "data: [DONE]"]
    assert shown(server, authority) == "renewed"


def test_a_broken_new_certificate_is_not_used(
    secured: Callable[..., ServerProcess], files: tuple[Path, Path], authority: Authority
) -> None:
    server = secured()
    files[0].write_text("half a certificate")
    assert " ERROR " in server.wait_for_log("the new certificate is not used", "tls.cert")
    assert shown(server, authority) == "server"
    put(authority, "mended", files)
    server.wait_for_log("new connections get the new certificate")
    assert shown(server, authority) == "mended"


@pytest.mark.parametrize(
    ("cert", "key", "told"),
    [
        ("empty", "server.key", "tls.cert is "),
        ("server.pem", "empty", "tls.key is "),
        ("server.pem", "root.key", "which does not belong to the certificate of tls.cert"),
        ("server.pem", "locked.key", "or one with a password"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(
    tmp_path: Path, authority: Authority, cert: str, key: str, told: str
) -> None:
    (authority.folder / "empty").write_text("")
    if key == "locked.key":
        text = subprocess.run(
            ["openssl", "pkcs8", "-topk8", "-in", "server.key", "-passout", "pass:secret"],
            cwd=authority.folder, capture_output=True, check=True,
        ).stdout  # fmt: skip
        (authority.folder / key).write_bytes(text)
    options = [f"--set=tls.cert={authority.folder / cert}", f"--set=tls.key={authority.folder / key}"]
    with pytest.raises(ServerError) as caught:
        ServerProcess(tmp_path, *options)
    assert told in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word on each connection")
def test_connections_on_which_nothing_is_asked_are_closed_and_streams_may_pause(
    secured: Callable[..., ServerProcess], authority: Authority, upstream: ModelServer
) -> None:
    step = threading.Semaphore(1)
    upstream.manner = events(b"1", b"2", b"[DONE]", step=step)
    server = secured("http.header_timeout=0.5")
    files = Path(f"/proc/{server.process.pid}/fd")
    opened = len(list(files.iterdir()))
    with contextlib.ExitStack() as held:
        client = held.enter_context(httpx.Client(base_url=server.url, verify=trusting(authority), trust_env=False))
        got = held.enter_context(client.stream("POST", CHAT, json={"model": "m", "stream": True}))
        lines = (line for line in got.iter_lines() if line)
        assert next(lines) == "data: 1"
        for version in ("http/1.1", "h2"):
            context = trusting(authority)
            context.set_alpn_protocols([version])
            port = int(server.url.rsplit(":", 1)[1])
            link = held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            silent = held.enter_context(context.wrap_socket(link, server_hostname="localhost"))
            assert silent.selected_alpn_protocol() == version
            with contextlib.suppress(OSError):
                assert silent.recv(1) == b""
        step.release(2)
        assert list(lines) == ["data: 2", "data: [DONE]"]
    assert len(list(files.iterdir())) < opened + 20
