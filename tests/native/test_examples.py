"""The examples in docstrings and in the stub run and show what they say."""

import ast
import doctest
import importlib
import pathlib

import pytest

import xetway

FOLDER = pathlib.Path(xetway.__file__).parent
NAMES = ("_native.pyi", "_native_transfer.pyi", "_native_forward.pyi")
STUBS = [ast.parse((FOLDER / name).read_text(encoding="utf-8")) for name in NAMES]
MODULES = [
    "xetway",
    *(f"xetway.xet.{path.stem}" for path in sorted((FOLDER / "xet").glob("*.py")) if path.stem != "__init__"),
]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


def test_the_stub():
    runner, parser = doctest.DocTestRunner(), doctest.DocTestParser()
    tried = 0
    for node in (node for stub in STUBS for node in ast.walk(stub)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
            case = parser.get_doctest(text, {}, getattr(node, "name", "_native"), None, None)
            tried += len(case.examples)
            runner.run(case)
    assert tried
    assert not runner.failures


def test_the_stub_names_what_is_there():
    native = importlib.import_module("xetway._native")
    parts = [node for stub in STUBS for node in stub.body]
    named = {node.name for node in parts if isinstance(node, ast.ClassDef | ast.FunctionDef)} | {"__version__"}
    present = {name for name in vars(native) if not name.startswith("_")} | {"__version__"}
    assert named == present
