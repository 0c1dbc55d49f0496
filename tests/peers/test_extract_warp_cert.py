"""scripts/extract-warp-cert.sh against made-up stores, a made-up keychain, and a connection that is really opened."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from toolchain import ROOT

from tests.conformance.crafted_repo import craft_repo
from tests.peers.certificates import Authority, make_authority, openssl
from tests.peers.mirrored import Site
from tests.peers.test_mirror_faults import by_get, check

SCRIPT = ROOT / "scripts" / "extract-warp-cert.sh"
# What the script may find.
TOOLS = ("sh", "awk", "base64", "cat", "cp", "cut", "grep", "mktemp", "rm", "sed", "sha256sum", "tr", "openssl")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="a shell script")
BEGIN = "-----BEGIN CERTIFICATE-----"


@pytest.fixture(scope="module")
def warp(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("warp"), "Gateway CA - Cloudflare Managed G1 0123456789")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("company"), "Example Corp Internal Root")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for PATH with just what the script may need; a test takes something away or puts something in."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    return folder


def run(path: Path, *arguments: object, expect: int = 0) -> str:
    answer = subprocess.run(
        ["/bin/sh", str(SCRIPT), *map(str, arguments)],
        env={"PATH": str(path), "HOME": str(path.parent / "home"), "TMPDIR": str(path.parent)},
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    said = answer.stdout + answer.stderr
    assert answer.returncode == expect, said
    assert not list(path.parent.glob("extract-warp-cert.*")), "a temporary folder is left"
    return said


def put(root: Path, place: str, *authorities: Authority) -> Path:
    target = root / place.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("".join(f"# a comment\n{authority.root.read_text()}" for authority in authorities))
    return target


def test_help_and_wrong_use(path: Path) -> None:
    assert run(path, "--help").startswith("Usage: extract-warp-cert.sh")
    assert "--wrong" in run(path, "--wrong", expect=2)
    assert "value" in run(path, "-o", expect=2)
    assert "host name" in run(path, "a;b", expect=2)
    assert "no folder" in run(path, "--root", "/nowhere/at/all", expect=2)


@pytest.mark.parametrize(
    "place",
    [
        "/Library/Application Support/Cloudflare/installed_certs/0f1e2d3c.pem",
        "/Library/Application Support/Cloudflare/installed_cert.pem",
        "/var/lib/cloudflare-warp/installed_certs/0f1e2d3c.pem",
        "/var/lib/cloudflare-warp/installed_cert.pem",
        "/usr/local/share/ca-certificates/managed-warp.pem",
        "/usr/local/share/ca-certificates/company/proxy.crt",
        "/etc/pki/ca-trust/source/anchors/anything.pem",
    ],
)
@pytest.mark.parametrize("with_openssl", [True, False])
def test_stores(path: Path, tmp_path: Path, warp: Authority, place: str, with_openssl: bool) -> None:
    store = tmp_path / "store"
    put(store, place, warp)
    if not with_openssl:
        (path / "openssl").unlink()
    said = run(path, "--root", store, "-o", tmp_path / "out.pem")
    assert (tmp_path / "out.pem").read_text() == warp.root.read_text()
    digest = openssl("x509", "-in", str(warp.root), "-noout", "-fingerprint", "-sha256", cwd=tmp_path)
    assert digest.partition("=")[2].strip().replace(":", "").lower() in said
    assert "--ca-bundle" in said
    assert "SSL_CERT_FILE" in said
    assert (warp.name in said) is with_openssl


def test_the_same_root_in_many_places_is_written_once(path: Path, tmp_path: Path, warp: Authority) -> None:
    store = tmp_path / "store"
    for place in ("/var/lib/cloudflare-warp/installed_cert.pem", "/usr/local/share/ca-certificates/managed-warp.crt"):
        put(store, place, warp, warp)
    run(path, "--root", store, "-o", "out.pem")
    assert (tmp_path / "out.pem").read_text().count(BEGIN) == 1


def test_other_roots_are_exported_only_when_asked_for(path: Path, tmp_path, warp: Authority, company) -> None:
    store = tmp_path / "store"
    put(store, "/usr/local/share/ca-certificates/both.crt", company, warp)
    put(store, "/usr/local/share/ca-certificates/notes.txt")
    run(path, "--root", store, "-o", "known.pem")
    assert (tmp_path / "known.pem").read_text() == warp.root.read_text()
    run(path, "--root", store, "-o", "all.pem", "--all")
    assert (tmp_path / "all.pem").read_text() == company.root.read_text() + warp.root.read_text()


def test_nothing_is_overwritten(path: Path, tmp_path: Path, warp: Authority) -> None:
    put(tmp_path / "store", "/var/lib/cloudflare-warp/installed_cert.pem", warp)
    (tmp_path / "out.pem").write_text("precious")
    (tmp_path / "link.pem").symlink_to(tmp_path / "nowhere")
    for name in ("out.pem", "link.pem"):
        assert "stays as it is" in run(path, "--root", tmp_path / "store", "-o", name, expect=2)
    assert (tmp_path / "out.pem").read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_nothing_found(path: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    assert "no intercepting root found" in run(path, "--root", tmp_path / "store", expect=1)
    assert not (tmp_path / "intercepting-root.pem").exists()


def test_keychains(path: Path, tmp_path: Path, warp: Authority, company: Authority) -> None:
    """macOS has `security`; here is one that holds a root in each keychain."""
    fake = path / "security"
    fake.write_text(
        f'#!/bin/sh\ncase $4 in\n*/System.keychain) cat "{warp.root}" ;;\n'
        f'*/login.keychain-db) cat "{company.root}" ;;\n*) exit 1 ;;\nesac\n'
    )
    fake.chmod(0o755)
    said = run(path, "-o", "out.pem")
    got = (tmp_path / "out.pem").read_text()  # and what this machine may have besides
    assert warp.root.read_text() in got
    assert company.root.read_text() not in got
    assert "/Library/Keychains/System.keychain" in said
    run(path, "-o", "all.pem", "--all")
    assert company.root.read_text() in (tmp_path / "all.pem").read_text()


class Interceptor:
    """Accepts TLS with a certificate of its own, and says nothing."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                raw, _ = self._socket.accept()
            except OSError:
                return
            try:
                with self._context.wrap_socket(raw, server_side=True) as link:
                    link.recv(1)
            except OSError:
                raw.close()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)


