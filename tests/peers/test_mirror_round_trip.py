"""Through the mirror with the real clients: the same content, from upstream once and then never again."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from server_process import clean_environment
from weights import change, write_weights

import xetway
from tests.conftest import HUB_TOKEN
from tests.peers.clients import NEWEST, Client, Pair, contents, sha256
from tests.peers.conftest import MIB
from tests.peers.mirrored import ONCE, Site
from tests.peers.test_curl import curl
from tests.peers.test_file_system import READ
from tests.peers.test_revisions import filled

PLAIN = {"HF_HUB_DISABLE_XET": "1"}


def test_cold_and_warm(site: Site, writer: Client, pair: Pair, repo: str, folder: Path, tmp_path: Path) -> None:
    filled(writer, repo, folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    site.user(pair=pair).snapshot_download(repo_id=repo, local_dir=str(tmp_path / "cold"))
    assert contents(tmp_path / "cold") == contents(folder)
    assert 0.6 * size < site.upstream.data_bytes < ONCE * size
    site.upstream.forget()
    site.user(pair=pair).snapshot_download(repo_id=repo, local_dir=str(tmp_path / "warm"))
    site.user(pair=pair, **PLAIN).snapshot_download(repo_id=repo, local_dir=str(tmp_path / "plain"))
    assert contents(tmp_path / "warm") == contents(tmp_path / "plain") == contents(folder)
    assert site.upstream.data_bytes == 0
    assert site.upstream.count("cas_json").requests == 0


def test_cold_without_xet_is_warm_for_xet(site: Site, make_client, write_token, repo, folder, tmp_path: Path) -> None:
    filled(make_client(write_token), repo, folder)
    site.user(**PLAIN).snapshot_download(repo_id=repo, local_dir=str(tmp_path / "plain"))
    site.upstream.forget()
    site.user().snapshot_download(repo_id=repo, local_dir=str(tmp_path / "xet"))
    assert contents(tmp_path / "plain") == contents(tmp_path / "xet") == contents(folder)
    assert site.upstream.data_bytes == 0


@pytest.mark.parametrize("repo_type", ["model", "dataset", "space"])
def test_command_line(
    site: Site, make_client, write_token: str, repo: str, folder: Path, tmp_path: Path, repo_type: str
) -> None:
    uploader = make_client(write_token)
    sdk = {"space_sdk": "static"} if repo_type == "space" else {}
    uploader.create_repo(repo_id=repo, repo_type=repo_type, **sdk)
    uploader.upload_folder(repo_id=repo, repo_type=repo_type, folder_path=str(folder))
    for name in ("cold", "warm"):
        target = tmp_path / name
        site.user().command("hf", "download", repo, "--repo-type", repo_type, "--local-dir", str(target))
        assert contents(target) == contents(folder)
        if name == "cold":
            site.upstream.forget()
    assert site.upstream.data_bytes == 0
    names = ("--include", "*.safetensors", "--local-dir", str(tmp_path / "some"))
    site.user().command("hf", "download", repo, "--repo-type", repo_type, *names)
    assert set(contents(tmp_path / "some")) == {"model.safetensors"}


def test_large_files_without_xet_upstream(site: Site, make_client, write_token, repo, folder, tmp_path: Path) -> None:
    filled(make_client(write_token), repo, folder)
    site.upstream.manners.plain = frozenset({repo})
    site.user().snapshot_download(repo_id=repo, local_dir=str(tmp_path / "cold"))
    size = (folder / "model.safetensors").stat().st_size
    assert size < site.upstream.count("plain_bytes").bytes < 2 * size
    site.upstream.forget()
    site.user().snapshot_download(repo_id=repo, local_dir=str(tmp_path / "warm"))
    assert contents(tmp_path / "cold") == contents(tmp_path / "warm") == contents(folder)
    assert site.upstream.data_bytes == 0


@pytest.mark.parametrize("manners", [{"offers_v2": False}, {"exact_ranges": True}, {"token_life_s": 95.0}])
def test_other_manners_of_the_upstream(
    make_upstream, make_mirror, make_client, write_token, repo, folder: Path, tmp_path: Path, manners: dict
) -> None:
    filled(make_client(write_token), repo, folder)
    upstream = make_upstream(renamed={"old/name": repo}, **manners)
    user = make_client(None, NEWEST, at=make_mirror(upstream))
    user.snapshot_download(repo_id="old/name", local_dir=str(tmp_path / "got"))
    assert contents(tmp_path / "got") == contents(folder)


def test_second_revision_costs_what_changed(site: Site, make_client, write_token, repo: str, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    file = folder / "model.safetensors"
    size = write_weights(file, 48 * MIB, seed=int(repo.rpartition("-")[2]))
    uploader = make_client(write_token)
    old = filled(uploader, repo, folder)
    first = sha256(file)
    changed = change(file, 0.05, runs=4)
    new = uploader.upload_folder(repo_id=repo, folder_path=str(folder))["oid"]
    user = site.user()
    path = Path(user.hf_hub_download(repo_id=repo, filename=file.name, revision=old))
    assert sha256(path) == first
    assert 0.6 * size < site.upstream.data_bytes < ONCE * size
    site.upstream.forget()
    path = Path(user.hf_hub_download(repo_id=repo, filename=file.name, revision=new))
    assert sha256(path) == sha256(file)
    cost = site.upstream.data_bytes
    assert 0.5 * changed < cost < changed + 4 * 4 * 128 * 1024, f"{cost / size:.3f} of the file"


def test_same_content_in_another_repository_costs_nothing(
    site: Site, make_client, write_token: str, repo: str, folder: Path, tmp_path: Path
) -> None:
    uploader = make_client(write_token)
    filled(uploader, repo, folder)
    filled(uploader, f"{repo}-copy", folder)
    site.user().snapshot_download(repo_id=repo, local_dir=str(tmp_path / "one"))
    site.upstream.forget()
    site.user().snapshot_download(repo_id=f"{repo}-copy", local_dir=str(tmp_path / "two"))
    assert contents(tmp_path / "two") == contents(folder)
    small = sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in {".md", ".json", ".txt"})
    assert site.upstream.data_bytes <= small + 10_000


def test_file_system_reads_cost_only_what_they_touch(site: Site, make_client, write_token, repo, tmp_path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    size = write_weights(folder / "model.safetensors", 64 * MIB, seed=99)
    (folder / "config.json").write_text("{}")
    filled(make_client(write_token), repo, folder)
    data = (folder / "model.safetensors").read_bytes()
    for _ in ("cold", "warm"):
        told, parts, _found, text, piece = site.user().python(READ, repo)
        assert (told, text, piece) == (size, "{}", data[8:16].hex())
        for name, digest in parts.items():
            start, length = map(int, name.split("+"))
            assert digest == hashlib.sha256(data[start : start + length]).hexdigest(), name
        if _ == "cold":
            assert 0 < site.upstream.data_bytes < size / 2
            site.upstream.forget()
    assert site.upstream.data_bytes == 0


def addresses(site: Site, repo: str, file: Path) -> list[str]:
    """The three ways to get a file's bytes."""
    return [
        f"{site.mirror.url}/{repo}/resolve/main/{file.name}",
        f"{site.mirror.url}/download/{repo}/{file.name}",
        f"{site.mirror.url}/download-hash/{xetway.hash_file(file).hash}",
    ]


