"""Clients and folders for the peer tests."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from server_process import ServerProcess
from weights import write_weights

from tests.peers.clients import NEWEST, PAIRS, Client, Pair, User
from tests.peers.mirrored import Site
from tests.peers.redis_server import RedisServer

MIB = 1024 * 1024
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder runs real clients, and they take their time to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("peers")
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(180))


@pytest.fixture(params=PAIRS, ids=lambda pair: pair.name)
def pair(request: pytest.FixtureRequest) -> Pair:
    """Each pair of client versions in turn."""
    return request.param


@pytest.fixture
def make_client(server: ServerProcess, tmp_path: Path) -> Callable[..., Client]:
    """`make_client(token=..., pair=..., HF_HUB_...="1")` is a fresh user of the shared server."""

    def make(token: str | None = None, pair: Pair = NEWEST, at: ServerProcess | None = None, **settings: str) -> Client:
        return Client(pair, at or server, tmp_path / f"user-{next(_numbers)}", token, settings)

    return make


@pytest.fixture
def writer(make_client: Callable[..., Client], write_token: str, pair: Pair) -> Client:
    """A user of each client version who may write."""
    return make_client(write_token, pair)


@pytest.fixture
def reader(make_client: Callable[..., Client], pair: Pair) -> Client:
    """A user of each client version without a token."""
    return make_client(None, pair)


@pytest.fixture
def site(server: ServerProcess, make_upstream, make_mirror, make_client: Callable[..., Client]) -> Site:
    """A mirror of the shared server, with the stand-in for the real Hub between them."""
    upstream = make_upstream()
    return Site(server, upstream, make_mirror(upstream), make_client)


@pytest.fixture
def key_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Valkey or Redis server of this test's own."""
    server = RedisServer(tmp_path)
    yield server
    server.stop()


@pytest.fixture
def repo() -> str:
    """The name of a repository nobody else uses."""
    return f"org/repo-{next(_numbers)}"


def make_folder(folder: Path, weights_mib: int = 6) -> Path:
    """A small model as people have them: a README, JSON, an empty file, odd names, weights, random bytes."""
    generator = random.Random(str(folder))
    (folder / "sub dir" / "deeper").mkdir(parents=True)
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    (folder / "config.json").write_text('{"model_type": "test"}\n', encoding="utf-8")
    (folder / "empty.txt").touch()
    (folder / "sub dir" / "übung 100%+#.txt").write_text("odd name\n", encoding="utf-8")
    (folder / "sub dir" / "deeper" / "random.bin").write_bytes(generator.randbytes(3 * MIB + 17))
    (folder / "small.bin").write_bytes(generator.randbytes(5_000))
    write_weights(folder / "model.safetensors", weights_mib * MIB, seed=generator.randrange(2**32))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model's folder."""
    return make_folder(tmp_path / "model")


@pytest.fixture
def user(server: ServerProcess, tmp_path: Path) -> User:
    """Somebody without a token."""
    return User(tmp_path / "user", server.url)


@pytest.fixture
def author(server: ServerProcess, tmp_path: Path, write_token: str) -> User:
    """Somebody who may write."""
    return User(tmp_path / "author", server.url, write_token)


@pytest.fixture
def client(server: ServerProcess, tmp_path: Path) -> Client:
    """The Hub's own client, without a token and with a home of its own."""
    return Client(NEWEST, server, tmp_path / "hf-client")


@pytest.fixture(scope="session")
def published(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory, write_token: str) -> tuple[str, Path]:
    """A repository that the Hub's own client uploaded, and the folder it is made of."""
    root = tmp_path_factory.mktemp("published")
    folder = make_folder(root / "model", weights_mib=12)
    writer = Client(NEWEST, server, root / "writer", write_token)
    writer.create_repo(repo_id="org/published")
    writer.upload_folder(repo_id="org/published", folder_path=str(folder))
    return "org/published", folder
