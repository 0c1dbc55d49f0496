"""A file of many small ranges of one xorb: few requests where a host gives several at a time, right bytes anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from server_process import ServerProcess

from tests.conformance.crafted_repo import CraftedFile, fragmented_repo
from tests.peers.clients import PAIRS, Client, Pair, User

RANGES = 70


@pytest.fixture
def fragmented(server: ServerProcess, write_token: str) -> tuple[str, CraftedFile]:
    """The name of a repository, and its file."""
    repo = fragmented_repo(server, write_token, RANGES)
    (file,) = repo.files
    return repo.name, file


def requests_for(server: ServerProcess, file: CraftedFile) -> int:
    """How often the server was asked for bytes of the file's xorb."""
    server.wait_for_log(f"/xorb-data/{file.xorbs[0]}")
    return sum(f"/xorb-data/{file.xorbs[0]}" in line for line in server.log.splitlines())


def test_our_client_asks_our_server_for_many_ranges_at_a_time(
    server: ServerProcess, fragmented: tuple[str, CraftedFile], tmp_path: Path
) -> None:
    repo, file = fragmented
    User(tmp_path / "user", server.url).run("download", repo, file.name, "--local-dir", str(tmp_path))
    assert (tmp_path / file.name).read_bytes() == file.data
    assert requests_for(server, file) == 3


@pytest.mark.parametrize("manner", ["parts", "whole", "first", "400", "403", "416"])
def test_our_client_asks_for_one_range_at_a_time_where_it_must(
    make_upstream, fragmented: tuple[str, CraftedFile], tmp_path: Path, manner: str
) -> None:
    repo, file = fragmented
    upstream = make_upstream(several_ranges=manner)
    User(tmp_path / "user", upstream.url).run("download", repo, file.name, "--local-dir", str(tmp_path))
    assert (tmp_path / file.name).read_bytes() == file.data
    asked = [seen for seen in upstream.seen if seen.kind == "xorb_bytes"]
    several = sum("," in seen.headers["range"] for seen in asked)
    if manner == "parts":
        assert (several, len(asked)) == (3, 3)
    else:
        # Those for several that were under way when the first one failed; after a 403 once more, with a new URL.
        assert 1 <= several <= (6 if manner == "403" else 3)
        assert len(asked) == several + RANGES


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("settings", [{}, {"HF_XET_CLIENT_ENABLE_MULTIRANGE_FETCHING": "true"}], ids=["one", "several"])
def test_the_hubs_client_gets_ranges_that_share_an_address(
    server: ServerProcess, fragmented: tuple[str, CraftedFile], make_client, pair: Pair, settings: dict[str, str]
) -> None:
    repo, file = fragmented
    client: Client = make_client(None, pair, **settings)
    path = client.hf_hub_download(repo_id=repo, filename=file.name)
    assert Path(path).read_bytes() == file.data
    # The oldest knows reconstructions without shared addresses only.
    is_able = settings and pair.name != "hub036"
    assert requests_for(server, file) == (3 if is_able else RANGES)
