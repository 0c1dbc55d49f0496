"""Many at once, and one very large file; the server's memory stays small whatever the reader does."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from server_process import ServerProcess, clean_environment
from weights import write_weights

import xetway
from tests.peers.clients import NEWEST, Client, sha256
from tests.peers.conftest import MIB

GIB = 1024 * MIB
LIMIT = 250 * MIB
pytestmark = pytest.mark.alone


@pytest.mark.timeout(240)
def test_thirty_two_downloads_at_once(make_server, make_token, tmp_path: Path) -> None:
    server = make_server()
    file = tmp_path / "model" / "model.safetensors"
    file.parent.mkdir()
    write_weights(file, 32 * MIB, seed=11)
    expected = sha256(file)
    writer = Client(NEWEST, server, tmp_path / "writer", make_token(server.data))
    writer.create_repo(repo_id="org/busy")
    writer.upload_folder(repo_id="org/busy", folder_path=str(file.parent))
    running = []
    for number in range(32):
        target = tmp_path / f"got-{number}"
        if number % 2:
            reader = Client(NEWEST, server, tmp_path / f"reader-{number}")
            running.append(reader.start("hf", "download", "org/busy", "--local-dir", str(target)))
        else:
            url = f"{server.url}/download/org/busy/{file.name}"
            target.mkdir()
            command = ["curl", "--silent", "--show-error", "--fail", "--output", str(target / file.name), url]
            running.append(
                subprocess.Popen(command, env=clean_environment(tmp_path), stdout=subprocess.PIPE, text=True)
            )
    for number, process in enumerate(running):
        output, _ = process.communicate(timeout=200)
        assert process.returncode == 0, (number, output)
        assert sha256(tmp_path / f"got-{number}" / file.name) == expected
    peak = server.peak_rss_bytes()
    assert peak is None or peak < LIMIT, f"{peak / MIB:.0f} MiB"


def write_distinct(path: Path, size: int) -> None:
    """A file whose every chunk is different and compresses well: 64-byte lines that count."""
    lines = 64 * MIB // 64
    block = np.zeros((lines, 8), dtype="<u8")
    with path.open("wb") as file:
        for start in range(0, size // 64, lines):
            block[:, 0] = np.arange(start, start + lines)
            block[:, 1] = block[:, 0] * np.uint64(0x9E3779B97F4A7C15)
            file.write(block.data)


@contextlib.contextmanager
def stopped_reader(server: ServerProcess, path: str) -> Iterator[None]:
    """A client that asks for a file, reads its beginning, and then reads no more."""
    host = urlsplit(server.url)
    with socket.create_connection((host.hostname or "", host.port or 0), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host.netloc}\r\n\r\n".encode())
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
        yield


def slow_reader(server: ServerProcess, path: str, home: Path) -> subprocess.Popen[bytes]:
    command = ["curl", "--silent", "--limit-rate", "3M", "--output", "/dev/null", f"{server.url}{path}"]
    return subprocess.Popen(command, env=clean_environment(home))


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_four_gib_file_in_bounded_memory(
    make_server: Callable[..., ServerProcess], make_token: Callable[..., str], tmp_path: Path
) -> None:
    server = make_server()
    file = tmp_path / "model" / "big.bin"
    file.parent.mkdir()
    write_distinct(file, 4 * GIB)
    expected, known = sha256(file), xetway.hash_file(file)
    assert known.size == 4 * GIB
    writer = Client(NEWEST, server, tmp_path / "writer", make_token(server.data))
    writer.create_repo(repo_id="org/big")
    writer.upload_file(repo_id="org/big", path_or_fileobj=str(file), path_in_repo="big.bin")
    file.unlink()
    after_upload = server.peak_rss_bytes() or 0
    path = "/download/org/big/big.bin"
    with contextlib.ExitStack() as stack:
        for target in (path, f"/download-hash/{known.hash}", "/org/big/resolve/main/big.bin"):
            stack.enter_context(stopped_reader(server, target))
        slow = [slow_reader(server, path, tmp_path) for _ in range(2)]
        reader = Client(NEWEST, server, tmp_path / "reader")
        reader.hf_hub_download(repo_id="org/big", filename="big.bin", local_dir=str(tmp_path / "got"))
        assert sha256(tmp_path / "got" / "big.bin") == expected
        (tmp_path / "got" / "big.bin").unlink()
        fetch = ["curl", "--silent", "--show-error", "--fail", f"{server.url}{path}"]
        with subprocess.Popen(fetch, env=clean_environment(tmp_path), stdout=subprocess.PIPE) as curl:
            digest = subprocess.run(["sha256sum"], stdin=curl.stdout, capture_output=True, check=True).stdout
        assert digest.decode().split()[0] == expected
        for process in slow:
            assert process.poll() is None, "the slow reader should still be reading"
            process.kill()
            process.wait()
    peak = server.peak_rss_bytes() or 0
    assert peak < LIMIT, f"peak {peak / MIB:.0f} MiB, after the upload {after_upload / MIB:.0f} MiB"
    print(f"peak memory of the server: {peak / MIB:.0f} MiB, after the upload {after_upload / MIB:.0f} MiB")
