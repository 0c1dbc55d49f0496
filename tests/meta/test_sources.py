"""The sources keep the rules that no linter knows."""

from __future__ import annotations

import pytest
from toolchain import ROOT

MOST_LINES = 600
TABLE = "a table"  # what a longer file says of itself in its first lines


FOLDERS = ("python", "rust", "scripts", "tests", "benches")


def sources(*suffixes: str, folders: tuple[str, ...] = FOLDERS) -> list[str]:
    """The project's own files with these suffixes; nothing that was built."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in suffixes)
    return sorted(path.relative_to(ROOT).as_posix() for path in found if "target" not in path.relative_to(ROOT).parts)


@pytest.mark.parametrize("name", sources(".py", ".pyi", ".rs"))
def test_file_is_short_enough_to_read(name: str) -> None:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MOST_LINES or TABLE in " ".join(lines[:5]).lower(), f"{name} has {len(lines)} lines"


@pytest.mark.parametrize("name", sources(".py", ".rs", folders=("python", "rust", "scripts")))
def test_module_says_what_it_is(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8").lstrip()
    if name.endswith(".rs"):
        assert text.startswith(("//!", "#![")) or "/tests/" in name or not text, f"{name} does not open with //!"
    else:
        assert text.startswith(('"""', 'r"""')), f"{name} has no docstring"


def test_no_module_with_a_name_that_says_nothing() -> None:
    empty = {"utils", "util", "common", "helpers", "helper", "manager", "base", "misc"}
    found = [name for name in sources(".py", ".rs") if name.rpartition("/")[2].partition(".")[0] in empty]
    assert not found
