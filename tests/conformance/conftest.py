"""Fixtures of the conformance tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from server_process import ServerProcess

from tests.conformance.cas_client import Cas
from tests.conformance.crafted_repo import CraftedRepo, craft_repo
from tests.conformance.crowd import Crowd, MakeCrowd
from tests.conformance.mirror_client import Mirrored
from tests.conformance.model_server import ModelServer


@pytest.fixture
def cas(server: ServerProcess, write_token: str) -> Iterator[Cas]:
    """A new repository of the session's server, and clients' way to its CAS."""
    client = Cas(server, write_token)
    yield client
    client.http.close()


@pytest.fixture
def make_mirrored(server: ServerProcess, make_upstream, make_mirror) -> Iterator[Callable[..., Mirrored]]:
    """`make_mirrored("--offline", env=..., gated=...)` is a mirror with an upstream of its own."""
    with httpx.Client(trust_env=False, timeout=30) as http:

        def make(*options: str, env: Mapping[str, str] | None = None, **manners: Any) -> Mirrored:
            upstream = make_upstream(**manners)
            return Mirrored(server, upstream, make_mirror(upstream, *options, env=env), http)

        yield make


@pytest.fixture
def mirrored(make_mirrored: Callable[..., Mirrored]) -> Mirrored:
    """A mirror with default options."""
    return make_mirrored()


@pytest.fixture
def crafted(server: ServerProcess, write_token: str) -> CraftedRepo:
    """A repository of the server behind, with two files of two small xorbs each."""
    return craft_repo(server, write_token, files=2, chunks=4)


@pytest.fixture
def upstream() -> Iterator[ModelServer]:
    """A server that answers as a model does."""
    with ModelServer() as server:
        yield server


@pytest.fixture
def crowd(tmp_path: Path, make_server: Callable[..., ServerProcess], upstream: ModelServer) -> Iterator[MakeCrowd]:
    """`crowd(model="...", more="...")` is a server of two workers with a model `m` and this configuration."""
    made: list[Crowd] = []

    def make(model: str = "", more: str = "") -> Crowd:
        made.append(Crowd(make_server, tmp_path, upstream, model, more))
        return made[-1]

    yield make
    for each in made:
        each.client.close()


@pytest.fixture
def serving(
    tmp_path: Path, upstream: ModelServer, make_server: Callable[..., ServerProcess]
) -> Callable[..., ServerProcess]:
    """`serving("http.drain=1")` is a server with a model `m`, which `upstream` answers for, and these settings."""

    def make(*settings: str) -> ServerProcess:
        config = tmp_path / "gateway.toml"
        config.write_text(f'[[models]]\nname = "m"\nupstreams = [{{ url = "{upstream.url}" }}]\n')
        return make_server("--config", str(config), *(f"--set={setting}" for setting in settings))

    return make
