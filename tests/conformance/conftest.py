"""Fixtures of the conformance tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from server_process import ServerProcess

from tests.conformance.cas_client import Cas


@pytest.fixture
def cas(server: ServerProcess, write_token: str) -> Iterator[Cas]:
    """A new repository of the session's server, and clients' way to its CAS."""
    client = Cas(server, write_token)
    yield client
    client.http.close()
