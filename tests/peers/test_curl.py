"""curl against the download endpoints: what a shell script sees."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from server_process import ServerProcess, clean_environment
from weights import write_weights

import xetway
from tests.peers.clients import NEWEST, Client, sha256
from tests.peers.conftest import MIB

SIZE = 48 * MIB


def curl(home: Path, *arguments: str, expect: int = 0) -> str:
    answer = subprocess.run(
        ["curl", "--silent", "--show-error", *arguments],
        env=clean_environment(home),
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == expect, (answer.returncode, answer.stderr)
    return answer.stdout


@pytest.fixture(scope="module")
def stored(server: ServerProcess, write_token: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A repository with one file of 48 MiB; its name and the file."""
    root = tmp_path_factory.mktemp("curl")
    file = root / "model" / "model.safetensors"
    file.parent.mkdir()
    write_weights(file, SIZE, seed=77)
    client = Client(NEWEST, server, root / "user", write_token)
    client.create_repo(repo_id="org/curl")
    client.upload_folder(repo_id="org/curl", folder_path=str(file.parent))
    return "org/curl", file


@pytest.mark.parametrize("by", ["name", "hash"])
def test_resume_after_a_cut(server: ServerProcess, stored: tuple[str, Path], tmp_path: Path, by: str) -> None:
    repo, file = stored
    path = f"download/{repo}/{file.name}" if by == "name" else f"download-hash/{xetway.hash_file(file).hash}"
    target = tmp_path / "partial"
    cut = subprocess.Popen(
        ["curl", "--silent", "--limit-rate", "20M", "--output", str(target), f"{server.url}/{path}"],
        env=clean_environment(tmp_path),
    )
    while not (target.exists() and target.stat().st_size > 4 * MIB):
        assert cut.poll() is None, "curl ended before it was cut"
        try:
            cut.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    cut.kill()
    cut.wait()
    have = target.stat().st_size
    assert 4 * MIB < have < file.stat().st_size
    curl(tmp_path, "--fail", "--continue-at", "-", "--output", str(target), f"{server.url}/{path}")
    assert sha256(target) == sha256(file)


def test_name_of_the_saved_file(server: ServerProcess, stored: tuple[str, Path], tmp_path: Path) -> None:
    repo, file = stored
    curl(
        tmp_path,
        "--fail",
        "--remote-header-name",
        "--remote-name",
        "--output-dir",
        str(tmp_path),
        f"{server.url}/download/{repo}/{file.name}",
    )
    assert sha256(tmp_path / file.name) == sha256(file)


def test_conditional_request_is_not_sent_again(server: ServerProcess, stored: tuple[str, Path], tmp_path: Path) -> None:
    repo, file = stored
    url, etag = f"{server.url}/download/{repo}/{file.name}", str(tmp_path / "etag")
    shown = ("--output", "/dev/null", "--write-out", "%{http_code} %{size_download}")
    assert curl(tmp_path, *shown, "--etag-save", etag, url) == f"200 {file.stat().st_size}"
    assert curl(tmp_path, *shown, "--etag-compare", etag, url) == "304 0"


def test_failures_are_failures_for_scripts(server: ServerProcess, stored: tuple[str, Path], tmp_path: Path) -> None:
    repo, _ = stored
    assert curl(tmp_path, "--fail", f"{server.url}/download/{repo}/nowhere", expect=22) == ""
    body = curl(tmp_path, f"{server.url}/download-hash/{'0' * 63}1")
    assert '"code"' in body
    assert body.count("\n") <= 1


def test_empty_file(server: ServerProcess, write_token: str, tmp_path: Path, make_client) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "empty.bin").touch()
    client = make_client(write_token)
    client.create_repo(repo_id="org/empty")
    client.upload_folder(repo_id="org/empty", folder_path=str(folder))
    shown = ("--write-out", "%{http_code} %{size_download}")
    assert curl(tmp_path, *shown, f"{server.url}/download/org/empty/empty.bin") == "200 0"
    assert curl(tmp_path, *shown, f"{server.url}/download-hash/{'0' * 64}") == "200 0"