def test_curl_ranges(site: Site, make_client, write_token: str, repo: str, folder: Path, tmp_path: Path) -> None:
    filled(make_client(write_token), repo, folder)
    file = folder / "model.safetensors"
    data, size = file.read_bytes(), file.stat().st_size
    target = tmp_path / "part"
    for url in addresses(site, repo, file):
        for start, end in ((0, 1), (1000, 70_000), (size // 2, size // 2 + 300_000), (size - 10, size)):
            curl(tmp_path, "--fail", "--range", f"{start}-{end - 1}", "--output", str(target), url)
            assert target.read_bytes() == data[start:end], url
        curl(tmp_path, "--fail", "--range", "-77", "--output", str(target), url)
        assert target.read_bytes() == data[-77:]
        shown = ("--output", "/dev/null", "--write-out", "%{http_code}")
        assert curl(tmp_path, *shown, "--range", f"{size}-", url) == "416"
        curl(tmp_path, "--fail", "--output", str(target), url)
        assert target.read_bytes() == data


@pytest.mark.parametrize("way", [0, 1, 2])
def test_curl_resumes_after_a_cut(
    site: Site, make_client, write_token: str, repo: str, tmp_path: Path, way: int
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    file = folder / "model.safetensors"
    write_weights(file, 32 * MIB, seed=5)
    filled(make_client(write_token), repo, folder)
    if way == 2:  # by hash: somebody must have asked for it by name before
        site.user().model_info(repo_id=repo, files_metadata=True)
        curl(tmp_path, "--fail", "--head", addresses(site, repo, file)[0])
    url, target = addresses(site, repo, file)[way], tmp_path / "partial"
    command = ["curl", "--silent", "--limit-rate", "20M", "--output", str(target), url]
    cut = subprocess.Popen(command, env=clean_environment(tmp_path))
    while not (target.exists() and target.stat().st_size > 4 * MIB):
        assert cut.poll() is None, f"curl ended before it was cut\n{site.mirror.log[-2000:]}"
        try:
            cut.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    cut.kill()
    cut.wait()
    assert 4 * MIB < target.stat().st_size < file.stat().st_size
    curl(tmp_path, "--fail", "--continue-at", "-", "--output", str(target), url)
    assert sha256(target) == sha256(file)
    assert site.upstream.count("xorb_bytes").bytes < ONCE * file.stat().st_size


def test_private_and_gated_with_the_callers_token(
    make_upstream, make_mirror, make_client, write_token, repo: str, folder: Path, tmp_path: Path
) -> None:
    uploader, private = make_client(write_token), f"{repo}-private"
    filled(uploader, repo, folder)
    uploader.create_repo(repo_id=private, private=True)
    uploader.upload_folder(repo_id=private, folder_path=str(folder))
    mirror = make_mirror(make_upstream(gated={repo: frozenset({HUB_TOKEN})}))
    for name in (repo, private):
        member = make_client(HUB_TOKEN, NEWEST, at=mirror)
        member.snapshot_download(repo_id=name, local_dir=str(tmp_path / name))
        assert contents(tmp_path / name) == contents(folder)
        refused = make_client(None, NEWEST, at=mirror).calls(
            ["hf_hub_download", {"repo_id": name, "filename": "model.safetensors"}, True],
            ["snapshot_download", {"repo_id": name}, True],
        )
        expected = "GatedRepoError" if name == repo else "RepositoryNotFoundError"
        assert [result.get("error") for result in refused] == [expected, expected], refused
