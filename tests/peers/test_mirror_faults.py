"""Every fault on the way from upstream, at random places: right bytes, or a clear error and then right bytes.

One test of each kind mixes all faults, one for each file. `make faults` tries each fault by itself, as often as
XETWAY_FAULT_RUNS says (25). All files of a test are fetched at once, so that the half minute after which a stalled
one is given up is waited for once. XETWAY_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import hashlib
import http.client
import itertools
import json
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server_process import ServerProcess, run_xetway
from upstream import Fault, Rule

from tests.conformance.crafted_repo import CraftedFile, CraftedRepo, craft_repo
from tests.peers.clients import NEWEST, Client
from tests.peers.mirrored import IMPATIENT, Site

RUNS = int(os.environ.get("XETWAY_FAULT_RUNS", "4"))
ALONE = pytest.mark.nightly  # `make faults` runs these too
SEED = os.environ.get("XETWAY_FAULT_SEED") or str(random.randrange(10**9))
pytestmark = pytest.mark.timeout(420)

# One process of a client fetches all files at once, and says of each what it got.
FETCH = """
import hashlib, json, sys
from concurrent.futures import ThreadPoolExecutor
from huggingface_hub import hf_hub_download
def fetch(name):
    try:
        with open(hf_hub_download(sys.argv[1], name), "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except Exception as error:
        return f"failed: {type(error).__name__}: {error}"
names = sys.argv[2:]
with ThreadPoolExecutor(len(names)) as pool:
    print(json.dumps(dict(zip(names, pool.map(fetch, names)))))
"""
# What a mirror can always make good by asking again. After a wrong byte it can only say so.
MENDABLE = [
    Fault.CUT,
    Fault.HANGUP,
    Fault.STALL,
    Fault.EXPIRED,
    Fault.TOO_MANY,
    Fault.ERROR,
    Fault.TRUNCATED,
    Fault.WHOLE,
    Fault.WRONG_RANGE,
    Fault.DRIP,
    Fault.LOGIN,
]
WRONG_BYTES = [Fault.SHIFTED, Fault.FLIP]
# Of a plain file the address is asked for each time, so 403 means no.
FINAL_FOR_PLAIN = [*WRONG_BYTES, Fault.EXPIRED]
JSON_FAULTS = [
    Fault.CUT,
    Fault.HANGUP,
    Fault.STALL,
    Fault.TOO_MANY,
    Fault.ERROR,
    Fault.TRUNCATED,
    Fault.DRIP,
    Fault.LOGIN,
]


def by_xet(site: Site, repo: CraftedRepo, *, xet: bool = True) -> dict[str, str]:
    """What one real client gets for each file: its SHA-256, or "failed: ..."."""
    # Left to itself, hf_xet asks for four ranges at a time, and waits for four stalled ones after another.
    settings = {**IMPATIENT, "HF_XET_FIXED_DOWNLOAD_CONCURRENCY": "32"} if xet else {"HF_HUB_DISABLE_XET": "1"}
    user = site.user(**settings)
    got: dict[str, str] = user.python(FETCH, repo.name, *(file.name for file in repo.files))
    return got


def by_get(site: Site, repo: CraftedRepo) -> dict[str, str]:
    """What plain GETs give, as a script makes them."""

    def fetch(file: CraftedFile) -> str:
        host = urlsplit(site.mirror.url)
        connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=200)
        try:
            connection.request("GET", f"/download/{repo.name}/{file.name}")
            answer = connection.getresponse()
            body = answer.read()
        except (http.client.HTTPException, OSError) as error:
            return f"failed: {type(error).__name__}"
        finally:
            connection.close()
        if answer.status != 200:
            assert set(json.loads(body)) >= {"error", "code"}, body
            return f"failed: {body.decode()}"
        return hashlib.sha256(body).hexdigest()

    with ThreadPoolExecutor(len(repo.files)) as pool:
        return dict(zip((file.name for file in repo.files), pool.map(fetch, repo.files), strict=True))


def check(site: Site, repo: CraftedRepo, got: dict[str, str], *, all_right: bool) -> None:
    """Never another content than the right one; with `all_right`, no error either."""
    for file in repo.files:
        said = got[file.name]
        allowed = said == file.sha256 or (not all_right and said.startswith("failed: "))
        assert allowed, f"seed {SEED}: {file.name}: {said}\n{site.mirror.log[-4000:]}\n--\n{site.upstream.log}"


def check_afterwards(site: Site, repo: CraftedRepo) -> None:
    """Without faults everything is right, and stays right when there is nothing but the cache."""
    site.upstream.clear()
    check(site, repo, by_xet(site, repo), all_right=True)
    check(site, repo, by_get(site, repo), all_right=True)
    site.upstream.forget()
    check(site, repo, by_xet(site, repo), all_right=True)
    assert site.upstream.data_bytes == 0
    run_xetway(site.mirror.data, "cache", "verify")


@pytest.fixture
def crafted(server: ServerProcess, write_token: str) -> CraftedRepo:
    print(f"XETWAY_FAULT_SEED={SEED}")
    return craft_repo(server, write_token, files=RUNS, chunks=10, xorbs=2)


@pytest.fixture
def site(request: pytest.FixtureRequest, server, make_upstream, make_mirror, make_client) -> Site:
    upstream = make_upstream(seed=int(SEED), exact_ranges=int(SEED) % 2 == 1)
    # Left to itself the mirror asks for less at a time while all is slow, and the last reader would wait for minutes.
    fault = request.node.callspec.params.get("fault") if hasattr(request.node, "callspec") else None
    options = ("--upstream-concurrency", "64") if fault in {Fault.STALL, Fault.DRIP} else ()
    return Site(server, upstream, make_mirror(upstream, *options), make_client)


def pattern(file: CraftedFile, kind: str) -> str:
    """What of this kind is about this file."""
    return {
        "xorb_bytes": file.any_xorb,
        "plain_bytes": f"/blobs/{file.sha256}/",
        "cas_json": file.hash,
        "hub_api": f"/{file.name}$",
    }[kind]


def put_in_force(site: Site, repo: CraftedRepo, kind: str, *faults: Fault) -> list[Rule]:
    """One fault for each file, in turn: of its data, its plans, or its Hub answers."""
    rules = []
    for file, fault in zip(repo.files, itertools.cycle(faults), strict=False):
        seconds = 600.0 if fault is Fault.STALL else 40.0 if len(faults) == 1 else 2.0
        rules.append(site.upstream.add(Rule(fault, kind, pattern(file, kind), seconds=seconds)))
    return rules


QUICK = [fault for fault in MENDABLE if fault is not Fault.STALL]
QUICK_JSON = [fault for fault in JSON_FAULTS if fault is not Fault.STALL]


@pytest.mark.parametrize("reader", [by_xet, by_get])
def test_all_faults_of_xorbs(site: Site, server, write_token: str, reader) -> None:
    mendable, deceiving = (
        craft_repo(server, write_token, len(faults), chunks=10) for faults in (QUICK, WRONG_BYTES * 3)
    )
    rules = put_in_force(site, mendable, "xorb_bytes", *QUICK)
    rules += put_in_force(site, deceiving, "xorb_bytes", *WRONG_BYTES)
    check(site, mendable, reader(site, mendable), all_right=True)
    check(site, deceiving, reader(site, deceiving), all_right=False)
    assert [rule.fault for rule in rules if not rule.hits] == []
    check_afterwards(site, mendable)
    check_afterwards(site, deceiving)


def test_all_faults_of_plain_files(site: Site, server, write_token: str) -> None:
    mended = [fault for fault in QUICK if fault not in FINAL_FOR_PLAIN]
    mendable, failing = (
        craft_repo(server, write_token, len(faults), chunks=10) for faults in (mended, FINAL_FOR_PLAIN)
    )
    site.upstream.manners.plain = frozenset({mendable.name, failing.name})
    rules = put_in_force(site, mendable, "plain_bytes", *mended)
    rules += put_in_force(site, failing, "plain_bytes", *FINAL_FOR_PLAIN)
    check(site, mendable, by_get(site, mendable), all_right=True)
    check(site, failing, by_get(site, failing), all_right=False)
    assert [rule.fault for rule in rules if not rule.hits] == []
    check_afterwards(site, mendable)
    check_afterwards(site, failing)


@pytest.mark.parametrize("kind", ["cas_json", "hub_api"])
def test_all_faults_of_plans_and_answers(site: Site, server, write_token: str, kind: str) -> None:
    repo = craft_repo(server, write_token, len(QUICK_JSON), chunks=6)
    put_in_force(site, repo, kind, *QUICK_JSON)
    check(site, repo, by_xet(site, repo), all_right=kind == "cas_json")
    check_afterwards(site, repo)


@ALONE
@pytest.mark.parametrize("fault", MENDABLE)
@pytest.mark.parametrize("reader", [by_xet, by_get])
def test_mendable_faults_of_xorbs_are_not_seen(site: Site, crafted: CraftedRepo, fault: Fault, reader) -> None:
    rules = put_in_force(site, crafted, "xorb_bytes", fault)
    check(site, crafted, reader(site, crafted), all_right=True)
    assert sum(rule.hits for rule in rules) == RUNS
    check_afterwards(site, crafted)


@ALONE
@pytest.mark.parametrize("fault", WRONG_BYTES)
@pytest.mark.parametrize("reader", [by_xet, by_get])
def test_wrong_bytes_of_xorbs_never_arrive(site: Site, crafted: CraftedRepo, fault: Fault, reader) -> None:
    rules = put_in_force(site, crafted, "xorb_bytes", fault)
    check(site, crafted, reader(site, crafted), all_right=False)
    assert sum(rule.hits for rule in rules) == RUNS
    check_afterwards(site, crafted)


@ALONE
@pytest.mark.parametrize("fault", [*MENDABLE, *WRONG_BYTES])
def test_faults_of_plain_files(site: Site, crafted: CraftedRepo, fault: Fault) -> None:
    site.upstream.manners.plain = frozenset({crafted.name})
    rules = put_in_force(site, crafted, "plain_bytes", fault)
    check(site, crafted, by_get(site, crafted), all_right=fault not in FINAL_FOR_PLAIN)
    assert sum(rule.hits for rule in rules) == RUNS
    check_afterwards(site, crafted)


@ALONE
@pytest.mark.parametrize("fault", JSON_FAULTS)
def test_faults_of_plans(site: Site, crafted: CraftedRepo, fault: Fault) -> None:
    put_in_force(site, crafted, "cas_json", fault)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    check_afterwards(site, crafted)


@ALONE
@pytest.mark.parametrize("fault", JSON_FAULTS)
def test_faults_of_hub_answers(site: Site, crafted: CraftedRepo, fault: Fault) -> None:
    put_in_force(site, crafted, "hub_api", fault)
    check(site, crafted, by_xet(site, crafted), all_right=False)
    check_afterwards(site, crafted)


def test_a_fault_that_stays_is_a_clear_error(site: Site, crafted: CraftedRepo) -> None:
    site.upstream.add(Rule(Fault.ERROR, "xorb_bytes", times=None, value=503))
    got = by_get(site, crafted)
    assert all(said.startswith("failed: ") for said in got.values()), got
    assert "127.0.0.1" in site.mirror.log or "localhost" in site.mirror.log
    check_afterwards(site, crafted)


def test_ports_that_close_and_open(site: Site, crafted: CraftedRepo) -> None:
    """Connections are refused and cut again and again while everybody reads."""
    site.upstream.add(Rule(Fault.DRIP, "xorb_bytes", times=None, probability=0.5, seconds=0.5))
    done = threading.Event()
    generator = random.Random(SEED)

    def flap() -> None:
        while not done.wait(generator.uniform(0.1, 0.4)):
            site.upstream.down(generator.choice(["cas", "cdn"]))
            done.wait(generator.uniform(0.01, 0.2))
            site.upstream.up()

    thread = threading.Thread(target=flap)
    thread.start()
    try:
        check(site, crafted, by_xet(site, crafted), all_right=False)
    finally:
        done.set()
        thread.join()
    check_afterwards(site, crafted)


def test_other_clients_get_the_file_while_one_was_deceived(site: Site, crafted: CraftedRepo) -> None:
    """A flipped byte costs one session at most; who comes next gets the right file, without anybody's help."""
    for file in crafted.files:
        site.upstream.add(Rule(Fault.FLIP, "xorb_bytes", file.any_xorb))
    check(site, crafted, by_xet(site, crafted), all_right=False)
    check(site, crafted, by_xet(site, crafted), all_right=True)
    check(site, crafted, by_get(site, crafted), all_right=True)


def test_every_kind_at_once(site: Site, crafted: CraftedRepo) -> None:
    for fault in (*MENDABLE, *WRONG_BYTES):
        for kind in ("xorb_bytes", "cas_json"):
            if fault not in {Fault.STALL, Fault.DRIP}:
                site.upstream.add(Rule(fault, kind, times=None, probability=0.02))
    for _ in range(3):
        check(site, crafted, by_xet(site, crafted), all_right=False)
    check_afterwards(site, crafted)


def test_newest_client_directly_would_not_have_noticed(site: Site, crafted: CraftedRepo, tmp_path: Path) -> None:
    """What the mirror is for: without it, a flipped byte is a success with a wrong file."""
    file = crafted.files[0]
    site.upstream.add(Rule(Fault.FLIP, "xorb_bytes", file.any_xorb, at=0.55))
    direct = Client(NEWEST, site.upstream, tmp_path / "direct")
    path = Path(direct.hf_hub_download(repo_id=crafted.name, filename=file.name))
    assert hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256
