"""Clients with Xet switched off: uploads by LFS, downloads by plain HTTP, and both kinds mixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.peers.clients import Client, Pair, contents

MakeClient = Callable[..., Client]
OFF = {"HF_HUB_DISABLE_XET": "1"}


@pytest.mark.parametrize(("up", "down"), [("plain", "plain"), ("plain", "xet"), ("xet", "plain")])
def test_every_way_up_and_every_way_down(
    make_client: MakeClient, write_token: str, pair: Pair, repo: str, folder: Path, tmp_path: Path, up: str, down: str
) -> None:
    uploader = make_client(write_token, pair, **(OFF if up == "plain" else {}))
    downloader = make_client(None, pair, **(OFF if down == "plain" else {}))
    uploader.create_repo(repo_id=repo)
    uploader.upload_folder(repo_id=repo, folder_path=str(folder))
    downloader.snapshot_download(repo_id=repo, local_dir=str(tmp_path / "downloaded"))
    assert contents(tmp_path / "downloaded") == contents(folder)
    assert downloader.repo_info(repo_id=repo, files_metadata=True)["siblings"]


def test_file_object_upload(make_client: MakeClient, write_token: str, pair: Pair, repo: str, tmp_path: Path) -> None:
    client = make_client(write_token, pair, **OFF)
    (tmp_path / "big.bin").write_bytes(bytes(range(256)) * 40_000)
    client.create_repo(repo_id=repo)
    code = (
        "import sys, json\nfrom huggingface_hub import HfApi\n"
        "with open(sys.argv[2], 'rb') as file:\n"
        "    HfApi().upload_file(repo_id=sys.argv[1], path_in_repo='big.bin', path_or_fileobj=file)\n"
        "print(json.dumps('done'))"
    )
    assert client.python(code, repo, str(tmp_path / "big.bin")) == "done"
    path = client.hf_hub_download(repo_id=repo, filename="big.bin")
    assert Path(path).read_bytes() == (tmp_path / "big.bin").read_bytes()


def test_private_lfs_needs_the_token(
    make_client: MakeClient, write_token: str, pair: Pair, repo: str, folder: Path
) -> None:
    uploader = make_client(write_token, pair, **OFF)
    uploader.create_repo(repo_id=repo, private=True)
    uploader.upload_folder(repo_id=repo, folder_path=str(folder))
    stranger = make_client(None, pair, **OFF)
    result = stranger.calls(["hf_hub_download", {"repo_id": repo, "filename": "model.safetensors"}, True])[0]
    assert result.get("error") == "RepositoryNotFoundError", result
