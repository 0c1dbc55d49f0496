"""The workflows ask for no right they don't need, and run only actions pinned to a commit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from toolchain import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_and_pins(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job.get("timeout-minutes"), f"{name} may hang for hours"
        assert set(job.get("permissions", {}).values()) <= {"read"}, name
    for line in re.findall(r"uses: .*", text):
        assert re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+(\.\d+)*", line), line
    assert "persist-credentials: false" in text


def test_there_are_workflows() -> None:
    assert [path.stem for path in WORKFLOWS] == ["ci", "wheels"]
