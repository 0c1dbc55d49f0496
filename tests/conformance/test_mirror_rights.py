"""Whose answers are whose: nothing gated or private is given to another caller, and a token goes to the Hub alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from server_process import ServerProcess
from upstream import Fault, Rule

from tests.conformance.cas_client import Cas
from tests.conformance.crafted_repo import CraftedRepo, commit, craft_repo
from tests.conformance.mirror_client import Mirrored, path_of, ranges
from tests.conftest import HUB_TOKEN

OTHER_TOKEN = "hf_OfSomebodyElseWhoMayReadLess"
MakeMirrored = Callable[..., Mirrored]


@pytest.fixture
def tokens(server: ServerProcess, read_token: str, make_token) -> dict[str, str]:
    """Two of the upstream's tokens: one that reads everything, one that reads only what is of no interest."""
    return {HUB_TOKEN: read_token, OTHER_TOKEN: make_token(server.data, scope="read", pattern="nobody/*")}


def everything_about(mirrored: Mirrored, repo: CraftedRepo, token: str | None) -> list[httpx.Response]:
    """All that a caller can ask about a file without knowing anything but names."""
    file = repo.files[0]
    return [
        mirrored.ask("HEAD", path_of(repo, file), token),
        mirrored.get(path_of(repo, file), token),
        mirrored.get(path_of(repo, file, repo.commit), token),
        mirrored.get(path_of(repo, file), token, headers={"range": "bytes=0-9"}),
        mirrored.get(f"/download/{repo.name}/{file.name}", token),
        mirrored.get(f"/api/models/{repo.name}/xet-read-token/main", token),
        mirrored.get(f"/api/models/{repo.name}/xet-read-token/{repo.commit}", token),
    ]


@pytest.mark.parametrize("how", ["gated", "private"])
def test_what_one_may_read_another_does_not_get(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str], how: str
) -> None:
    repo = craft_repo(server, write_token, chunks=4, private=how == "private")
    gated = {repo.name: frozenset({HUB_TOKEN})} if how == "gated" else {}
    mirrored = make_mirrored(tokens=tokens, gated=gated)
    file = repo.files[0]
    for _ in range(2):
        assert [answer.status_code for answer in everything_about(mirrored, repo, HUB_TOKEN)] == [
            200, 200, 200, 206, 200, 200, 200,
        ]  # fmt: skip
    xet = mirrored.xet_token(repo, HUB_TOKEN)
    assert mirrored.content(mirrored.plan(file.hash, xet))
    code = "GatedRepo" if how == "gated" else "RepoNotFound"
    for stranger in (None, OTHER_TOKEN):
        for answer in everything_about(mirrored, repo, stranger):
            assert answer.status_code in {401, 403, 404}, answer.request.url
            assert answer.headers["x-error-code"] == code
            assert file.data[:100] not in answer.content
        assert mirrored.get(f"/download-hash/{file.hash}", stranger).status_code in {401, 403, 404}
    assert mirrored.get(f"/download-hash/{file.hash}", HUB_TOKEN).status_code == 200


def test_a_xet_token_of_one_repository_opens_no_other(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str], crafted: CraftedRepo
) -> None:
    secret = craft_repo(server, write_token, chunks=4, private=True)
    mirrored = make_mirrored(tokens=tokens)
    mirrored.content(mirrored.plan(secret.files[0].hash, mirrored.xet_token(secret, HUB_TOKEN)))
    for caller in (None, OTHER_TOKEN):
        refused = mirrored.plan(secret.files[0].hash, mirrored.xet_token(crafted, caller))
        assert refused.status_code in {401, 403, 404}


def test_lists_of_a_gated_repository_are_not_shared(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str]
) -> None:
    repo = craft_repo(server, write_token, chunks=4)
    mirrored = make_mirrored(tokens=tokens, gated={repo.name: frozenset({HUB_TOKEN})}, page_entries=100)
    path = f"/api/models/{repo.name}/tree/{repo.commit}?recursive=true"

    def hashes(token: str | None) -> set[str]:
        return {entry["xetHash"] for entry in mirrored.get(path, token).json() if "xetHash" in entry}

    for _ in range(2):
        assert hashes(HUB_TOKEN) == {repo.files[0].hash}
        assert not hashes(None), "a hash that is hidden is left out, so that clients ask for the file itself"
        assert not hashes(OTHER_TOKEN)


