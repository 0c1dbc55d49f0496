"""A byte that flips on the disk: never wrong bytes with success, a log line, and fsck says where."""

from __future__ import annotations

import http.client
import json
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server_process import ServerProcess, run_xetway
from weights import write_weights

import xetway
from tests.peers.clients import NEWEST, Client, ClientError
from tests.peers.conftest import MIB

REPO = "org/damaged"


@pytest.fixture
def damaged(make_server: Callable[..., ServerProcess], make_token, tmp_path: Path) -> tuple[ServerProcess, Path, Path]:
    """A server of its own with one file of 8 MiB in one xorb: the server, the file, the xorb's path."""
    server = make_server()
    file = tmp_path / "model" / "model.safetensors"
    file.parent.mkdir()
    write_weights(file, 8 * MIB, seed=3)
    client = Client(NEWEST, server, tmp_path / "writer", make_token(server.data))
    client.create_repo(repo_id=REPO)
    client.upload_folder(repo_id=REPO, folder_path=str(file.parent))
    (xorb,) = (server.data / "xorbs").rglob("*.xorb")
    return server, file, xorb


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def fetch(server: ServerProcess, path: str) -> tuple[int, bytes, bool]:
    """Status, body, and whether the body came to its announced end."""
    host = urlsplit(server.url)
    connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    try:
        return answer.status, answer.read(), True
    except (http.client.IncompleteRead, ConnectionError) as error:
        return answer.status, getattr(error, "partial", b""), False
    finally:
        connection.close()


def paths(file: Path) -> tuple[str, ...]:
    return (
        f"/download/{REPO}/{file.name}",
        f"/download-hash/{xetway.hash_file(file).hash}",
        f"/{REPO}/resolve/main/{file.name}",
    )


def test_flip_in_the_first_chunk_is_an_error_before_the_first_byte(damaged) -> None:
    server, file, xorb = damaged
    flip(xorb, 1_000)
    for path in paths(file):
        status, body, _ = fetch(server, path)
        assert status == 500, path
        assert json.loads(body)["code"] == "stored_data_corrupt"
        assert str(server.data).encode() not in body
    server.wait_for_log(xorb.stem, "chunk 0")


@pytest.mark.parametrize("part", [0.4, 0.99])
def test_flip_further_in_breaks_the_transfer(damaged, part: float) -> None:
    server, file, xorb = damaged
    good = file.read_bytes()
    flip(xorb, int((xorb.stat().st_size - 10_000) * part))
    for path in paths(file):
        status, body, whole = fetch(server, path)
        assert status == 500 or not whole, path
        if status != 500:
            assert good.startswith(body), "wrong bytes were sent"
    server.wait_for_log(xorb.stem, "stored_data_corrupt", "chunk ")


def test_a_real_client_fails_soon_and_gets_no_wrong_file(damaged, tmp_path: Path) -> None:
    server, file, xorb = damaged
    flip(xorb, xorb.stat().st_size // 2)
    # The second try is refused for good. With its default delays the client would go on for minutes otherwise.
    reader = Client(NEWEST, server, tmp_path / "reader", settings={"HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "100"})
    with pytest.raises(ClientError):
        reader.hf_hub_download(repo_id=REPO, filename=file.name, local_dir=str(tmp_path / "got"))
    assert not (tmp_path / "got" / file.name).exists()


@pytest.mark.parametrize("where", ["first chunk", "middle", "footer", "last byte", "cut short", "gone"])
def test_fsck_reports_it(damaged, where: str) -> None:
    server, _, xorb = damaged
    assert run_xetway(server.data, "fsck").returncode == 0
    size = xorb.stat().st_size
    if where == "gone":
        xorb.unlink()
    elif where == "cut short":
        with xorb.open("r+b") as file:
            file.truncate(size - 100_000)
    else:
        flip(xorb, {"first chunk": 500, "middle": size // 2, "footer": size - 600, "last byte": size - 1}[where])
    found = run_xetway(server.data, "fsck", expect=(1,))
    said = found.stdout + found.stderr
    assert xorb.stem in said
    if where in {"first chunk", "middle"}:
        assert "chunk" in said
    assert "Traceback" not in said


def test_other_files_are_served_all_the_same(damaged, make_token, tmp_path: Path) -> None:
    server, _, xorb = damaged
    flip(xorb, 1_000)
    other = tmp_path / "other" / "other.bin"
    other.parent.mkdir()
    other.write_bytes(bytes(range(256)) * 5_000)
    client = Client(NEWEST, server, tmp_path / "writer-2", make_token(server.data))
    client.upload_folder(repo_id=REPO, folder_path=str(other.parent))
    with urllib.request.urlopen(f"{server.url}/download/{REPO}/other.bin") as answer:
        assert answer.read() == other.read_bytes()


@pytest.mark.parametrize("where", ["middle", "gone"])
def test_uploading_again_repairs_it(damaged, make_token, tmp_path: Path, where: str) -> None:
    server, file, xorb = damaged
    if where == "gone":
        xorb.unlink()
    else:
        flip(xorb, xorb.stat().st_size // 2)
    assert f"upload the files of {REPO} again" in run_xetway(server.data, "fsck", expect=(1,)).stderr
    token = make_token(server.data)
    # The client that brought it remembers that the server has it, under an address that is no longer used.
    again = Client(NEWEST, server, tmp_path / "writer", token)
    again.upload_folder(repo_id=REPO, folder_path=str(file.parent))
    assert run_xetway(server.data, "fsck").returncode == 0
    again.hf_hub_download(repo_id=REPO, filename=file.name, local_dir=str(tmp_path / "got"))
    assert (tmp_path / "got" / file.name).read_bytes() == file.read_bytes()
