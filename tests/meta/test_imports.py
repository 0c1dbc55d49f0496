"""What `import xetway` costs, and what it offers."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys

import pytest
from server_process import clean_environment
from toolchain import ROOT

import xetway

LOOK = """
import json, sys, time
began = time.perf_counter()
import {module}
print(json.dumps([time.perf_counter() - began, sorted(sys.modules)]))
"""


def fresh(module: str) -> tuple[float, set[str]]:
    """Seconds to import the module in a new interpreter, and all that is then loaded."""
    code = LOOK.format(module=module)
    command = [sys.executable, "-I", "-c", code]
    environment = clean_environment(ROOT)  # without coverage, which imports much
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, modules = json.loads(answer.stdout)
    return seconds, set(modules)


@pytest.mark.alone
def test_import_is_quick_and_light() -> None:
    best, modules = min(fresh("xetway") for _ in range(5))
    assert best < 0.3
    assert not modules & {"numpy", "granian", "click", "sqlite3", "asyncio"}


def test_command_line_loads_no_server_until_it_serves() -> None:
    _, modules = fresh("xetway.cli")
    assert not modules & {"numpy", "granian"}


@pytest.mark.parametrize("name", ["xetway", "xetway.xet"])
def test_public_names_are_there_and_no_others(name: str) -> None:
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    missing = [item for item in module.__all__ if not hasattr(module, item)]
    assert not missing
    unlisted = [
        item
        for item, value in vars(module).items()
        if not item.startswith("_")
        and getattr(value, "__module__", "").startswith("xetway")
        and item not in module.__all__
    ]
    assert not unlisted


def test_version_is_the_installed_one() -> None:
    assert xetway.__version__ == importlib.metadata.version("xetway")


def test_native_module_is_found_by_its_stub() -> None:
    native = importlib.import_module("xetway._native")
    assert native.__file__
    assert not native.__file__.endswith((".py", ".pyi"))
