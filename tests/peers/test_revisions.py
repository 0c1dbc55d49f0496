"""Branches, tags, history, and revisions with a slash in their name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.clients import Client, ClientError, contents


def filled(writer: Client, repo: str, folder: Path) -> str:
    """A repository with one commit; returns its id."""
    writer.create_repo(repo_id=repo)
    return str(writer.upload_folder(repo_id=repo, folder_path=str(folder))["oid"])


@pytest.mark.parametrize("branch", ["dev", "dev/x", "feature/a-b/c.d"])
def test_branch_is_its_own_line(
    writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path, branch: str
) -> None:
    first = filled(writer, repo, folder)
    main = contents(folder)
    writer.create_branch(repo_id=repo, branch=branch)
    (folder / "only-here.bin").write_bytes(b"branch" * 5_000)
    (folder / "config.json").write_text('{"changed": true}')
    second = writer.upload_folder(repo_id=repo, folder_path=str(folder), revision=branch)["oid"]
    results = reader.calls(
        ["snapshot_download", {"repo_id": repo, "revision": branch, "local_dir": str(tmp_path / "branch")}],
        ["snapshot_download", {"repo_id": repo, "local_dir": str(tmp_path / "main")}],
        ["hf_hub_download", {"repo_id": repo, "revision": branch, "filename": "only-here.bin"}],
        ["repo_info", {"repo_id": repo, "revision": branch}],
        ["list_repo_refs", {"repo_id": repo}],
        ["list_repo_commits", {"repo_id": repo, "revision": branch}],
    )
    assert all("ok" in result for result in results), results
    assert contents(tmp_path / "branch") == contents(folder)
    assert contents(tmp_path / "main") == main
    info, refs, commits = (result["ok"] for result in results[3:])
    assert info["sha"] == second
    assert {ref["name"]: ref["target_commit"] for ref in refs["branches"]} == {"main": first, branch: second}
    assert [commit["commit_id"] for commit in commits][:2] == [second, first]
    writer.delete_branch(repo_id=repo, branch=branch)
    with pytest.raises(ClientError) as gone:
        reader.repo_info(repo_id=repo, revision=branch)
    assert (gone.value.name, gone.value.status) == ("RevisionNotFoundError", 404)


@pytest.mark.parametrize("tag", ["v1.0", "release/v1.0"])
def test_tag_stays_where_it_was_put(
    writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path, tag: str
) -> None:
    first = filled(writer, repo, folder)
    tagged = contents(folder)
    writer.create_tag(repo_id=repo, tag=tag, tag_message="the first")
    (folder / "model.safetensors").write_bytes(b"other" * 10_000)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    reader.snapshot_download(repo_id=repo, revision=tag, local_dir=str(tmp_path / "tag"))
    assert contents(tmp_path / "tag") == tagged
    refs = reader.list_repo_refs(repo_id=repo)
    assert {ref["name"]: ref["target_commit"] for ref in refs["tags"]} == {tag: first}
    with pytest.raises(ClientError) as twice:
        writer.create_tag(repo_id=repo, tag=tag)
    assert twice.value.status == 409
    writer.delete_tag(repo_id=repo, tag=tag)
    assert reader.list_repo_refs(repo_id=repo)["tags"] == []


def test_parent_commit_guards_against_lost_updates(writer: Client, repo: str, folder: Path) -> None:
    first = filled(writer, repo, folder)

    def add(name: str) -> dict[str, object]:
        operations = [["add", {"path_in_repo": name, "path_or_fileobj": str(folder / "config.json")}]]
        return {"repo_id": repo, "operations": operations, "commit_message": name, "parent_commit": first}

    results = writer.calls(["create_commit", add("a.json")], ["create_commit", add("b.json")])
    assert "ok" in results[0], results
    assert results[1].get("status") in {409, 412}, results
    assert "b.json" not in writer.list_repo_files(repo_id=repo)


def test_missing_things_are_the_clients_own_errors(writer: Client, reader: Client, repo: str, folder: Path) -> None:
    filled(writer, repo, folder)
    name = {"repo_id": repo, "filename": "config.json"}
    results = reader.calls(
        ["hf_hub_download", {**name, "filename": "nowhere.json"}, True],
        ["hf_hub_download", {**name, "revision": "nowhere"}, True],
        ["hf_hub_download", {**name, "repo_id": "org/nowhere"}, True],
        ["repo_info", {"repo_id": "org/nowhere"}, True],
        ["file_exists", name],
        ["file_exists", {**name, "filename": "nowhere.json"}],
        ["revision_exists", {"repo_id": repo, "revision": "nowhere"}],
        ["repo_exists", {"repo_id": "org/nowhere"}],
    )
    assert [result.get("error") for result in results[:4]] == [
        results[0]["error"],
        "RevisionNotFoundError",
        "RepositoryNotFoundError",
        "RepositoryNotFoundError",
    ]
    assert results[0]["error"] in {"EntryNotFoundError", "RemoteEntryNotFoundError"}
    assert [result["ok"] for result in results[4:]] == [True, False, False, False]
