"""The documents tell the truth: commands exist, examples run, links lead somewhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
from pathlib import Path

import goals
import plots
import pytest
from record import RESULTS
from server_process import program
from toolchain import ROOT

import xetway

DOCUMENTS = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAGES = [*DOCUMENTS, *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(path: Path, *languages: str) -> list[str]:
    return [body for language, body in FENCE.findall(path.read_text(encoding="utf-8")) if language in languages]


def commands(first_word: str) -> set[tuple[str, ...]]:
    """All commands in the documents' shell blocks that start with this word, split at blanks."""
    found = set()
    for path in PAGES:
        for body in blocks(path, "sh", "bash", "console"):
            for line in body.replace("\\\n", " ").splitlines():
                words = line.split("#")[0].replace("$(", " ").replace(")", " ").split()
                if first_word in words:
                    found.add(tuple(words[words.index(first_word) :]))
    return found


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {word for words in commands("make") for word in words[1:] if "=" not in word}
    used |= {target for path in DOCUMENTS for target in re.findall(r"`make ([a-z]+)", path.read_text(encoding="utf-8"))}
    assert {"demo", "test"} <= used
    assert used <= targets


def help_of(*words: str) -> str:
    answer = subprocess.run([program("xetway"), *words, "--help"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, f"xetway {' '.join(words)} --help failed: {answer.stderr}"
    return answer.stdout


def test_xetway_commands_and_options_exist() -> None:
    used = commands("xetway")
    assert used
    for words in used:
        name: list[str] = []
        for word in words[1:]:
            if word.startswith("-") or not re.fullmatch(r"[a-z-]+", word):
                break
            if not re.search(rf"^\s+{re.escape(word)}\b", help_of(*name), re.MULTILINE):
                break
            name.append(word)
        text = help_of(*name)
        for option in (word.partition("=")[0] for word in words if word.startswith("--")):
            assert option in text, f"`{' '.join(words)}`: no option {option}"


def command_help_pages(*words: str) -> dict[tuple[str, ...], str]:
    """The help of a command and of all below it."""
    text = help_of(*words)
    pages = {words: text}
    _, _, listed = text.partition("Commands:")
    for name in re.findall(r"^  ([a-z-]+)  ", listed, re.MULTILINE):
        pages |= command_help_pages(*words, name)
    return pages


def test_help_is_good_to_read() -> None:
    pages = command_help_pages()
    assert {("serve",), ("token", "create"), ("fsck",), ("gc",)} <= set(pages)
    for words, text in pages.items():
        assert len(text.splitlines()) > 4, words
        assert max(map(len, text.splitlines())) <= 100, words
        assert text.splitlines()[2].strip(), f"{words} does not say what it does"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_inside_the_project_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
        assert target.startswith(("http:", "https:", "mailto:")) or (path.parent / target).exists(), target


def run_examples(text: str, name: str) -> int:
    """Run the `>>>` examples in the text; returns how many there were."""
    test = doctest.DocTestParser().get_doctest(text, {"xetway": xetway}, name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)
    return len(test.examples)


def test_readme_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sum(run_examples(body, "README") for body in blocks(ROOT / "README.md", "python", "pycon"))


def test_examples_in_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    count = 0
    for found in pkgutil.walk_packages(xetway.__path__, "xetway."):
        if not found.name.endswith(("__main__", "_native")):
            module = importlib.import_module(found.name)
            for test in doctest.DocTestFinder(exclude_empty=True).find(module, found.name):
                count += run_examples(test.docstring, test.name)
    stub = ROOT / "python" / "xetway" / "_native.pyi"
    for node in ast.walk(ast.parse(stub.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.Module):
            count += run_examples(ast.get_docstring(node) or "", getattr(node, "name", "stub"))
    assert count > 5


def test_results_stand_behind_every_figure_of_speed() -> None:
    claim = re.compile(r"\b\d[\d.,]*\s*(?:MB|GB|MiB|GiB)/s|\b\d[\d.]*\s*(?:times|x|\u00d7) faster", re.IGNORECASE)
    for path in DOCUMENTS:
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not claim.search(line) or "results/" in line, f"{path.name}: {line}"


def test_benchmarks_page_and_its_figures_are_made_of_the_results() -> None:
    if not (RESULTS / "codec.json").is_file():
        assert not list((ROOT / "docs").glob("*.svg")), "there are figures without results"
        return
    results, bounds = goals.read(RESULTS)
    assert set(bounds) <= {goal.name for goal in goals.GOALS + goals.GATEWAY_GOALS}
    made = plots.figures(results) | {"benchmarks.md": plots.document(results, bounds)}
    there = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "docs").iterdir()}
    assert {name: text for name, text in there.items() if name in made or name.endswith(".svg")} == made
    assert (RESULTS / "goals.md").read_text(encoding="utf-8") == goals.page(results, bounds)
