"""What people hear of xetway's commands when they mistype, or when something is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers.clients import User


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
