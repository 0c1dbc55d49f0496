"""`xetway prefetch` and `xetway cache` with a mirror of a real server, and our downloads through it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from server_process import ServerProcess

from tests.peers.clients import NEWEST, Client, ClientError, User, contents
from tests.peers.conftest import MIB, make_folder


@pytest.fixture
def site(
    make_server: Callable[..., ServerProcess], server: ServerProcess, write_token: str, repo: str, tmp_path: Path
) -> tuple[ServerProcess, str, Path]:
    """A mirror of the shared server, and a repository there with the folder it is made of."""
    folder = make_folder(tmp_path / "published", weights_mib=6)
    writer = Client(NEWEST, server, tmp_path / "writer", write_token)
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    return make_server("--upstream", server.url), repo, folder


def test_prefetch_then_download_without_the_upstream(
    site: tuple[ServerProcess, str, Path], make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    mirror, repo, folder = site
    user = User(tmp_path / "user", mirror.url)
    some = user.json("prefetch", repo, "--include", "sub dir/")
    assert some["files"] == 2
    first = user.json("prefetch", repo)
    assert first["bytes"] > first["fetched"] > 6 * MIB
    assert user.json("prefetch", repo)["fetched"] == 0
    assert "in the mirror" in user.run("prefetch", repo).stdout
    mirror.stop()
    alone = make_server("--upstream", "http://127.0.0.1:9", "--offline", data=mirror.data)
    user = User(tmp_path / "another", alone.url)
    assert contents(Path(user.run("download", repo, "-q").stdout.strip())) == contents(folder)


def test_download_through_the_mirror(site: tuple[ServerProcess, str, Path], tmp_path: Path) -> None:
    mirror, repo, folder = site
    user = User(tmp_path / "user", mirror.url)
    assert contents(Path(user.run("download", repo, "-q").stdout.strip())) == contents(folder)
    said = user.json("download", repo, "nothing.bin", expect=1)
    assert said["code"] == "entry_not_found"
    assert "none of the" in user.json("prefetch", repo, "--include", "*.none", expect=1)["error"]
    assert user.json("prefetch", "org/nowhere", expect=1)["code"] in {"repo_not_found", "hub_refused"}


def test_cache_commands(site: tuple[ServerProcess, str, Path], tmp_path: Path) -> None:
    mirror, repo, _ = site
    user = User(tmp_path / "user", mirror.url)
    user.run("prefetch", repo)
    data = ("--data", str(mirror.data))
    listed = user.json("cache", "ls", *data)
    kinds = {entry["kind"] for entry in listed["entries"]}
    assert kinds == {"xorb", "plain"}
    assert listed["bytes"] == sum(entry["bytes"] for entry in listed["entries"]) > 6 * MIB
    assert all(entry["proven_chunks"] == entry["chunks"] for entry in listed["entries"])
    text = user.run("cache", "ls", *data)
    assert len(text.stdout.splitlines()) == len(listed["files"])
    assert re.search(r"\d xorbs?, \d+ plain files?, [\d.]+ MiB", text.stderr)
    checked = user.json("cache", "verify", *data)
    assert (checked["damaged"], checked["checked"]) == (0, len(listed["entries"]))
    assert "all of it was used" in user.run("cache", "prune", "--older", "1h", *data).stderr
    user.run("cache", "prune", "--to", "1MB", *data)
    assert user.json("cache", "ls", *data)["bytes"] <= 10**6
    user.run("cache", "prune", "--all", *data)
    assert user.json("cache", "ls", *data)["entries"] == []
    assert user.json("prefetch", repo)["fetched"] > 6 * MIB


def test_the_cache_is_listed_by_file(
    site: tuple[ServerProcess, str, Path], write_token: str, server: ServerProcess, tmp_path: Path
) -> None:
    mirror, repo, folder = site
    writer = Client(NEWEST, server, tmp_path / "writer", write_token)
    writer.create_repo(repo_id=repo + "-copy")
    writer.upload_file(path_or_fileobj=str(folder / "config.json"), path_in_repo="same.json", repo_id=repo + "-copy")
    user = User(tmp_path / "user", mirror.url)
    for name in (repo, repo + "-copy"):
        user.run("prefetch", name)
    data = ("--data", str(mirror.data))
    listed = user.json("cache", "ls", *data)
    mine = {file["path"]: file for file in listed["files"] if file["repo"] == repo}
    sizes = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    expected = {name: size for name, size in sizes.items() if size}
    assert {path: mine[path]["held_bytes"] for path in expected} == expected
    assert all(file["held_bytes"] == file["size"] and file["revisions"] == ["main"] for file in mine.values())
    assert [file["last_used_s"] for file in listed["files"]] == sorted(file["last_used_s"] for file in listed["files"])
    line = next(line for line in user.run("cache", "ls", *data).stdout.splitlines() if "same.json" in line)
    assert line.split()[-3:] == [repo + "-copy", "same.json", "main"]
    assert "shared with others stayed" in user.run("cache", "prune", "--repo", repo, *data).stderr
    left = user.json("cache", "ls", *data)["files"]
    assert {(file["repo"], file["path"]) for file in left} >= {(repo, "config.json"), (repo + "-copy", "same.json")}
    assert sum(file["size"] for file in left) < 10**5
    user.run("cache", "prune", "--repo", "org/nowhere", *data, expect=1)


def test_the_cache_is_listed_without_its_database(site: tuple[ServerProcess, str, Path], tmp_path: Path) -> None:
    mirror, repo, _ = site
    user = User(tmp_path / "user", mirror.url)
    user.run("prefetch", repo)
    mirror.stop()
    for path in (mirror.data / "mirror").glob("answers.db*"):
        path.unlink()
    listed = user.run("cache", "ls", "--data", str(mirror.data))
    assert "xorb " in listed.stdout
    assert "answers.db" in listed.stderr
    assert user.json("cache", "ls", "--data", str(mirror.data))["files"] == []
    assert not (mirror.data / "mirror" / "answers.db").exists()


def test_a_cache_without_room_fails_at_once(
    server: ServerProcess, write_token: str, repo: str, make_server: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "published", weights_mib=20)
    writer = Client(NEWEST, server, tmp_path / "writer", write_token)
    writer.create_repo(repo_id=repo)
    writer.upload_folder(repo_id=repo, folder_path=str(folder))
    mirror = make_server("--upstream", server.url, "--cache-size", "4MB")
    reader = Client(NEWEST, mirror, tmp_path / "reader")
    with pytest.raises(ClientError, match="413"):
        reader.snapshot_download(repo_id=repo)
    # Once for the client's two ways to ask, and not again.
    assert mirror.log.count("storage_full") <= 4
    said = User(tmp_path / "user", mirror.url).run("download", repo, expect=1)
    assert "the cache is full" in said.stderr


def test_verify_finds_and_removes_damage(site: tuple[ServerProcess, str, Path], tmp_path: Path) -> None:
    mirror, repo, folder = site
    user = User(tmp_path / "user", mirror.url)
    user.run("prefetch", repo)
    data = max((mirror.data / "mirror").rglob("*.data"), key=lambda path: path.stat().st_blocks)
    with data.open("r+b") as file:
        file.seek(100_000)
        byte = file.read(1)
        file.seek(100_000)
        file.write(bytes([byte[0] ^ 1]))
    found = user.run("cache", "verify", "--data", str(mirror.data), expect=1)
    assert data.stem in found.stdout
    assert f"  of {repo}: " in found.stdout
    assert "1 damaged, and removed" in found.stderr
    assert user.json("cache", "verify", "--data", str(mirror.data))["damaged"] == 0
    assert contents(Path(user.run("download", repo, "-q").stdout.strip())) == contents(folder)
