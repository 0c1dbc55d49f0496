"""The error tree: every class is raised somewhere, every code is well formed, every error survives pickling."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest
from toolchain import ROOT

from xetway import errors

CLASSES = [item for _, item in inspect.getmembers(errors, inspect.isclass) if issubclass(item, errors.XetwayError)]
SOURCES = {
    path: path.read_text(encoding="utf-8")
    for folder, pattern in (("python", "*.py"), ("rust", "*.rs"))
    for path in (ROOT / folder).rglob(pattern)
    if path.name != "errors.py" or path.parent.name != "xetway"
}
TESTS = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (*(ROOT / "tests").rglob("*.py"), *(ROOT / "rust").glob("*/tests/**/*.rs"))
    if "meta" not in path.parts
)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_class_is_used(kind: type[errors.XetwayError]) -> None:
    if kind.__subclasses__() and kind is errors.XetwayError:
        return
    used = [path for path, text in SOURCES.items() if re.search(rf"\b{kind.__name__}\b", text)]
    assert used, f"{kind.__name__} is raised nowhere"


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_code_and_status_are_well_formed(kind: type[errors.XetwayError]) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.code)
    assert 400 <= kind.status <= 599


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_pickle_keeps_message_and_fields(kind: type[errors.XetwayError]) -> None:
    fields = {name: f"value of {name}" for name in kind._all_fields()}
    error = kind("what, where, wanted, got", **fields)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.args == error.args
    assert vars(again) == vars(error) == fields


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_unknown_field_is_refused(kind: type[errors.XetwayError]) -> None:
    with pytest.raises(TypeError, match="no field"):
        kind("message", nonsense=1)


def test_codes_in_python_are_snake_case_words() -> None:
    codes = {
        code for path, text in SOURCES.items() if path.suffix == ".py" for code in re.findall(r'\bcode="([^"]*)"', text)
    }
    assert codes
    assert not [code for code in codes if not re.fullmatch(r"[a-z][a-z0-9_]*", code)]


def test_every_code_that_clients_can_meet_is_asserted_by_a_test() -> None:
    codes = {code for text in SOURCES.values() for code in re.findall(r'\bcode[=:] ?"([a-z0-9_]+)"', text)}
    unseen = sorted(code for code in codes if f'"{code}"' not in TESTS)
    assert not unseen, f"no test shows these codes: {', '.join(unseen)}"
