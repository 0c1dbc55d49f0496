"""`xetway download` and `upload` as people type them, beside the Hub's own client on the same server."""

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
from server_process import ServerProcess, client_environment, own_environment, program

import xetway
from tests.peers.clients import NEWEST, Client, contents, sha256
from tests.peers.conftest import MIB, make_folder

WAIT_S = 60


class User:
    """Somebody with a home folder who runs xetway's commands."""

    def __init__(self, home: Path, url: str, token: str | None = None, **settings: str) -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True)
        self.cache = home / "hf" / "hub"
        self.environment = {**own_environment(home), **client_environment(home, url, token, **settings)}

    def run(self, *arguments: str, expect: int = 0) -> subprocess.CompletedProcess[str]:
        answer = subprocess.run(
            [program("xetway"), *arguments],
            env=self.environment, cwd=self.home, capture_output=True, text=True, timeout=WAIT_S, check=False,
        )  # fmt: skip
        assert answer.returncode == expect, (
            f"{arguments} exited with {answer.returncode}:\n{answer.stdout}\n{answer.stderr}"
        )
        assert "Traceback" not in answer.stderr
        return answer

    def json(self, *arguments: str, expect: int = 0) -> Any:
        answer = self.run(*arguments, "--json", expect=expect)
        assert expect or not answer.stderr, answer.stderr
        return json.loads(answer.stdout)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [program("xetway"), *arguments],
            env=self.environment, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


@pytest.fixture
def user(server: ServerProcess, tmp_path: Path) -> User:
    """Somebody without a token."""
    return User(tmp_path / "user", server.url)


@pytest.fixture
def author(server: ServerProcess, tmp_path: Path, write_token: str) -> User:
    """Somebody who may write."""
    return User(tmp_path / "author", server.url, write_token)


@pytest.fixture
def client(server: ServerProcess, tmp_path: Path) -> Client:
    """The Hub's own client, without a token and with a home of its own."""
    return Client(NEWEST, server, tmp_path / "hf-client")


@pytest.fixture(scope="module")
def published(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory, write_token: str) -> tuple[str, Path]:
    """A repository that the Hub's own client uploaded, and the folder it is made of."""
    root = tmp_path_factory.mktemp("published")
    folder = make_folder(root / "model", weights_mib=12)
    writer = Client(NEWEST, server, root / "writer", write_token)
    writer.create_repo(repo_id="org/published")
    writer.upload_folder(repo_id="org/published", folder_path=str(folder))
    return "org/published", folder


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
    deadline = time.monotonic() + WAIT_S
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
    _, said = process.communicate(timeout=WAIT_S)
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
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "Downloading" in shown.decode()
    assert len(out.splitlines()) == 1, "stdout has the result and nothing else"
    shutil.rmtree(user.cache)
    assert user.run("download", repo, "--quiet").stderr == ""
    shutil.rmtree(user.cache)
    assert "Downloading" in user.run("download", repo, "--progress").stderr


@pytest.mark.parametrize(
    ("arguments", "expect", "words"),
    [
        (("download", "org/nowhere"), 1, "check the name"),
        (("download", "org/published", "--revision", "nowhere"), 1, "no revision 'nowhere'"),
        (("download", "org/published", "nothing.bin"), 1, "no file 'nothing.bin'"),
        (("download", "org/published", "sub dir"), 1, "--include"),
        (("download", "org/published", "--include", "*.gguf"), 1, "fits the patterns"),
        (("download", "not a repo"), 2, "namespace/name"),
        (("download", "org/published", "--range", "0-1"), 2, "single file"),
        (("download", "org/published", "config.json", "--range", "9-1"), 2, "--range"),
        (("download", "org/published", "--local-dir", "a", "--cache=b"), 2, "three different places"),
        (("download", "org/published", "--endpoint", "hub.example"), 2, "http://"),
        (("download", "org/published", "--rate", "fast"), 2, "--rate"),
        (("download", "org/published", "--concurrency", "0"), 2, "concurrency"),
        (("download-hash", "xyz", "-o", "f"), 2, "64 hexadecimal"),
        (("download-hash", "0" * 63 + "1", "-o", "f"), 1, "404"),
        (("upload", "org/new", "nowhere"), 1, "nowhere"),
    ],
)
def test_mistakes_are_told_in_one_line(
    user: User, published: tuple[str, Path], arguments: tuple[str, ...], expect: int, words: str
) -> None:
    said = user.run(*arguments, expect=expect).stderr
    assert words in said
    assert "click" not in said
    assert said.startswith(("xetway: ", "Usage: "))
    if said.startswith("xetway: "):
        assert len(said.strip().splitlines()) == 1


