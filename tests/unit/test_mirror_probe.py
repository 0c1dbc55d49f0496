"""What the server says unasked: of an upstream that is away, or none, and of damage on its disk."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from tests.unit.mirror_driver import Answer, MirrorDriver, UpstreamHub
from xetway.mirror.build import tell_damage
from xetway.mirror.probe import probe
from xetway.serve import tell_failure


@pytest.fixture
def upstream(tmp_path: Path) -> UpstreamHub:
    hub = UpstreamHub(tmp_path / "upstream")
    hub.driver.create("org/m")
    hub.tokens["hf_secret"] = hub.driver.new_token("alice")
    return hub


@pytest.fixture
def mirror(tmp_path: Path, upstream: UpstreamHub) -> MirrorDriver:
    return MirrorDriver(tmp_path / "mirror", upstream, fallback="hf_secret")


def warnings(mirror: MirrorDriver, caplog: pytest.LogCaptureFixture) -> list[str]:
    with caplog.at_level(logging.WARNING):
        asyncio.run(probe(mirror.mirror))
    told = [record.getMessage() for record in caplog.records if record.name == "xetway"]
    assert "hf_secret" not in "".join(told)
    return told


def test_nothing_is_said_of_a_hub(
    mirror: MirrorDriver, upstream: UpstreamHub, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings(mirror, caplog) == []
    assert len(upstream.asked) == 1


@pytest.mark.parametrize("status", [200, 401, 403, 429])
def test_nothing_is_said_of_what_answers_one_question_as_a_hub(
    mirror: MirrorDriver, upstream: UpstreamHub, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    def closed(method: str, target: str, headers: dict[str, str], answer: Answer) -> Answer:
        if "whoami" in target:
            return status, [("content-type", "application/json")], b'{"error":"log in first"}', answer[3]
        return 404, [("content-type", "text/plain")], b"no such page", answer[3]

    upstream.meddle = closed
    assert warnings(mirror, caplog) == []


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [(200, "text/html", b"<html>"), (403, "text/html", b"<html>"), (404, "application/json", b"{}")],
)
def test_what_is_no_hub_is_told(
    mirror: MirrorDriver,
    upstream: UpstreamHub,
    caplog: pytest.LogCaptureFixture,
    status: int,
    kind: str,
    body: bytes,
) -> None:
    upstream.meddle = lambda _method, _target, _headers, answer: (status, [("content-type", kind)], body, answer[3])
    (line,) = warnings(mirror, caplog)
    assert "http://upstream.test does not answer as a Hub does" in line
    assert f"{status} {kind}".strip() in line
    assert "--upstream" in line


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_upstream_in_trouble_is_not_told_to_be_no_hub(
    mirror: MirrorDriver, upstream: UpstreamHub, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    upstream.meddle = lambda _method, _target, _headers, answer: (status, [], b"later", answer[3])
    (line,) = warnings(mirror, caplog)
    assert f"http://upstream.test is in trouble ({status}, {status})" in line
    assert "--upstream" not in line


def test_an_upstream_that_cannot_be_reached_is_told(
    mirror: MirrorDriver, upstream: UpstreamHub, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.is_down = True
    (line,) = warnings(mirror, caplog)
    assert "http://upstream.test cannot be reached (connect_failed:" in line
    assert "--upstream" in line


def test_nothing_is_asked_offline(tmp_path: Path, upstream: UpstreamHub, caplog: pytest.LogCaptureFixture) -> None:
    assert warnings(MirrorDriver(tmp_path / "offline", upstream, offline=True), caplog) == []
    assert upstream.asked == []


def test_damage_on_the_disk_is_told_once(mirror: MirrorDriver, caplog: pytest.LogCaptureFixture) -> None:
    mirror.content.damage = ["chunk 3 of xorb abc", "plain file def from byte 0"]
    with caplog.at_level(logging.WARNING):
        tell_damage(mirror.mirror)
        tell_damage(mirror.mirror)
    told = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(": ")[2] for line in told] == ["chunk 3 of xorb abc", "plain file def from byte 0"]


@pytest.mark.parametrize("error", [None, ValueError("a reason")])
def test_a_start_that_fails_is_told(caplog: pytest.LogCaptureFixture, error: Exception | None) -> None:
    async def start() -> None:
        if error is not None:
            raise error

    async def run() -> None:
        task = asyncio.create_task(start())
        task.add_done_callback(tell_failure)
        await asyncio.wait({task})

    asyncio.run(run())
    assert [record.exc_info[1] for record in caplog.records if record.exc_info] == ([error] if error else [])
