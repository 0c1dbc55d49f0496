"""What people do with repositories beside up and down: move, delete, list, edit, keep private."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.peers.clients import Client, ClientError, contents
from tests.peers.test_revisions import filled


def test_move_takes_everything_along(writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path) -> None:
    commit = filled(writer, repo, folder)
    writer.move_repo(from_id=repo, to_id=f"elsewhere/{repo.partition('/')[2]}")
    moved = f"elsewhere/{repo.partition('/')[2]}"
    reader.snapshot_download(repo_id=moved, local_dir=str(tmp_path / "moved"))
    assert contents(tmp_path / "moved") == contents(folder)
    assert reader.repo_info(repo_id=moved)["sha"] == commit


def test_delete_takes_the_repository_away(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    writer.delete_repo(repo_id=repo)
    with pytest.raises(ClientError) as gone:
        reader.repo_info(repo_id=repo)
    assert (gone.value.name, gone.value.status in (401, 404)) == ("RepositoryNotFoundError", True)
    with pytest.raises(ClientError) as twice:
        writer.delete_repo(repo_id=repo)
    assert twice.value.name == "RepositoryNotFoundError"
    writer.calls(["delete_repo", {"repo_id": repo, "missing_ok": True}])
    assert "ok" in writer.calls(["create_repo", {"repo_id": repo}])[0]


def test_create_twice_is_an_error_unless_allowed(writer: Client, repo: str) -> None:
    results = writer.calls(
        ["create_repo", {"repo_id": repo}],
        ["create_repo", {"repo_id": repo}, True],
        ["create_repo", {"repo_id": repo, "exist_ok": True}],
    )
    assert results[1]["status"] == 409
    assert results[0]["ok"] == results[2]["ok"]


def test_edits_in_one_commit(writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path) -> None:
    filled(writer, repo, folder)
    before = contents(folder)
    operations = [
        ["delete", {"path_in_repo": "sub dir/", "is_folder": True}],
        ["delete", {"path_in_repo": "config.json"}],
        ["copy", {"src_path_in_repo": "model.safetensors", "path_in_repo": "copies/model.safetensors"}],
        ["add", {"path_in_repo": "notes/new.txt", "path_or_fileobj": str(folder / "README.md")}],
    ]
    writer.create_commit(repo_id=repo, operations=operations, commit_message="edit", commit_description="several")
    reader.snapshot_download(repo_id=repo, local_dir=str(tmp_path / "edited"))
    expected = {name: digest for name, digest in before.items() if not name.startswith("sub dir/")}
    del expected["config.json"]
    expected |= {"copies/model.safetensors": before["model.safetensors"], "notes/new.txt": before["README.md"]}
    assert contents(tmp_path / "edited") == expected
    history = reader.list_repo_commits(repo_id=repo)
    assert (history[0]["title"], history[0]["message"]) == ("edit", "several")


def test_delete_file_and_folder(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    writer.calls(
        ["delete_file", {"repo_id": repo, "path_in_repo": "small.bin"}],
        ["delete_folder", {"repo_id": repo, "path_in_repo": "sub dir"}],
    )
    names = set(reader.list_repo_files(repo_id=repo)) - {".gitattributes"}
    assert names == {"README.md", "config.json", "empty.txt", "model.safetensors"}


def test_tree_of_more_than_a_thousand_entries(writer: Client, reader: Client, repo: str, tmp_path: Path) -> None:
    wide = tmp_path / "wide"
    for number in range(1_250):
        path = wide / f"dir{number % 5}" / f"{number:04}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(number))
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(wide))
    results = reader.calls(
        ["list_repo_tree", {"repo_id": repo, "recursive": True}],
        ["list_repo_tree", {"repo_id": repo}],
        ["list_repo_tree", {"repo_id": repo, "path_in_repo": "dir3"}],
        ["list_repo_files", {"repo_id": repo}],
        ["list_repo_tree", {"repo_id": repo, "recursive": True, "expand": True}],
    )
    everything, top, one, files, expanded = (
        [entry for entry in result["ok"] if entry != ".gitattributes" and ".gitattributes" not in str(entry)]
        for result in results
    )
    assert len(everything) == 1_250 + 5
    assert len({entry["path"] for entry in everything}) == 1_255
    assert {entry["path"] for entry in top} == {f"dir{number}" for number in range(5)}
    assert len(one) == 250
    assert len(files) == 1_250
    assert {entry["path"] for entry in expanded} == {entry["path"] for entry in everything}
    blob = next(entry for entry in everything if entry["path"] == "dir4/0004.txt")
    assert (blob["size"], blob["blob_id"]) == (1, hashlib.sha1(b"blob 1\x004", usedforsecurity=False).hexdigest())


def test_tree_and_paths_info_tell_of_weights(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    digests = contents(folder)
    results = reader.calls(
        ["get_paths_info", {"repo_id": repo, "paths": ["model.safetensors", "empty.txt", "nowhere", "sub dir"]}],
        ["repo_info", {"repo_id": repo, "files_metadata": True}],
    )
    paths = {entry["path"]: entry for entry in results[0]["ok"]}
    assert set(paths) == {"model.safetensors", "empty.txt", "sub dir"}
    weights = paths["model.safetensors"]
    size = (folder / "model.safetensors").stat().st_size
    assert (weights["size"], weights["lfs"]["sha256"], weights["lfs"]["size"]) == (
        size,
        digests["model.safetensors"],
        size,
    )
    siblings = {entry["rfilename"]: entry for entry in results[1]["ok"]["siblings"]}
    assert siblings["model.safetensors"]["lfs"]["sha256"] == digests["model.safetensors"]
    assert siblings["config.json"]["size"] == (folder / "config.json").stat().st_size


class TestPrivate:
    """A private repository is not there for those who may not read it."""

    def test_without_token_it_does_not_exist(
        self, writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path
    ) -> None:
        writer.create_repo(repo_id=repo, private=True)
        writer.upload_folder(repo_id=repo, folder_path=str(folder))
        results = reader.calls(
            ["repo_info", {"repo_id": repo}, True],
            ["hf_hub_download", {"repo_id": repo, "filename": "config.json"}, True],
            ["snapshot_download", {"repo_id": repo}, True],
        )
        assert {result.get("error") for result in results[:2]} == {"RepositoryNotFoundError"}, results
        assert "error" in results[2]
        writer.snapshot_download(repo_id=repo, local_dir=str(tmp_path / "mine"))
        assert contents(tmp_path / "mine") == contents(folder)

    def test_read_token_reads_and_cannot_write(
        self, writer: Client, make_client, read_token: str, pair, repo: str, folder: Path, tmp_path: Path
    ) -> None:
        writer.create_repo(repo_id=repo, private=True)
        writer.upload_folder(repo_id=repo, folder_path=str(folder))
        reader = make_client(read_token, pair)
        reader.snapshot_download(repo_id=repo, local_dir=str(tmp_path / "mine"))
        assert contents(tmp_path / "mine") == contents(folder)
        add = [["add", {"path_in_repo": "a.txt", "path_or_fileobj": str(folder / "config.json")}]]
        results = reader.calls(
            ["create_commit", {"repo_id": repo, "operations": add, "commit_message": "no"}, True],
            ["create_repo", {"repo_id": f"{repo}-new"}, True],
            ["delete_repo", {"repo_id": repo}, True],
        )
        assert [result.get("status") for result in results] == [403, 403, 403], results
        assert writer.repo_info(repo_id=repo)["private"] is True

    def test_token_for_another_pattern_sees_nothing(
        self, writer: Client, make_client, make_token, pair, repo: str, folder: Path
    ) -> None:
        writer.create_repo(repo_id=repo, private=True)
        writer.upload_folder(repo_id=repo, folder_path=str(folder))
        stranger = make_client(make_token(writer.server.data, pattern="someone-else/*"), pair)
        with pytest.raises(ClientError) as hidden:
            stranger.repo_info(repo_id=repo)
        assert hidden.value.name == "RepositoryNotFoundError"


def test_who_am_i(writer: Client, make_client, pair) -> None:
    assert writer.whoami()["name"]
    with pytest.raises(ClientError) as unknown:
        make_client("hf_thistokenisnotknown", pair).whoami()
    assert unknown.value.status == 401


def test_search(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    found = reader.calls(["list_models", {"search": repo.partition("/")[2]}], ["list_models", {"author": "org"}])
    assert all(repo in {model["id"] for model in result["ok"]} for result in found)
