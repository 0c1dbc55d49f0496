"""`xetway gc` beside a server with running uploads, and what it leaves when nothing is referenced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from server_process import run_xetway, stored_bytes

from tests.peers.clients import NEWEST, Client, contents, sha256
from tests.peers.conftest import make_folder
from tests.peers.test_kill import REPO, UPLOADS, rebuilt


@pytest.mark.heavy
def test_collection_beside_running_uploads_loses_nothing(make_server, make_token, tmp_path: Path) -> None:
    server = make_server()
    writer = Client(NEWEST, server, tmp_path / "writer", make_token(server.data))
    writer.create_repo(repo_id=REPO)
    (tmp_path / "folder").mkdir()
    uploads = writer.start("python", "-c", UPLOADS, REPO, str(tmp_path / "folder"), "gc")
    assert uploads.stdout is not None
    acknowledged: list[list[str]] = []
    while len(acknowledged) < 12:
        line = uploads.stdout.readline()
        assert line, "the uploads ended"
        if line.startswith("["):
            acknowledged.append(json.loads(line))
            run_xetway(server.data, "gc", "--grace", "0s", "--window", "60s")
    uploads.kill()
    uploads.communicate()
    run_xetway(server.data, "fsck")
    reader = Client(NEWEST, server, tmp_path / "reader")
    for name, oid in acknowledged[::4]:
        got = Path(reader.hf_hub_download(repo_id=REPO, filename="weights.bin", revision=oid))
        assert sha256(got) == rebuilt(name)[0]


def test_only_what_nothing_references_goes(make_server, make_token, tmp_path: Path) -> None:
    server = make_server()
    token = make_token(server.data)
    kept, dropped = make_folder(tmp_path / "kept"), make_folder(tmp_path / "dropped")
    writer = Client(NEWEST, server, tmp_path / "writer", token)
    for repo, folder in (("org/kept", kept), ("org/dropped", dropped)):
        writer.create_repo(repo_id=repo)
        writer.upload_folder(repo_id=repo, folder_path=str(folder))
    both = stored_bytes(server.data)
    run_xetway(server.data, "gc", "--grace", "0s", "--window", "0s")
    assert stored_bytes(server.data) == both, "both are referenced"
    writer.delete_repo(repo_id="org/dropped")
    run_xetway(server.data, "gc", "--grace", "0s", "--window", "0s", "--dry-run")
    assert stored_bytes(server.data) == both, "a dry run removes nothing"
    run_xetway(server.data, "gc")
    assert stored_bytes(server.data) == both, "within its grace nothing goes"
    run_xetway(server.data, "gc", "--grace", "0s", "--window", "0s")
    assert 0.3 * both < stored_bytes(server.data) < 0.7 * both
    run_xetway(server.data, "fsck")
    Client(NEWEST, server, tmp_path / "reader").snapshot_download(repo_id="org/kept", local_dir=str(tmp_path / "got"))
    assert contents(tmp_path / "got") == contents(kept)


def test_a_client_uploads_again_what_was_collected(make_server, make_token, tmp_path: Path) -> None:
    server = make_server()
    folder = make_folder(tmp_path / "model")
    writer = Client(NEWEST, server, tmp_path / "writer", make_token(server.data))
    writer.create_repo(repo_id="org/again")
    writer.upload_folder(repo_id="org/again", folder_path=str(folder))
    writer.delete_repo(repo_id="org/again")
    run_xetway(server.data, "gc", "--grace", "0s", "--window", "0s")
    assert stored_bytes(server.data) == 0
    writer.create_repo(repo_id="org/again")
    writer.upload_folder(repo_id="org/again", folder_path=str(folder))
    run_xetway(server.data, "fsck")
    Client(NEWEST, server, tmp_path / "reader").snapshot_download(repo_id="org/again", local_dir=str(tmp_path / "got"))
    assert contents(tmp_path / "got") == contents(folder)


def test_history_keeps_old_content(make_server, make_token, tmp_path: Path) -> None:
    server = make_server()
    folder = make_folder(tmp_path / "model")
    first = contents(folder)
    writer = Client(NEWEST, server, tmp_path / "writer", make_token(server.data))
    writer.create_repo(repo_id="org/history")
    old = writer.upload_folder(repo_id="org/history", folder_path=str(folder))["oid"]
    writer.delete_file(repo_id="org/history", path_in_repo="model.safetensors")
    run_xetway(server.data, "gc", "--grace", "0s", "--window", "0s")
    reader = Client(NEWEST, server, tmp_path / "reader")
    reader.snapshot_download(repo_id="org/history", revision=old, local_dir=str(tmp_path / "old"))
    assert contents(tmp_path / "old") == first
