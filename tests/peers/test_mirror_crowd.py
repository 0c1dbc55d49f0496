"""Sixty-four clients ask for the same file that nobody had yet: it comes from upstream once, and memory stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from server_process import clean_environment
from weights import write_weights

import xetway
from tests.peers.clients import sha256
from tests.peers.conftest import MIB
from tests.peers.mirrored import ONCE, Site
from tests.peers.test_revisions import filled

CROWD = Path(__file__).with_name("crowd.py")
LIMIT = 400 * MIB
REAL_CLIENTS = 4
pytestmark = pytest.mark.alone


def ask_together(site: Site, uploader, repo: str, size_mib: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    file = folder / "model.safetensors"
    write_weights(file, size_mib * MIB, seed=size_mib)
    filled(uploader, repo, folder)
    known = xetway.hash_file(file)
    others = 64 - REAL_CLIENTS
    task = {
        "url": site.mirror.url,
        "repo": repo,
        "file": file.name,
        "size": known.size,
        "hash": str(known.hash),
        "original": str(file),
        "xorbs": str(site.behind.data / "xorbs"),
        "plain": others // 2,
        "xet": others - others // 2,
    }
    with subprocess.Popen(
        [sys.executable, str(CROWD)],
        env=clean_environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as crowd:
        assert crowd.stdin is not None
        crowd.stdin.write(json.dumps(task))
        crowd.stdin.close()
        crowd.stdin = None
        running = [
            site.user().start("hf", "download", repo, file.name, "--local-dir", str(tmp_path / f"got-{number}"))
            for number in range(REAL_CLIENTS)
        ]
        expected = sha256(file)
        for number, process in enumerate(running):
            output, _ = process.communicate(timeout=500)
            assert process.returncode == 0, (number, output, site.mirror.log[-3000:])
            got = tmp_path / f"got-{number}" / file.name
            assert sha256(got) == expected
            got.unlink()
        said = json.loads(crowd.communicate(timeout=500)[0])
    assert said["wrong"] == [], site.mirror.log[-3000:]
    assert site.upstream.data_bytes < ONCE * known.size, f"{site.upstream.data_bytes / known.size:.2f} times"
    peak = site.mirror.peak_rss_bytes()
    print(f"peak memory of the mirror: {(peak or 0) / MIB:.0f} MiB, upstream {site.upstream.data_bytes / MIB:.0f} MiB")
    assert peak is None or peak < LIMIT, f"{peak / MIB:.0f} MiB"


def test_a_file_of_64_mib(site: Site, make_client, write_token: str, repo: str, tmp_path: Path) -> None:
    ask_together(site, make_client(write_token), repo, 64, tmp_path)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_file_of_one_gib(site: Site, make_client, write_token: str, repo: str, tmp_path: Path) -> None:
    ask_together(site, make_client(write_token), repo, 1024, tmp_path)
