"""Folders up and down again with every pair of client versions; what came back is what went in."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_process import ServerProcess, stored_bytes
from weights import change, write_weights

from tests.peers.clients import Client, contents
from tests.peers.conftest import MIB


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_folder_comes_back_whole(
    writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path, repo_type: str
) -> None:
    sdk = {"space_sdk": "static"} if repo_type == "space" else {}
    results = writer.calls(
        ["create_repo", {"repo_id": repo, "repo_type": repo_type, **sdk}],
        ["upload_folder", {"repo_id": repo, "repo_type": repo_type, "folder_path": str(folder)}],
    )
    assert "ok" in results[-1], results
    assert len(results[-1]["ok"]["oid"]) == 40
    target = tmp_path / "downloaded"
    reader.snapshot_download(repo_id=repo, repo_type=repo_type, local_dir=str(target))
    assert contents(target) == contents(folder)


def test_download_through_the_cache(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    snapshot = Path(reader.snapshot_download(repo_id=repo))
    assert contents(snapshot) == contents(folder)
    again = reader.calls(
        ["hf_hub_download", {"repo_id": repo, "filename": "model.safetensors"}],
        ["hf_hub_download", {"repo_id": repo, "filename": "empty.txt"}],
    )
    assert [Path(result["ok"]).parent for result in again] == [snapshot, snapshot]


def test_unchanged_folder_makes_no_commit_and_stores_nothing(
    server: ServerProcess, writer: Client, repo: str, folder: Path
) -> None:
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    commits, stored = writer.list_repo_commits(repo_id=repo), stored_bytes(server.data)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    assert writer.list_repo_commits(repo_id=repo) == commits
    assert stored_bytes(server.data) == stored


def test_second_version_stores_only_what_changed(
    server: ServerProcess, writer: Client, reader: Client, repo: str, tmp_path: Path
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    file = folder / "model.safetensors"
    size = write_weights(file, 48 * MIB, seed=int(repo.rpartition("-")[2]))
    first = contents(folder)
    writer.create_repo(repo_id=repo)
    empty = stored_bytes(server.data)
    old = writer.upload_folder(repo_id=repo, folder_path=str(folder))["oid"]
    after_first = stored_bytes(server.data)
    assert 0.5 * size < after_first - empty < 1.02 * size
    changed = change(file, 0.05, runs=4)
    new = writer.upload_folder(repo_id=repo, folder_path=str(folder))["oid"]
    grown = stored_bytes(server.data) - after_first
    # the cuts at both ends of each changed run move: two chunks of at most 128 KiB each
    assert 0.5 * changed < grown < changed + 4 * 4 * 128 * 1024
    reader.calls(
        ["snapshot_download", {"repo_id": repo, "revision": old, "local_dir": str(tmp_path / "old")}],
        ["snapshot_download", {"repo_id": repo, "revision": new, "local_dir": str(tmp_path / "new")}],
    )
    assert contents(tmp_path / "old") == first
    assert contents(tmp_path / "new") == contents(folder)


def test_same_content_in_another_repository_stores_nothing(
    server: ServerProcess, writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path
) -> None:
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    stored = stored_bytes(server.data)
    copy = f"{repo}-copy"
    other = Client(writer.pair, server, tmp_path / "another-machine", writer.token)  # nothing cached there
    other.create_repo(repo_id=copy)
    other.upload_folder(repo_id=copy, folder_path=str(folder))
    # the store may be told of a chunk or two it cannot find by the sparse lookup; not of the weights
    assert stored_bytes(server.data) - stored < 0.1 * stored
    target = tmp_path / "downloaded"
    reader.snapshot_download(repo_id=copy, local_dir=str(target))
    assert contents(target) == contents(folder)


def test_many_small_files_in_one_upload(writer: Client, reader: Client, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"part-{number:03}.bin").write_bytes(bytes([number % 256]) * (2_000 + number))
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    target = tmp_path / "downloaded"
    reader.snapshot_download(repo_id=repo, local_dir=str(target))
    assert contents(target) == contents(folder)