@pytest.fixture
def interceptor(company: Authority) -> Iterator[Interceptor]:
    running = Interceptor(company.server_context())
    yield running
    running.close()


def test_a_host_behind_the_interceptor(path: Path, tmp_path: Path, company: Authority, interceptor) -> None:
    said = run(path, "-o", "out.pem", f"localhost:{interceptor.port}")
    assert (tmp_path / "out.pem").read_text() == company.root.read_text()
    assert company.name in said
    assert "compare its SHA-256" in said, "what the network itself shows is to be checked"


def test_a_host_whose_root_was_added_here(path: Path, tmp_path: Path, company, interceptor) -> None:
    put(tmp_path / "store", "/usr/local/share/ca-certificates/company.crt", company)
    said = run(path, "--root", tmp_path / "store", "-o", "out.pem", f"localhost:{interceptor.port}")
    assert (tmp_path / "out.pem").read_text() == company.root.read_text()
    assert "compare its SHA-256" not in said


def test_a_host_that_hides_its_root(path: Path, tmp_path: Path, company: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(company.folder / "server.pem", company.folder / "server.key")
    running = Interceptor(context)
    said = run(path, "-o", "out.pem", f"localhost:{running.port}", expect=1)
    running.close()
    assert company.name in said
    assert "ask who runs the network" in said


def test_a_host_that_is_not_there(path: Path, tmp_path: Path) -> None:
    assert "no TLS answer" in run(path, "-o", "out.pem", "localhost:1", expect=1)


def test_what_it_exports_is_what_the_mirror_needs(
    path: Path, tmp_path: Path, server, write_token, make_upstream, make_mirror, make_client, company: Authority
) -> None:
    upstream = make_upstream(tls=company.server_context())
    run(path, "-o", "out.pem", upstream.url.removeprefix("https://"))
    mirror = make_mirror(upstream, "--ca-bundle", str(tmp_path / "out.pem"))
    repo, site = craft_repo(server, write_token), Site(server, upstream, mirror, make_client)
    check(site, repo, by_get(site, repo), all_right=True)