def test_network_failures_name_the_host_and_a_remedy(user: User, published: tuple[str, Path]) -> None:
    for url in ("http://127.0.0.1:9", "http://no-such-host.invalid"):
        said = user.run("download", published[0], "--endpoint", url, expect=1).stderr
        assert url.removeprefix("http://").partition(":")[0] in said
        assert len(said.strip().splitlines()) == 1


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


def test_two_processes_share_one_transfer(user: User, published: tuple[str, Path]) -> None:
    repo, folder = published
    both = [user.start("download", repo, "model.safetensors", "--rate", "16MB", "--json") for _ in range(2)]
    results = [json.loads(process.communicate(timeout=WAIT_S)[0]) for process in both]
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


LIBRARY = """
import asyncio, json, sys
import xetway
repo, target = sys.argv[1:]
async def main():
    seen = []
    done = await xetway.download(repo, "model.safetensors", to=target, progress=seen.append)
    head = b"".join([piece async for piece in xetway.stream(repo, "model.safetensors", start=8, end=100)])
    task = asyncio.create_task(xetway.download(repo, "model.safetensors", to=target + ".other", force=True))
    await asyncio.sleep(0)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    twin = xetway.download_sync(repo, "config.json", to=target + ".json")
    return [done.size, done.hash, done.received_bytes, len(seen) > 0, head.hex(), twin.size]
print(json.dumps(asyncio.run(main())))
"""


def test_library(user: User, published: tuple[str, Path], tmp_path: Path) -> None:
    repo, folder = published
    target = tmp_path / "library.bin"
    answer = subprocess.run(
        [program("python"), "-c", LIBRARY, repo, str(target)],
        env=user.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    size, found, received, progressed, head, small = json.loads(answer.stdout)
    whole = (folder / "model.safetensors").read_bytes()
    assert (size, found) == (len(whole), xetway.hash_file(folder / "model.safetensors").hash)
    assert 0 < received < 1.05 * size
    assert progressed
    assert bytes.fromhex(head) == whole[8:100]
    assert small == (folder / "config.json").stat().st_size
    assert sha256(target) == sha256(folder / "model.safetensors")
    assert not (tmp_path / "library.bin.other").exists()


EXAMPLES = """
import asyncio, doctest, inspect, json
import xetway
results = []
for function in (xetway.download, xetway.download_sync, xetway.stream):
    names = {"xetway": xetway}
    for example in doctest.DocTestParser().get_examples(function.__doc__):
        exec(example.source, names)
    value = (names.get("fetch") or names["head"])()
    value = asyncio.run(value) if inspect.iscoroutine(value) else value
    results.append(value.hex() if isinstance(value, bytes) else value)
print(json.dumps(results))
"""


def test_examples_of_the_library_do_what_they_say(author: User, user: User, folder: Path, tmp_path: Path) -> None:
    author.run("upload", "org/model", str(folder))
    (tmp_path / "train.csv").write_text("a,b")
    author.run("upload", "datasets/org/texts", str(tmp_path / "train.csv"))
    answer = subprocess.run(
        [program("python"), "-c", EXAMPLES],
        env=user.environment, cwd=user.home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    size, path, head = json.loads(answer.stdout)
    assert size == (folder / "config.json").stat().st_size
    assert (user.home / path).read_text() == "a,b"
    assert bytes.fromhex(head) == (folder / "model.safetensors").read_bytes()[:8]


def test_files_are_as_open_as_the_users_umask_says(user: User, published: tuple[str, Path]) -> None:
    repo, _ = published
    before = os.umask(0o022)
    try:
        snapshot = Path(user.run("download", repo, "-q").stdout.strip())
    finally:
        os.umask(before)
    for name in ("config.json", "model.safetensors"):
        assert (snapshot / name).stat().st_mode & 0o777 == 0o644, name


def test_token_commands_make_no_store_by_mistake(user: User, tmp_path: Path) -> None:
    wrong = tmp_path / "mistyped"
    for arguments in (("list",), ("revoke", "1")):
        assert "no xetway store" in user.run("token", *arguments, "--data", str(wrong), expect=2).stderr
    assert not wrong.exists()
    data = tmp_path / "data"
    user.run("token", "create", "--name", "laptop", "--data", str(data))
    assert "'laptop' has the id 1" in user.run("token", "revoke", "laptop", "--data", str(data), expect=2).stderr
    user.run("token", "revoke", "1", "--data", str(data))


def test_cache_commands_make_no_cache_by_mistake(user: User, tmp_path: Path) -> None:
    for arguments in (("ls",), ("verify",), ("prune", "--all")):
        assert "no mirror's cache" in user.run("cache", *arguments, "--data", str(tmp_path / "x"), expect=2).stderr
    assert "one of --to" in user.run("cache", "prune", "--data", str(tmp_path), expect=2).stderr


def test_a_server_that_does_not_mirror_says_so(user: User, published: tuple[str, Path]) -> None:
    assert "--upstream" in user.run("prefetch", published[0], expect=1).stderr
