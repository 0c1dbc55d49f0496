"""The stand-in for the real Hub is one: real clients work with it as it is, and its faults are what they are called."""

from __future__ import annotations

import asyncio
import gc
import http.client
import re
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server_process import ServerProcess
from upstream import Fault, FaultUpstream, Rule

from tests.conftest import HUB_TOKEN
from tests.peers.clients import NEWEST, Client, ClientError, Pair, contents
from tests.peers.test_revisions import filled

MakeUpstream = Callable[..., FaultUpstream]


@pytest.fixture
def stored(make_client: Callable[..., Client], write_token: str, repo: str, folder: Path) -> str:
    """A repository of the server behind; its commit."""
    return filled(make_client(write_token), repo, folder)


def test_real_clients_work_with_it(
    make_upstream: MakeUpstream, pair: Pair, stored: str, repo: str, folder: Path, tmp_path: Path
) -> None:
    upstream = make_upstream(exact_ranges=True)
    for name, settings in (("xet", {}), ("plain", {"HF_HUB_DISABLE_XET": "1"})):
        client = Client(pair, upstream, tmp_path / f"user-{name}", HUB_TOKEN, settings)
        client.snapshot_download(repo_id=repo, local_dir=str(tmp_path / name))
        assert contents(tmp_path / name) == contents(folder)
    size = (folder / "model.safetensors").stat().st_size
    assert upstream.count("xorb_bytes").bytes > 0.6 * size
    assert upstream.count("plain_bytes").bytes > size
    assert upstream.count("cas_json").requests
    assert {item.role for item in upstream.seen if "authorization" in item.headers} == {"hub", "cas"}
    assert not [item for item in upstream.seen if item.role == "cdn" and HUB_TOKEN in str(item.headers)]