def test_a_repository_that_becomes_private_is_closed(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str]
) -> None:
    """Answers to the public are asked for again after a few minutes; a token that was revoked opens nothing new."""
    repo = craft_repo(server, write_token, files=2, chunks=4, private=True)
    mirrored = make_mirrored(tokens=tokens)
    assert mirrored.get(path_of(repo, repo.files[0]), HUB_TOKEN).status_code == 200
    mirrored.upstream.manners.tokens = {OTHER_TOKEN: tokens[OTHER_TOKEN]}
    assert mirrored.get(path_of(repo, repo.files[1]), HUB_TOKEN).status_code in {401, 403, 404}
    assert mirrored.get(path_of(repo, repo.files[0]), HUB_TOKEN).status_code in {401, 403, 404}


def test_a_token_goes_to_the_hub_and_nowhere_else(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str]
) -> None:
    xet_repo = craft_repo(server, write_token, chunks=4, private=True)
    lfs_repo = craft_repo(server, write_token, chunks=4, private=True)
    mirrored = make_mirrored(tokens=tokens, plain=frozenset({lfs_repo.name}))
    for repo in (xet_repo, lfs_repo):
        assert mirrored.get(path_of(repo, repo.files[0]), HUB_TOKEN).status_code == 200
    mirrored.plan(xet_repo.files[0].hash, mirrored.xet_token(xet_repo, HUB_TOKEN))
    roles = {item.role for item in mirrored.upstream.seen}
    assert roles == {"hub", "cas", "cdn"}
    assert mirrored.leaked([HUB_TOKEN]) == []
    assert [item for item in mirrored.upstream.seen if item.role == "hub" and HUB_TOKEN in str(item.headers)]
    assert not [item for item in mirrored.upstream.seen if item.role == "cdn" and "authorization" in item.headers]
    for debug in (HUB_TOKEN, "Signature="):
        assert debug not in mirrored.mirror.log


def test_no_token_is_logged_even_at_debug(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str]
) -> None:
    repo = craft_repo(server, write_token, chunks=4, private=True)
    mirrored = make_mirrored("--log-level", "debug", tokens=tokens)
    mirrored.upstream.add(
        Rule(Fault.EXPIRED, "xorb_bytes"), Rule(Fault.ERROR, "hub_api"), Rule(Fault.HANGUP, "cas_json")
    )
    for token in (HUB_TOKEN, OTHER_TOKEN, "hf_unknownButSecretAllTheSame"):
        everything_about(mirrored, repo, token)
    mirrored.mirror.stop()
    log = mirrored.mirror.log
    for secret in (*tokens, *tokens.values(), "hf_unknownButSecretAllTheSame", "Signature=", 'accessToken":"x'):
        assert secret not in log


def test_our_own_tokens_stay_here(make_mirrored: MakeMirrored, make_token, crafted: CraftedRepo) -> None:
    mirrored = make_mirrored()
    own = make_token(mirrored.mirror.data)
    assert mirrored.get(path_of(crafted, crafted.files[0]), own).status_code == 200
    assert not [item for item in mirrored.upstream.seen if own in str(item.headers)]


@pytest.mark.parametrize("option", ["XETWAY_UPSTREAM_TOKEN", "--use-hf-token"])
def test_the_fallback_token_is_used_only_where_it_is_configured(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str], option: str
) -> None:
    repo = craft_repo(server, write_token, chunks=4, private=True)
    options = (option,) if option.startswith("--") else ()
    env = {"HF_TOKEN" if options else option: HUB_TOKEN}
    mirrored = make_mirrored(*options, env=env, tokens=tokens)
    assert mirrored.get(path_of(repo, repo.files[0])).status_code == 200
    assert mirrored.get(path_of(repo, repo.files[0]), OTHER_TOKEN).status_code in {401, 403, 404}
    assert mirrored.leaked([HUB_TOKEN]) == []


