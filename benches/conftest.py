"""What the benches under pytest share: sizes, corpora, and the file their results go to."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# Before hf_xet is imported: nothing of the user's own cache is read or written.
_HOME = tempfile.mkdtemp(prefix="xetway-bench-home-")
os.environ |= {"HF_HOME": _HOME, "HF_XET_TELEMETRY_ENABLED": "0"}

from contest import Contest, Side  # noqa: E402
from record import MIB, circumstances, command, write  # noqa: E402
from tables import contests_text  # noqa: E402

from xetway.bench.corpora import CORPORA, write_corpus  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("xetway benches")
    group.addoption("--size-mib", type=float, default=256, help="of each corpus (default: 256)")
    group.addoption("--rounds", type=int, default=5, help="timed runs of each side (default: 5)")
    group.addoption("--corpora", default=",".join(CORPORA), help="names with commas between them (default: all)")
    group.addoption("--results", type=Path, default=None, help="folder for the result (default: results/)")
    group.addoption("--name", default="codec", help="of the result (default: codec)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "corpus" in metafunc.fixturenames:
        metafunc.parametrize("corpus", metafunc.config.getoption("--corpora").split(","), scope="session")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEPT] = []


_KEPT: pytest.StashKey[list[dict[str, Any]]] = pytest.StashKey()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    kept = session.config.stash[_KEPT]
    if kept and exitstatus == 0:
        around = circumstances("hf_xet", "blake3", "lz4", "numpy", *(["fastcdc"] if find_spec("fastcdc") else []))
        around["command"] = command("python -m pytest")
        data = {"rounds": session.config.getoption("--rounds"), "contests": kept}
        title = "The codec and the store, beside their peers"
        name, folder = session.config.getoption("--name"), session.config.getoption("--results")
        write(name, title, around, data, contests_text(kept), folder=folder)
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


def make(place: Path, corpus: str, request: pytest.FixtureRequest) -> Path:
    path = Path(tempfile.mkdtemp(dir=place)) / corpus
    write_corpus(corpus, path, int(request.config.getoption("--size-mib") * MIB))
    return path


@pytest.fixture(scope="session")
def file(corpus: str, place: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The corpus in a file."""
    path = make(place, corpus, request)
    yield path
    path.unlink()


@pytest.fixture(scope="module")
def weights(place: Path, request: pytest.FixtureRequest) -> Path:
    """bf16 weights, whatever the corpora."""
    return make(place, "bf16", request)


@pytest.fixture(scope="module")
def text(place: Path, request: pytest.FixtureRequest) -> Path:
    """Text, whatever the corpora."""
    return make(place, "text", request)


@pytest.fixture
def contest(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """`contest(work, corpus, amount, sides, same=..., unit=..., threads=...)` times them and keeps the result."""

    def run(
        work: str, corpus: str, amount: int, sides: dict[str, Side], same: Callable = lambda answer: answer, **more: Any
    ) -> None:
        held = Contest(work, corpus, amount, **more)
        held.run(benchmark, request.config.getoption("--rounds"), sides, same)
        request.config.stash[_KEPT].append(held.record())

    return run
