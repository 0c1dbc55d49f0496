"""`xetway download` as people type it, beside the Hub's own client on the same server."""

from __future__ import annotations

import json
import os
import pty
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from server_process import ServerProcess, program

import xetway
from tests.peers.clients import COMMAND_TIMEOUT_S, NEWEST, Client, User, contents, sha256

OFFLINE = """
import json, sys
from huggingface_hub import hf_hub_download, snapshot_download, scan_cache_dir, try_to_load_from_cache
repo = sys.argv[1]
found = snapshot_download(repo)
file = hf_hub_download(repo, "sub dir/deeper/random.bin")
info = scan_cache_dir()
print(json.dumps([found, file, try_to_load_from_cache(repo, "config.json"), len(info.warnings), len(info.repos)]))
"""


def offline(user: User, *arguments: str) -> Any:
    answer = subprocess.run(
        [program("python"), "-c", OFFLINE, *arguments],
        env=user.environment | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(answer.stdout.strip().splitlines()[-1])


def test_hub_clients_find_what_was_downloaded_when_offline(user: User, published: tuple[str, Path]) -> None:
    repo, folder = published
    answer = user.run("download", repo)
    snapshot = Path(answer.stdout.strip())
    assert "downloaded and verified" in answer.stderr
    assert contents(snapshot) == contents(folder)
    found, file, config, warnings, repos = offline(user, repo)
    assert (Path(found), Path(file)) == (snapshot, snapshot / "sub dir/deeper/random.bin")
    assert Path(config) == snapshot / "config.json"
    assert (warnings, repos) == (0, 1)


def test_each_client_takes_what_the_other_left(server: ServerProcess, user: User, published: tuple[str, Path]) -> None:
    repo, _ = published
    theirs = Client(NEWEST, server, user.home)
    left = Path(theirs.snapshot_download(repo_id=repo))
    before = {path: path.stat().st_mtime_ns for path in user.cache.rglob("*") if path.is_file()}
    again = user.json("download", repo)
    assert Path(again["path"]) == left
    assert {file["state"] for file in again["files"]} == {"present"}
    assert again["received_bytes"] == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    shutil.rmtree(user.cache)
    ours = Path(user.run("download", repo, "-q").stdout.strip())
    blobs = {path: path.stat().st_mtime_ns for path in (user.cache / "models--org--published" / "blobs").iterdir()}
    assert Path(theirs.snapshot_download(repo_id=repo)) == ours
    assert {path: path.stat().st_mtime_ns for path in blobs} == blobs


def test_folder_is_recognised_by_the_hubs_client(
    server: ServerProcess, user: User, published: tuple[str, Path], tmp_path: Path
) -> None:
    repo, folder = published
    target = tmp_path / "plain"
    assert user.run("download", repo, "--local-dir", str(target), "-q").stdout.strip() == str(target)
    assert contents(target) == contents(folder)
    written = {path: path.stat().st_mtime_ns for path in target.iterdir() if path.is_file()}
    Client(NEWEST, server, user.home).snapshot_download(repo_id=repo, local_dir=str(target))
    assert {path: path.stat().st_mtime_ns for path in written} == written
    assert not list(user.cache.rglob("blobs/*"))
    (target / "config.json").write_text("changed by hand")
    (target / "small.bin").unlink()
    states = {file["path"]: file["state"] for file in user.json("download", repo, "--local-dir", str(target))["files"]}
    assert {path for path, state in states.items() if state == "downloaded"} == {"config.json", "small.bin"}
    assert contents(target) == contents(folder)


def test_some_files(user: User, published: tuple[str, Path], tmp_path: Path) -> None:
    repo, folder = published
    path = Path(user.run("download", repo, "config.json", "-q").stdout.strip())
    assert path.name == "config.json"
    assert path.read_bytes() == (folder / "config.json").read_bytes()
    some = tmp_path / "some"
    user.run("download", repo, "--include", "*.bin", "--exclude", "sub dir/", "--local-dir", str(some))
    assert set(contents(some)) == {"small.bin"}
    user.run("download", repo, "sub dir/übung 100%+#.txt", "-o", str(tmp_path / "out.txt"))
    assert (tmp_path / "out.txt").read_text() == "odd name\n"


def test_named_cache_and_revision(user: User, published: tuple[str, Path], tmp_path: Path) -> None:
    repo, folder = published
    first = user.json("download", repo, "config.json", f"--cache={tmp_path / 'elsewhere'}")
    assert Path(first["path"]).is_relative_to(tmp_path / "elsewhere")
    by_commit = user.json("download", repo, "config.json", "--revision", first["commit"])
    assert Path(by_commit["path"]).read_bytes() == (folder / "config.json").read_bytes()
    assert not (user.cache / "models--org--published" / "refs").exists()


def test_byte_ranges(user: User, published: tuple[str, Path], tmp_path: Path) -> None:
    repo, folder = published
    for name in ("model.safetensors", "config.json"):
        whole = (folder / name).read_bytes()
        out = tmp_path / "part"
        user.run("download", repo, name, "--range", "3-9", "-o", str(out))
        assert out.read_bytes() == whole[3:10]
        piped = subprocess.run(
            [program("xetway"), "download", repo, name, "--range", "5-"],
            env=user.environment, capture_output=True, check=True,
        )  # fmt: skip
        assert piped.stdout == whole[5:]
    assert user.json("download", repo, "config.json", "--range", "99999-", expect=2)["code"] == "bad_range"


def test_dry_run_downloads_nothing(user: User, published: tuple[str, Path]) -> None:
    repo, folder = published
    told = user.json("download", repo, "--dry-run")
    assert {file["path"] for file in told["files"]} >= set(contents(folder))
    assert told["missing_bytes"] == sum(file["size"] for file in told["files"])
    assert not (user.cache / "models--org--published" / "blobs").exists()
    assert "missing" in user.run("download", repo, "--dry-run").stdout
    user.run("download", repo)
    assert user.json("download", repo, "--dry-run")["download_bytes"] == 0
    again = user.json("download", repo, "--dry-run", "--force")
    assert (again["missing_bytes"], again["download_bytes"]) == (0, told["missing_bytes"])
    assert "again" in user.run("download", repo, "--dry-run", "--force").stdout
    user.run("download", repo, "config.json", "--dry-run", "--range", "0-1", expect=2)


def test_damaged_file_is_found_by_verify(user: User, published: tuple[str, Path]) -> None:
    repo, folder = published
    snapshot = Path(user.run("download", repo, "-q").stdout.strip())
    blob = (snapshot / "small.bin").resolve()
    damaged = bytearray(blob.read_bytes())
    damaged[100] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(damaged)
    assert {file["state"] for file in user.json("download", repo)["files"]} == {"present"}
    states = {file["path"]: file["state"] for file in user.json("download", repo, "--verify")["files"]}
    assert [path for path, state in states.items() if state == "downloaded"] == ["small.bin"]
    assert contents(snapshot) == contents(folder)


def wait_for(condition: Callable[[], Any], process: subprocess.Popen[str]) -> Any:
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def begun(user: User) -> Path | None:
    """The journal of an interrupted download that has something to resume from."""
    for path in user.cache.rglob("*.xetway-journal"):
        if path.stat().st_size > 1_000:
            return path
    return None


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_interrupted_download_goes_on_where_it_was(
    user: User, published: tuple[str, Path], how: signal.Signals
) -> None:
    repo, folder = published
    name = "model.safetensors"
    process = user.start("download", repo, name, "--rate", "4MB")
    wait_for(lambda: begun(user), process)
    process.send_signal(how)
    _, said = process.communicate(timeout=COMMAND_TIMEOUT_S)
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command again resumes" in said
        assert "Traceback" not in said
    assert begun(user)
    assert not list((user.cache / "models--org--published" / "snapshots").rglob(name))
    again = user.json("download", repo, name)
    assert again["resumed_bytes"] > 0
    assert again["received_bytes"] < (folder / name).stat().st_size
    assert sha256(Path(again["path"])) == sha256(folder / name)
    assert not list(user.cache.rglob("*.xetway*"))


def test_damage_in_what_an_interrupted_download_left_is_not_kept(user: User, published: tuple[str, Path]) -> None:
    repo, folder = published
    process = user.start("download", repo, "model.safetensors", "--rate", "4MB")
    journal = wait_for(lambda: begun(user), process)
    process.kill()
    process.communicate()
    part = journal.with_name(journal.name.removesuffix("-journal") + "-part")
    with part.open("r+b") as file:
        file.seek(70_000)
        file.write(random.Random(1).randbytes(1_000))
    again = user.json("download", repo, "model.safetensors")
    assert sha256(Path(again["path"])) == sha256(folder / "model.safetensors")


def test_bars_are_for_terminals(user: User, published: tuple[str, Path]) -> None:
    repo, _ = published
    plain = user.run("download", repo)
    assert "\x1b" not in plain.stderr
    shutil.rmtree(user.cache)
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [program("xetway"), "download", repo],
        env=user.environment | {"TERM": "xterm", "COLUMNS": "120"}, stdout=subprocess.PIPE, stderr=theirs, text=True,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(mine, 65_536)
        except OSError:  # the other side is closed
            break
        shown += piece
        if not piece:
            break
    os.close(mine)
    out, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
    assert process.returncode == 0
    assert "Downloading" in shown.decode()
    assert len(out.splitlines()) == 1, "stdout has the result and nothing else"
    shutil.rmtree(user.cache)
    assert user.run("download", repo, "--quiet").stderr == ""
    shutil.rmtree(user.cache)
    assert "Downloading" in user.run("download", repo, "--progress").stderr


def test_two_processes_share_one_transfer(user: User, published: tuple[str, Path]) -> None:
    repo, folder = published
    both = [user.start("download", repo, "model.safetensors", "--rate", "16MB", "--json") for _ in range(2)]
    results = [json.loads(process.communicate(timeout=COMMAND_TIMEOUT_S)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    states = sorted(file["state"] for result in results for file in result["files"])
    assert states == ["downloaded", "present"]
    assert {sha256(Path(result["path"])) for result in results} == {sha256(folder / "model.safetensors")}


def test_download_by_hash(user: User, published: tuple[str, Path], tmp_path: Path) -> None:
    repo, folder = published
    wanted = xetway.hash_file(folder / "model.safetensors").hash
    plain, rebuilt = tmp_path / "plain.bin", tmp_path / "rebuilt.bin"
    assert "verified against the hash" in user.run("download-hash", wanted, "-o", str(plain)).stderr
    assert user.json("download-hash", wanted, "-o", str(rebuilt), "--repo", repo)["verified"] is True
    assert sha256(plain) == sha256(rebuilt) == sha256(folder / "model.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["plain.bin", "rebuilt.bin"]


def test_files_are_as_open_as_the_users_umask_says(user: User, published: tuple[str, Path]) -> None:
    repo, _ = published
    before = os.umask(0o022)
    try:
        snapshot = Path(user.run("download", repo, "-q").stdout.strip())
    finally:
        os.umask(before)
    for name in ("config.json", "model.safetensors"):
        assert (snapshot / name).stat().st_mode & 0o777 == 0o644, name