def test_hf_token_of_the_server_is_nobodys_business(
    make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str]
) -> None:
    repo = craft_repo(server, write_token, chunks=4, private=True)
    mirrored = make_mirrored(env={"HF_TOKEN": HUB_TOKEN}, tokens=tokens)
    assert mirrored.get(path_of(repo, repo.files[0])).status_code in {401, 404}
    assert not [item for item in mirrored.upstream.seen if HUB_TOKEN in str(item.headers)]


def test_hosted_repositories_come_first(
    make_mirrored: MakeMirrored, make_token, server: ServerProcess, write_token: str, crafted: CraftedRepo
) -> None:
    """A repository with the same name here is the one that is served; writes never go upstream."""
    mirrored = make_mirrored()
    path = f"/{crafted.name}/resolve/main/config.json"
    assert mirrored.get(path).content == b"{}"
    token = make_token(mirrored.mirror.data)
    before = len(mirrored.upstream.seen)
    space, _, name = crafted.name.partition("/")
    made = mirrored.ask("POST", "/api/repos/create", token, json={"name": name, "organization": space})
    assert made.status_code == 200, made.text
    here = Cas.__new__(Cas)
    here.http = httpx.Client(base_url=mirrored.mirror.url, trust_env=False, timeout=20)
    here.repo, here.hub = crafted.name, {"authorization": f"Bearer {token}"}
    content = {"path": "config.json", "encoding": "base64", "content": "eyJoZXJlIjogMX0="}
    oid = commit(
        here, [{"key": "header", "value": {"summary": "x", "description": ""}}, {"key": "file", "value": content}]
    )
    here.http.close()
    assert mirrored.get(path).json() == {"here": 1}
    assert mirrored.get(f"/api/models/{crafted.name}").json()["sha"] == oid
    assert not [item for item in list(mirrored.upstream.seen)[before:] if item.method not in {"GET", "HEAD"}]
    assert mirrored.get(path_of(crafted, crafted.files[0])).status_code == 404


def test_a_hosted_private_repository_is_not_betrayed_by_the_upstreams(
    make_mirrored: MakeMirrored, make_token, crafted: CraftedRepo
) -> None:
    mirrored = make_mirrored()
    token = make_token(mirrored.mirror.data)
    space, _, name = crafted.name.partition("/")
    body = {"name": name, "organization": space, "private": True}
    assert mirrored.ask("POST", "/api/repos/create", token, json=body).status_code == 200
    assert mirrored.get(f"/api/models/{crafted.name}", token).json()["private"] is True
    stranger = mirrored.get(f"/api/models/{crafted.name}")
    assert stranger.status_code == 200, "who may not know of it gets the upstream's"
    assert stranger.json()["sha"] == crafted.commit


def test_addresses_of_one_plan_are_for_their_range_only(mirrored: Mirrored, crafted: CraftedRepo) -> None:
    plan = mirrored.plan(crafted.files[0].hash, mirrored.xet_token(crafted), range="bytes=0-9").json()
    ((url, start, last),) = ranges(plan)
    assert mirrored.http.get(url, headers={"range": f"bytes={start}-{last}"}).status_code == 206
    beyond = mirrored.http.get(url, headers={"range": f"bytes={start}-{last + 100}"})
    assert beyond.status_code == 403 or len(beyond.content) == last + 1 - start
    other = url.replace(crafted.files[0].xorbs[0], crafted.files[1].xorbs[0])
    assert mirrored.http.get(other, headers={"range": f"bytes={start}-{last}"}).status_code == 403


def test_no_token_is_in_any_file(make_mirrored: MakeMirrored, server, write_token: str, tokens: dict[str, str]) -> None:
    repo = craft_repo(server, write_token, chunks=4, private=True)
    mirrored = make_mirrored(tokens=tokens)
    everything_about(mirrored, repo, HUB_TOKEN)
    xet = mirrored.xet_token(repo, HUB_TOKEN)
    mirrored.content(mirrored.plan(repo.files[0].hash, xet))
    behind = [item.headers["authorization"] for item in mirrored.upstream.seen if item.role == "cas"]
    secrets = [HUB_TOKEN, xet["accessToken"], *(value.removeprefix("Bearer ") for value in behind), "Signature="]
    assert behind
    for path in Path(mirrored.mirror.data).rglob("*"):
        held = path.read_bytes() if path.is_file() else b""
        assert not [secret for secret in secrets if secret.encode() in held], path
