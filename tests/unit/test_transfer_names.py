"""Names that become paths and addresses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xetway.errors import ConfigError, FormatError
from xetway.transfer.names import RepoName, check_path, check_revision, parse_repo, place, select


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("org/model", None, RepoName("model", "org/model")),
        ("gpt2", None, RepoName("model", "gpt2")),
        ("org/data", "dataset", RepoName("dataset", "org/data")),
        ("datasets/org/data", None, RepoName("dataset", "org/data")),
        ("datasets/org/data", "dataset", RepoName("dataset", "org/data")),
        ("spaces/org/app/", None, RepoName("space", "org/app")),
        ("datasets/squad", None, RepoName("dataset", "squad")),
        ("models/org/model", None, RepoName("model", "org/model")),
    ],
)
def test_repository(text: str, kind: str | None, expected: RepoName) -> None:
    assert parse_repo(text, kind) == expected


@pytest.mark.parametrize("text", ["", "a/b/c", "../x", "a--b/c", "org/..", "org/mo del", "org/\n", "-a/b", "o" * 97])
def test_no_repository(text: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse_repo(text)
    assert refused.value.code == "bad_repo_name"


def test_type_that_contradicts_the_prefix() -> None:
    with pytest.raises(ConfigError) as refused:
        parse_repo("datasets/org/data", "model")
    assert refused.value.code == "bad_repo_name"
    with pytest.raises(ConfigError) as refused:
        parse_repo("org/data", "bucket")
    assert refused.value.code == "bad_type"


def test_addresses_and_folder() -> None:
    repo = parse_repo("datasets/org/data")
    assert (repo.api, repo.page, repo.folder) == ("/api/datasets/org/data", "/datasets/org/data", "datasets--org--data")
    assert parse_repo("gpt2").folder == "models--gpt2"


@pytest.mark.parametrize("revision", ["", "a..b", "/a", "a/", "a b", "a\0", "x" * 251, "a//b", "@", "a:b"])
def test_no_revision(revision: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_revision(revision)
    assert refused.value.code == "bad_revision"


ANYWHERE = [
    "", "/etc/passwd", "..", "../x", "a/../../x", "a//b", "./a", "a/.", "C:\\x", "C:/x", "c:x", "a\\..\\x",
    "\\\\host\\x", "a\0b", "a\nb", "a/", "x" * 5_000, "a\ud800b",
    "a\x9b2J", ".git/config", "a/.GIT/hooks/x", ".git. ", "git~1/config",
]  # fmt: skip
ON_WINDOWS = [
    "con",
    "NUL.txt",
    "a/aux.py",
    "com1",
    "lpt9.log",
    "name.",
    "name ",
    "ab:stream",
    "a?b",
    "conin$",
    "b/com¹.x",
]


@pytest.mark.parametrize("path", ANYWHERE)
@pytest.mark.parametrize("windows", [True, False])
def test_paths_that_lead_elsewhere(path: str, windows: bool) -> None:
    with pytest.raises(FormatError) as refused:
        check_path(path, windows=windows)
    assert refused.value.code == "unsafe_path"
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("path", ON_WINDOWS)
def test_names_that_windows_takes_for_something_else(path: str) -> None:
    assert check_path(path, windows=False) == path
    with pytest.raises(FormatError) as refused:
        check_path(path, windows=True)
    assert refused.value.code == "unsafe_path"


@pytest.mark.parametrize(
    "path",
    ["a", "a/b/c.bin", "..a", "a..b/c", "übung 100%+#.txt", "console.txt", ".gitattributes", ".github/x", "a.git"],
)
@pytest.mark.parametrize("windows", [True, False])
def test_ordinary_paths(path: str, windows: bool) -> None:
    assert check_path(path, windows=windows) == path


@pytest.mark.skipif(os.name == "nt", reason="needs symbolic links")
def test_nothing_is_written_through_a_link_that_leads_out(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "inside").mkdir()
    (root / "link").symlink_to(root / "inside")
    with pytest.raises(FormatError) as refused:
        place(root, "out/deep/x.bin", windows=False)
    assert refused.value.code == "unsafe_path"
    assert not list(outside.iterdir())
    assert place(root, "link/deep/x.bin", windows=False).parent.is_dir()


def test_a_root_that_is_itself_a_link_is_the_users_choice(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    assert place(tmp_path / "root", "a/b", windows=False).parent.is_dir()


def test_patterns_are_those_of_hub_clients() -> None:
    paths = ["a.json", "b/c.bin", "b/d.json", ".hidden"]
    assert select(paths) == paths
    assert select(paths, ["*.json"]) == ["a.json", "b/d.json"]
    assert select(paths, ["b/"]) == ["b/c.bin", "b/d.json"]
    assert select(paths, exclude=["*.json", ".*"]) == ["b/c.bin"]
    assert select(paths, ["*.JSON"]) == []
