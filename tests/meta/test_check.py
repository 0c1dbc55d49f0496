"""`make test` runs every test in one of its two passes, and says of every step whether it failed."""

from __future__ import annotations

import sys

import check
import pytest
from check import Step


@pytest.mark.parametrize("nightly", [True, False])
@pytest.mark.parametrize("torch", ["0", "1"])
def test_the_passes_leave_out_the_same_and_nothing_between_them(
    monkeypatch: pytest.MonkeyPatch, torch: str, *, nightly: bool
) -> None:
    monkeypatch.setenv("TORCH", torch)
    together, alone = (step.command for step in check.pytest_steps(nightly=nightly))
    first, second = (command[command.index("--durations=10") + 2] for command in (together, alone))
    assert first.replace("not alone", "alone") == second
    assert ("not nightly" in second, "not torch" in second) == (not nightly, torch == "0")
    assert "--cov-append" not in together
    assert "--cov-append" in alone


def test_a_step_that_fails_is_named_and_the_others_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    def step(name: str, code: str) -> Step:
        return Step(name, (sys.executable, "-c", code))

    lanes = (
        (step("one", "print('why'); raise SystemExit(3)"), step("two", "print('fine')")),
        (step("three", ""), step("four", "raise ValueError('so')")),
    )
    assert check.run_lanes(*lanes) == ["one", "four"]
    said = capsys.readouterr().out
    assert "== one\nwhy\n== one: FAILED" in said
    assert "== two\nfine\n== two: passed" in said
    assert "== three: passed" in said
    assert "ValueError: so\n== four: FAILED" in said
