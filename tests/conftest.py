"""Fixtures of every test that needs a running server: the real one, in a process of its own."""

from __future__ import annotations

import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from server_process import ServerProcess, create_token
from upstream import FaultUpstream, Manners

settings.register_profile("patient", deadline=None, print_blob=True)  # a busy machine is no failure
settings.load_profile("patient")

MakeServer = Callable[..., ServerProcess]
MakeUpstream = Callable[..., FaultUpstream]
# A shell ignores the interrupt for what it runs in the background, and so would all programs that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

HUB_TOKEN = "hf_OfTheFaultUpstreamThatMayReadEverything"


def finish(server: ServerProcess, secrets: list[str]) -> None:
    """Stop the server; its log must hold no traceback and no token."""
    if server.process.poll() is None:
        code = server.stop()
        assert code == 0, f"the server stopped with exit code {code}:\n{server.log}"
    else:
        server.stop()
    assert "Traceback" not in server.log, server.log
    assert "panicked" not in server.log, server.log
    for secret in secrets:
        assert secret not in server.log, "a token is in the server's log"


class Tokens:
    """Makes tokens for a data folder, and remembers them so that logs can be searched for them."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def __call__(self, data: Path, scope: str = "write", pattern: str = "*") -> str:
        token = create_token(data, scope, pattern, name=f"test-{len(self.made)}")
        self.made.append(token)
        return token


@pytest.fixture(scope="session")
def make_token() -> Tokens:
    """`make_token(data, scope="write", pattern="*")` is a new Hub token of that data folder."""
    return Tokens()


@pytest.fixture
def make_server(tmp_path: Path, make_token: Tokens) -> Iterator[MakeServer]:
    """`make_server("--open", data=...)` starts a server of its own for one test."""
    started: list[ServerProcess] = []

    def make(*options: str, data: Path | None = None, launcher: Sequence[str] = ()) -> ServerProcess:
        folder = data or tmp_path / "data"
        folder.mkdir(exist_ok=True)
        server = ServerProcess(folder, *options, home=tmp_path, launcher=launcher)
        started.append(server)
        return server

    yield make
    for server in started:
        finish(server, make_token.made)


@pytest.fixture
def make_upstream(server: ServerProcess, read_token: str) -> Iterator[MakeUpstream]:
    """`make_upstream(behind=server, gated=...)` is a stand-in for the real Hub; what it is given is in Manners.

    HUB_TOKEN is its token for everything that the server behind holds.
    """
    started: list[FaultUpstream] = []

    def make(
        behind: ServerProcess | None = None,
        tokens: Mapping[str, str] | None = None,
        seed: int = 1,
        tls: ssl.SSLContext | None = None,
        **manners: Any,
    ) -> FaultUpstream:
        hosted = behind or server
        known = {HUB_TOKEN: read_token} if tokens is None and behind is None else dict(tokens or {})
        upstream = FaultUpstream(hosted.url, hosted.data, Manners(tokens=known, **manners), seed=seed, tls=tls)
        started.append(upstream)
        return upstream

    yield make
    for upstream in started:
        upstream.stop()


@pytest.fixture
def make_mirror(tmp_path: Path, make_token: Tokens) -> Iterator[MakeServer]:
    """`make_mirror(upstream, "--offline", data=..., env={...})` starts a mirror of it; a URL is taken too.

    At the end its log and its data folder hold no token of the upstream's.
    """
    started: list[tuple[ServerProcess, list[str]]] = []

    def make(
        upstream: FaultUpstream | str, *options: str, data: Path | None = None, env: Mapping[str, str] | None = None
    ) -> ServerProcess:
        folder = data or tmp_path / "mirror"
        folder.mkdir(exist_ok=True)
        url = upstream if isinstance(upstream, str) else upstream.url
        secrets = [] if isinstance(upstream, str) else list(upstream.manners.tokens)
        mirror = ServerProcess(folder, "--upstream", url, *options, home=tmp_path, env=env)
        started.append((mirror, secrets))
        return mirror

    yield make
    for mirror, secrets in started:
        finish(mirror, [*make_token.made, *secrets, "Signature="])
    for mirror, secrets in started:
        assert_not_stored(mirror.data, secrets)


def assert_not_stored(data: Path, secrets: list[str]) -> None:
    """None of the secrets is in any file of the folder."""
    for path in data.rglob("*"):
        held = path.read_bytes() if path.is_file() and path.suffix != ".data" else b""
        for secret in secrets:
            assert secret.encode() not in held, f"a token is in {path.relative_to(data)}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, make_token: Tokens) -> Iterator[ServerProcess]:
    """One server for all tests that only need one: open for reading, writing needs `write_token`."""
    root = tmp_path_factory.mktemp("server")
    data = root / "data"
    data.mkdir()
    with ServerProcess(data, home=root) as running:
        yield running
        finish(running, make_token.made)


@pytest.fixture(scope="session")
def write_token(server: ServerProcess, make_token: Tokens) -> str:
    """A token of `server` that may write every repository."""
    return make_token(server.data)


@pytest.fixture(scope="session")
def read_token(server: ServerProcess, make_token: Tokens) -> str:
    """A token of `server` that may read every repository and write none."""
    return make_token(server.data, scope="read")
