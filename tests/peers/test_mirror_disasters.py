"""The mirror is killed, its cache damaged, its disk full: right bytes or a clear error, and nothing wrong is kept."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server_process import ServerProcess, run_xetway
from upstream import Fault, Rule
from weights import write_weights

from tests.conformance.crafted_repo import craft_repo
from tests.peers.clients import sha256
from tests.peers.conftest import MIB
from tests.peers.mirrored import IMPATIENT, ONCE, Site, cached_files, held_bytes
from tests.peers.test_mirror_faults import by_get, by_xet, check
from tests.peers.test_revisions import filled

SIZE = 48 * MIB


@pytest.fixture
def seed() -> str:
    value = os.environ.get("XETWAY_KILL_SEED") or str(random.randrange(10**9))
    print(f"XETWAY_KILL_SEED={value}")
    return value


@pytest.fixture
def weights(make_client, write_token: str, repo: str, tmp_path: Path) -> Path:
    """A file of 48 MiB, stored in `repo`."""
    file = tmp_path / "weights" / "model.safetensors"
    file.parent.mkdir()
    write_weights(file, SIZE, seed=int(repo.rpartition("-")[2]))
    filled(make_client(write_token), repo, file.parent)
    return file


def again(mirror: ServerProcess, upstream, make_mirror: Callable[..., ServerProcess]) -> ServerProcess:
    """The mirror started again on its data, at the same address."""
    return make_mirror(upstream, "--port", str(urlsplit(mirror.url).port), data=mirror.data)


def download_with_kills(kills: int, seed: str, site: Site, make_mirror, repo: str, weights: Path, tmp_path) -> None:
    """Kill the mirror `kills` times in the middle of a download; each download starts with what is on its disk."""
    generator = random.Random(seed)
    site.upstream.add(Rule(Fault.DRIP, times=None, seconds=0.3))
    killed = 0
    for number in range(kills):
        if held_bytes(site.mirror) > 0.7 * SIZE:  # begin anew, with an empty cache
            assert site.mirror.stop() == 0
            run_xetway(site.mirror.data, "cache", "verify")
            run_xetway(site.mirror.data, "cache", "prune", "--all")
            site.mirror = again(site.mirror, site.upstream, make_mirror)
        target = tmp_path / f"got-{number}"
        user = site.user(**IMPATIENT)
        reader = user.start("hf", "download", repo, weights.name, "--local-dir", str(target))
        wanted = held_bytes(site.mirror) + generator.uniform(0.02, 0.5) * SIZE
        while held_bytes(site.mirror) < wanted and reader.poll() is None:
            time.sleep(0.01)
        if reader.poll() is None:
            site.mirror.kill()
            killed += 1
            site.mirror = again(site.mirror, site.upstream, make_mirror)
        output, _ = reader.communicate(timeout=120)
        if reader.returncode:
            user.command("hf", "download", repo, weights.name, "--local-dir", str(target))
        assert sha256(target / weights.name) == sha256(weights), f"seed {seed}\n{output}"
        (target / weights.name).unlink()
    assert killed > kills / 2, "hardly a kill came in time; nothing is shown"
    site.upstream.clear()
    run_xetway(site.mirror.data, "cache", "verify")


@pytest.mark.timeout(240)
def test_three_kills(site: Site, make_mirror, repo: str, weights: Path, tmp_path: Path, seed: str) -> None:
    download_with_kills(3, seed, site, make_mirror, repo, weights, tmp_path)


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_twenty_five_kills(site: Site, make_mirror, repo: str, weights: Path, tmp_path: Path, seed: str) -> None:
    download_with_kills(25, seed, site, make_mirror, repo, weights, tmp_path)


def test_a_restart_costs_nothing(site: Site, make_mirror, repo: str, weights: Path, tmp_path: Path) -> None:
    path = Path(site.user().hf_hub_download(repo_id=repo, filename=weights.name))
    assert sha256(path) == sha256(weights)
    for how in ("stop", "kill"):
        getattr(site.mirror, how)()
        site.mirror = again(site.mirror, site.upstream, make_mirror)
        site.upstream.forget()
        path = Path(site.user().hf_hub_download(repo_id=repo, filename=weights.name))
        assert sha256(path) == sha256(weights)
        assert site.upstream.data_bytes == 0


def damage(path: Path, generator: random.Random) -> str:
    """Do one of the things that happen to files; says which."""
    size = path.stat().st_size
    way = generator.choice(["flip", "flip", "flip", "cut", "empty", "gone", "zeros", "longer"])
    if path.name.endswith("-shm") and way in {"cut", "empty"}:
        way = "flip"  # SQLite has it mapped into memory: who shortens it ends the process, and no disk does that
    if way == "gone" or size == 0:
        path.unlink()
        return f"{path.name} gone"
    at = generator.randrange(size)
    with path.open("r+b") as file:
        if way == "flip":
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << generator.randrange(8))]))
        elif way == "zeros":
            file.seek(at)
            file.write(bytes(min(50_000, size - at)))
        elif way == "longer":
            file.seek(size)
            file.write(generator.randbytes(1_000))
        else:
            file.truncate(0 if way == "empty" else at)
    return f"{path.name} {way} at {at}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("suffix", [".data", ".held", ".chunks", "any"])
@pytest.mark.parametrize("when", ["running", "stopped"])
def test_damaged_cache_files_are_fetched_again(
    site: Site, server, write_token: str, make_mirror, seed: str, suffix: str, when: str
) -> None:
    repo = craft_repo(server, write_token, files=6, chunks=10)
    check(site, repo, by_xet(site, repo), all_right=True)
    generator = random.Random(seed)
    for number in range(5):
        files = cached_files(site.mirror, "" if suffix == "any" else suffix)
        assert files
        if when == "stopped":
            assert site.mirror.stop() == 0
        told = [damage(path, generator) for path in generator.sample(files, min(len(files), 4))]
        if when == "stopped":
            site.mirror = again(site.mirror, site.upstream, make_mirror)
        print(number, told)
        reader = by_get if number % 2 else by_xet
        check(site, repo, reader(site, repo), all_right=True)
    run_xetway(site.mirror.data, "cache", "verify", expect=(0, 1))
    run_xetway(site.mirror.data, "cache", "verify")
    check(site, repo, by_xet(site, repo), all_right=True)


def test_a_flip_is_found_in_the_middle_of_a_stream(site: Site, repo: str, weights: Path, seed: str) -> None:
    site.user().hf_hub_download(repo_id=repo, filename=weights.name)
    generator = random.Random(seed)
    for _ in range(20):
        (data,) = [path for path in cached_files(site.mirror, ".data") if path.stat().st_size > MIB]
        with data.open("r+b") as file:
            file.seek(generator.randrange(data.stat().st_size))
            file.write(b"\x5a\xa5\x5a")
    site.upstream.forget()
    path = Path(site.user().hf_hub_download(repo_id=repo, filename=weights.name))
    assert sha256(path) == sha256(weights)
    assert 0 < site.upstream.data_bytes < ONCE * SIZE
    (data,) = [path for path in cached_files(site.mirror, ".data") if path.stat().st_size > MIB]
    site.mirror.wait_for_log("WARNING", "damaged on the disk", f"of xorb {data.stem}")


def test_verify_names_the_damage(site: Site, repo: str, weights: Path) -> None:
    site.user().hf_hub_download(repo_id=repo, filename=weights.name)
    data = max(cached_files(site.mirror, ".data"), key=lambda path: path.stat().st_size)
    with data.open("r+b") as file:
        file.seek(data.stat().st_size // 2)
        file.write(bytes(1_000))
    found = run_xetway(site.mirror.data, "cache", "verify", expect=(1,))
    assert data.stem in found.stdout + found.stderr
    run_xetway(site.mirror.data, "cache", "verify")
    path = Path(site.user().hf_hub_download(repo_id=repo, filename=weights.name))
    assert sha256(path) == sha256(weights)


def only_right_or_refused(site: Site, server: ServerProcess, write_token: str) -> None:
    repo = craft_repo(server, write_token, files=6, chunks=16)
    for reader in (by_get, by_xet, by_get):
        check(site, repo, reader(site, repo), all_right=False)


def test_a_cache_smaller_than_a_file(make_upstream, make_mirror, make_client, server, write_token: str) -> None:
    upstream = make_upstream()
    site = Site(server, upstream, make_mirror(upstream, "--cache-size", "1MiB"), make_client)
    only_right_or_refused(site, server, write_token)
    assert held_bytes(site.mirror) < 8 * MIB


def test_the_oldest_goes_when_the_cache_is_full(
    make_upstream, make_mirror, make_client, server, write_token: str
) -> None:
    upstream = make_upstream()
    site = Site(server, upstream, make_mirror(upstream, "--cache-size", "24MiB"), make_client)
    repos = [craft_repo(server, write_token, files=2, chunks=40) for _ in range(4)]  # 10 MiB each
    for repo in repos:
        check(site, repo, by_get(site, repo), all_right=True)
    assert held_bytes(site.mirror) <= 26 * MIB
    upstream.forget()
    check(site, repos[-1], by_get(site, repos[-1]), all_right=True)
    assert upstream.data_bytes == 0
    check(site, repos[0], by_get(site, repos[0]), all_right=True)
    assert upstream.data_bytes > 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits of another process")
def test_files_may_not_grow(site: Site, server: ServerProcess, write_token: str) -> None:
    import resource

    resource.prlimit(site.mirror.process.pid, resource.RLIMIT_FSIZE, (600_000, 600_000))
    only_right_or_refused(site, server, write_token)


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of its own that is soon full; skips where it cannot be had."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, check=False)
    if made.returncode:
        pytest.skip("a small file system needs the right to mount one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a small file system")
def test_the_disk_is_full(make_upstream, make_client, server: ServerProcess, write_token: str, tmp_path: Path) -> None:
    upstream = make_upstream()
    with small_disk(tmp_path / "disk", "9m") as disk:
        data = disk / "data"
        data.mkdir()
        with ServerProcess(data, "--upstream", upstream.url, "--min-free", "0", home=tmp_path) as mirror:
            site = Site(server, upstream, mirror, make_client)
            only_right_or_refused(site, server, write_token)
            assert mirror.stop() == 0
        assert "Traceback" not in mirror.log
        assert "panicked" not in mirror.log
        with ServerProcess(data, "--upstream", upstream.url, "--min-free", "0", home=tmp_path) as mirror:
            site = Site(server, upstream, mirror, make_client)
            only_right_or_refused(site, server, write_token)