def test_pages_renames_and_older_answers(
    make_upstream: MakeUpstream, stored: str, repo: str, folder: Path, tmp_path: Path
) -> None:
    upstream = make_upstream(renamed={"old/name": repo}, offers_v2=False, plain=frozenset({repo}), page_entries=3)
    client = Client(NEWEST, upstream, tmp_path / "user")
    client.snapshot_download(repo_id="old/name", local_dir=str(tmp_path / "got"))
    assert contents(tmp_path / "got") == contents(folder)
    assert upstream.count("xorb_bytes").requests == 0
    pages = [item for item in upstream.seen if "/tree/" in item.target and item.status == 200]
    assert len(pages) > 2
    upstream.manners.plain = frozenset()
    client.hf_hub_download(repo_id=repo, filename="model.safetensors", local_dir=str(tmp_path / "by-v1"))
    assert (tmp_path / "by-v1/model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert {item.target.split("/")[-3] for item in upstream.seen if "reconstructions" in item.target} == {"v1", "v2"}


def test_gated_and_private_repositories(
    make_upstream: MakeUpstream, stored: str, repo: str, make_client, write_token: str, folder: Path, tmp_path: Path
) -> None:
    private = f"{repo}-private"
    make_client(write_token).create_repo(repo_id=private, private=True)
    make_client(write_token).upload_folder(repo_id=private, folder_path=str(folder))
    upstream = make_upstream(gated={repo: frozenset({HUB_TOKEN})})
    stranger, member = (Client(NEWEST, upstream, tmp_path / f"u{token}", token) for token in (None, HUB_TOKEN))
    refused = stranger.calls(
        ["hf_hub_download", {"repo_id": repo, "filename": "model.safetensors"}, True],
        ["hf_hub_download", {"repo_id": private, "filename": "model.safetensors"}, True],
    )
    assert [(result["error"], result["status"]) for result in refused] == [
        ("GatedRepoError", 401),
        ("RepositoryNotFoundError", 401),
    ]
    assert stranger.model_info(repo_id=repo)["gated"] == "manual"
    hashes = {entry.get("xet_hash") for entry in stranger.list_repo_tree(repo_id=repo, recursive=True)}
    assert hashes == {None, "*" * 64}
    assert Path(member.hf_hub_download(repo_id=private, filename="model.safetensors")).stat().st_size
    assert Path(member.hf_hub_download(repo_id=repo, filename="model.safetensors")).stat().st_size
    with pytest.raises(ClientError):
        Client(NEWEST, upstream, tmp_path / "unknown", "hf_nobodyKnowsThis").model_info(repo_id=repo)


class Link:
    """Talks to the stand-in by hand."""

    def __init__(self, upstream: FaultUpstream, repo: str) -> None:
        self.upstream = upstream
        self.repo = repo

    def get(self, url: str, **headers: str) -> tuple[int, dict[str, str], bytes, bool]:
        """Status, headers, body, and whether it came to its announced end."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path, headers=headers)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        try:
            return answer.status, told, answer.read(), True
        except http.client.IncompleteRead as error:
            return answer.status, told, error.partial, False
        except ConnectionError:
            return answer.status, told, b"", False
        finally:
            connection.close()

    def location(self) -> str:
        """The address of the weights on the CDN."""
        status, headers, _, _ = self.get(f"{self.upstream.url}/{self.repo}/resolve/main/model.safetensors")
        assert status == 302
        return headers["location"]


@pytest.fixture
def link(make_upstream: MakeUpstream, stored: str, repo: str) -> Link:
    return Link(make_upstream(address_life_s=600), repo)


def test_signed_addresses_are_for_others_and_end(link: Link, folder: Path) -> None:
    url = link.location()
    assert urlsplit(url).hostname == "localhost"
    data = (folder / "model.safetensors").read_bytes()
    status, headers, body, whole = link.get(url, Range="bytes=100-299")
    assert (status, body, whole) == (206, data[100:300], True)
    assert headers["content-range"] == f"bytes 100-299/{len(data)}"
    assert link.get(url, Authorization="Bearer x")[0] == 400
    assert link.get(re.sub(r"Expires=\d", "Expires=9", url))[0] == 403
    link.upstream.manners.address_life_s = -1
    assert link.get(link.location())[0] == 403


@pytest.mark.parametrize("fault", list(Fault))
def test_each_fault_is_what_it_is_called(link: Link, folder: Path, fault: Fault) -> None:
    data = (folder / "model.safetensors").read_bytes()
    url, size = link.location(), 3_000_000
    wanted = data[1000 : 1000 + size]
    rule = link.upstream.add(Rule(fault, kind="plain_bytes", skip=1, seconds=0.5))
    asked = {"Range": f"bytes=1000-{1000 + size - 1}"}
    assert link.get(url, **asked)[2] == wanted, "the first is left alone"
    began = time.monotonic()
    if fault is Fault.HANGUP:
        with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
            link.get(url, **asked)
    else:
        status, headers, body, whole = link.get(url, **asked)
        shown = (status, whole, len(body) == size, body == wanted)
        expected = {
            Fault.CUT: (206, False, False, False),
            Fault.STALL: (206, False, False, False),
            Fault.EXPIRED: (403, True, False, False),
            Fault.TOO_MANY: (429, True, False, False),
            Fault.LOGIN: (200, True, False, False),
            Fault.TRUNCATED: (206, True, False, False),
            Fault.WHOLE: (200, True, False, False),
            Fault.WRONG_RANGE: (206, True, True, False),
            Fault.SHIFTED: (206, True, True, False),
            Fault.FLIP: (206, True, True, False),
            Fault.DRIP: (206, True, True, True),
            Fault.ERROR: (status if status in {500, 502, 503} else 0, True, False, False),
        }
        assert shown == expected[fault]
        if fault is Fault.WHOLE:
            assert body == data
        if fault in {Fault.WRONG_RANGE, Fault.SHIFTED}:
            assert body in data
            told = headers["content-range"] == f"bytes 1000-{1000 + size - 1}/{len(data)}"
            assert told is (fault is Fault.SHIFTED)
        if fault is Fault.FLIP:
            assert sum(a != b for a, b in zip(body, wanted, strict=True)) == 1
        if fault in {Fault.DRIP, Fault.STALL}:
            assert time.monotonic() - began >= 0.5
    assert rule.hits == 1
    assert link.get(url, **asked)[2] == wanted, "and so is the third"


def test_down_is_refused_and_up_is_back(link: Link, server: ServerProcess) -> None:
    url = link.location()
    link.upstream.down()
    with pytest.raises(ConnectionRefusedError):
        link.get(url)
    link.upstream.up()
    assert link.get(url, Range="bytes=0-9")[0] == 206


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("is_tls", [False, True])
def test_a_port_that_closes_loses_no_connection(make_upstream: MakeUpstream, turns: int, is_tls: bool) -> None:
    """However far the loop is with a connection: what is lost open warns, and fails the test."""
    upstream = make_upstream(tls=ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if is_tls else None)

    async def close_after_a_connection() -> None:
        with socket.create_connection(("127.0.0.1", urlsplit(upstream.url).port)):
            for _ in range(turns):
                await asyncio.sleep(0)
            await upstream._close(("hub",))

    upstream._order(close_after_a_connection())
    upstream.stop()
    gc.collect()
