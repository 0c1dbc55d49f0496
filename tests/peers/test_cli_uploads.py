"""`xetway upload` as people type it, beside the Hub's own client on the same server."""

from __future__ import annotations

import random
from pathlib import Path

from server_process import ServerProcess

from tests.peers.clients import Client, User, contents
from tests.peers.conftest import MIB


def test_private_repository_needs_its_token(
    server: ServerProcess, user: User, author: User, write_token: str, tmp_path: Path
) -> None:
    (tmp_path / "one.txt").write_text("secret text")
    author.run("upload", "org/hidden", str(tmp_path / "one.txt"), "--private")
    said = user.run("download", "org/hidden", expect=1).stderr
    assert "HF_TOKEN" in said
    wrong = User(tmp_path / "wrong", server.url, "xetway_" + "x" * 43)
    refused = wrong.run("download", "org/hidden", expect=1)
    assert "token" in refused.stderr
    assert "x" * 43 not in refused.stdout + refused.stderr
    path = Path(author.run("download", "org/hidden", "one.txt", "-q").stdout.strip())
    assert path.read_text() == "secret text"
    assert write_token not in path.parent.as_posix()


def test_upload_then_both_clients_download(
    author: User, user: User, client: Client, folder: Path, repo: str, tmp_path: Path
) -> None:
    url = author.run("upload", repo, str(folder), "--message", "first").stdout.strip()
    assert f"/{repo}/commit/" in url
    assert contents(Path(client.snapshot_download(repo_id=repo))) == contents(folder)
    assert contents(Path(user.run("download", repo, "-q").stdout.strip())) == contents(folder)
    assert client.list_repo_commits(repo_id=repo)[0]["title"] == "first"
    assert client.get_paths_info(repo_id=repo, paths=["model.safetensors"])[0]["lfs"]


def test_upload_again_sends_only_what_changed(author: User, client: Client, folder: Path, repo: str) -> None:
    first = author.json("upload", repo, str(folder))
    assert first["new_bytes"] > 6 * MIB
    same = author.json("upload", repo, str(folder))
    assert (same["committed"], same["uploaded_files"], same["commit"]) == (False, 0, first["commit"])
    with (folder / "model.safetensors").open("r+b") as file:
        file.seek(MIB)
        file.write(random.Random(2).randbytes(64 * 1024))
    (folder / "config.json").write_text("{}")
    changed = author.json("upload", repo, str(folder))
    assert changed["uploaded_files"] == 2
    assert changed["new_bytes"] < MIB
    assert changed["dedup_bytes"] > 4 * MIB
    assert contents(Path(client.snapshot_download(repo_id=repo))) == contents(folder)


def test_upload_of_files_patterns_and_deletions(
    author: User, client: Client, folder: Path, repo: str, tmp_path: Path
) -> None:
    author.run("upload", f"datasets/{repo}", str(folder / "small.bin"), "data/train.bin")
    author.run("upload", repo, str(folder), "--repo-type", "dataset", "--include", "*.json", "--delete", "data/*")
    names = set(client.list_repo_files(repo_id=repo, repo_type="dataset"))
    assert names == {".gitattributes", "config.json"}
    pull = author.run("upload", repo, str(folder / "small.bin"), "--repo-type", "dataset", "--create-pr").stdout.strip()
    assert "/discussions/1" in pull
    assert "small.bin" not in client.list_repo_files(repo_id=repo, repo_type="dataset")
    assert "small.bin" in client.list_repo_files(repo_id=repo, repo_type="dataset", revision="refs/pr/1")


def test_upload_without_the_right_is_refused(
    server: ServerProcess, user: User, folder: Path, repo: str, read_token: str, tmp_path: Path
) -> None:
    refused = user.json("upload", repo, str(folder), expect=1)
    assert refused["code"] == "token_required"
    for token, says in (("wrong", "does not accept the token"), (read_token, "can only read; set HF_TOKEN to one")):
        said = User(tmp_path / "other", server.url, token).run("upload", repo, str(folder), expect=1).stderr
        assert says in said
        assert len(said.splitlines()) == 1


def test_upload_that_cannot_begin_says_why(author: User, folder: Path, repo: str) -> None:
    assert author.json("upload", repo, "nowhere", expect=1)["code"] == "no_such_file"
    away = author.run("upload", repo, str(folder), "--endpoint", "http://127.0.0.1:9", expect=1).stderr
    assert "is it running, and is this its address?" in away
    assert len(away.splitlines()) == 1


def test_upload_of_nothing_is_refused(author: User, repo: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert author.json("upload", repo, str(tmp_path / "empty"), expect=2)["code"] == "no_files"
