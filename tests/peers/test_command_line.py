"""`hf upload` and `hf download`, as people type them."""

from __future__ import annotations

from pathlib import Path

from tests.peers.clients import Client, contents


def test_upload_and_download(writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path) -> None:
    writer.command("hf", "upload", repo, str(folder), ".", "--commit-message", "by hand")
    reader.command("hf", "download", repo, "--local-dir", str(tmp_path / "all"))
    assert contents(tmp_path / "all") == contents(folder)
    reader.command(
        "hf", "download", repo, "config.json", "sub dir/deeper/random.bin", "--local-dir", str(tmp_path / "two")
    )
    assert set(contents(tmp_path / "two")) == {"config.json", "sub dir/deeper/random.bin"}
    reader.command("hf", "download", repo, "--include", "*.safetensors", "--local-dir", str(tmp_path / "some"))
    assert set(contents(tmp_path / "some")) == {"model.safetensors"}


def test_upload_of_one_file_to_another_name_and_type(
    writer: Client, reader: Client, repo: str, folder: Path, tmp_path: Path
) -> None:
    writer.command("hf", "upload", repo, str(folder / "model.safetensors"), "data/train.bin", "--repo-type", "dataset")
    reader.command("hf", "download", repo, "--repo-type", "dataset", "--local-dir", str(tmp_path / "got"))
    assert contents(tmp_path / "got") == {"data/train.bin": contents(folder)["model.safetensors"]}


def test_who_am_i(writer: Client) -> None:
    assert "user" in writer.command("hf", "auth", "whoami").lower()
