"""When an upstream is left alone: which faults count, who may probe, and whose word comes too late."""

from __future__ import annotations

import pytest

from xetway.policy.breaker import Breaker, Pass
from xetway.policy.rows import own_row
from xetway.settings import gateway as settings


class Time:
    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    return Breaker(settings.Breaker(failures=3, open_for=60, successes=2), time)


def give(breaker: Breaker) -> Pass:
    given = breaker.allow()
    assert given is not None
    return given


def fail(breaker: Breaker, times: int = 3) -> None:
    for _ in range(times):
        give(breaker).fault()


def phase(breaker: Breaker) -> str:
    return breaker.state().state


def test_faults_in_a_row_open_it(breaker: Breaker) -> None:
    fail(breaker, 2)
    give(breaker).ok()
    fail(breaker, 2)
    assert breaker.state().faults == 2
    assert phase(breaker) == "closed"
    give(breaker).fault()
    assert phase(breaker) == "open"
    assert breaker.allow() is None
    assert breaker.state().times_opened == 1


def test_what_is_neutral_neither_counts_nor_forgives(breaker: Breaker) -> None:
    fail(breaker, 2)
    for _ in range(10):
        give(breaker).neutral()
    assert breaker.state().faults == 2
    give(breaker).fault()
    assert phase(breaker) == "open"


def test_opens_for_its_time(breaker: Breaker, time: Time) -> None:
    assert breaker.retry_after_s() == 0
    fail(breaker)
    assert breaker.retry_after_s() == 60
    time.now += 59.5
    assert breaker.retry_after_s() == 1
    assert breaker.allow() is None
    time.now += 0.5
    assert breaker.retry_after_s() == 0
    assert breaker.allow() is not None
    assert phase(breaker) == "half_open"


def test_one_probe_at_a_time(breaker: Breaker, time: Time) -> None:
    fail(breaker)
    time.now += 60
    probe = give(breaker)
    assert [breaker.allow() for _ in range(20)] == [None] * 20
    assert breaker.retry_after_s() == 1
    probe.ok()
    assert phase(breaker) == "half_open"
    assert breaker.state().successes == 1
    give(breaker).ok()
    assert phase(breaker) == "closed"
    assert breaker.state().successes == 0


def test_probe_that_fails_opens_it_again(breaker: Breaker, time: Time) -> None:
    fail(breaker)
    time.now += 60
    give(breaker).ok()
    give(breaker).fault()
    assert phase(breaker) == "open"
    assert breaker.state().times_opened == 2
    assert breaker.retry_after_s() == 60
    time.now += 60
    give(breaker).ok()
    assert phase(breaker) == "half_open"


def test_neutral_probe_lets_the_next_go(breaker: Breaker, time: Time) -> None:
    fail(breaker)
    time.now += 60
    give(breaker).neutral()
    assert breaker.state().successes == 0
    give(breaker).ok()
    give(breaker).neutral()
    give(breaker).ok()
    assert phase(breaker) == "closed"


def test_dropped_probe_is_neutral(breaker: Breaker, time: Time) -> None:
    fail(breaker)
    time.now += 60
    probe = give(breaker)
    assert breaker.allow() is None
    del probe
    assert give(breaker) is not None
    assert phase(breaker) == "half_open"


def test_dropped_pass_while_closed_changes_nothing(breaker: Breaker) -> None:
    fail(breaker, 2)
    give(breaker)
    assert breaker.state().faults == 2


def test_pass_counts_once(breaker: Breaker) -> None:
    once = give(breaker)
    for _ in range(5):
        once.fault()
    once.ok()
    once.neutral()
    assert breaker.state().faults == 1


def test_late_good_answer_does_not_close_it(breaker: Breaker, time: Time) -> None:
    early = [give(breaker) for _ in range(4)]
    fail(breaker)
    early[0].ok()
    assert phase(breaker) == "open"
    time.now += 60
    probe = give(breaker)
    for one in early[1:]:
        one.ok()
    assert breaker.state().successes == 0
    assert breaker.allow() is None
    probe.ok()
    assert breaker.state().successes == 1


def test_late_fault_opens_nothing(breaker: Breaker, time: Time) -> None:
    early = [give(breaker) for _ in range(6)]
    fail(breaker)
    early[0].fault()
    assert breaker.state().times_opened == 1
    time.now += 60
    probe = give(breaker)
    early[1].fault()
    early[2].neutral()
    assert breaker.allow() is None
    probe.ok()
    give(breaker).ok()
    assert phase(breaker) == "closed"
    for one in early[3:]:
        one.fault()
    assert (phase(breaker), breaker.state().faults) == ("closed", 0)


def test_probe_of_an_earlier_period_frees_no_other(breaker: Breaker, time: Time) -> None:
    fail(breaker)
    time.now += 60
    first = give(breaker)
    breaker.reset()
    fail(breaker)
    time.now += 60
    second = give(breaker)
    first.neutral()
    assert breaker.allow() is None
    second.ok()
    assert breaker.allow() is not None


def test_reset_closes_it(breaker: Breaker) -> None:
    fail(breaker)
    breaker.reset()
    assert phase(breaker) == "closed"
    assert breaker.retry_after_s() == 0
    fail(breaker, 2)
    assert phase(breaker) == "closed"


def test_disabled_never_opens(time: Time) -> None:
    breaker = Breaker(settings.Breaker(enabled=False, failures=1), time)
    fail(breaker, 50)
    assert phase(breaker) == "closed"


def pair(time: Time) -> tuple[Breaker, Breaker]:
    """The breaker of one upstream in two workers."""
    options, row = settings.Breaker(failures=3, open_for=60, successes=2), own_row()
    return Breaker(options, time, row, 0), Breaker(options, time, row, 1)


def test_workers_count_and_leave_alone_together(time: Time) -> None:
    one, other = pair(time)
    fail(one, 2)
    fail(other, 1)
    assert one.state() == other.state()
    assert (phase(one), one.allow(), other.allow()) == ("open", None, None)
    other.reset()
    assert phase(one) == "closed"


def test_one_probe_of_all_workers(time: Time) -> None:
    one, other = pair(time)
    fail(one)
    time.now += 60
    probe = give(other)
    assert (one.allow(), other.allow(), one.retry_after_s()) == (None, None, 1)
    probe.ok()
    give(one).ok()
    assert (phase(one), phase(other)) == ("closed", "closed")


def test_probe_of_a_worker_that_was_killed_lets_the_next_go(time: Time) -> None:
    one, other = pair(time)
    fail(one)
    time.now += 60
    lost = give(other)
    one.release(0)
    assert one.allow() is None
    one.release(1)
    mine = give(one)
    assert other.allow() is None
    mine.ok()
    give(one).ok()
    lost.fault()
    assert phase(one) == "closed"


def test_counts_that_do_not_fit_open_it_all_the_same(time: Time) -> None:
    breaker = Breaker(settings.Breaker(failures=10**9), time)
    fail(breaker, 65_535)
    assert phase(breaker) == "open"


def test_switched_off_it_lets_all_pass_whatever_opened_it_before(time: Time) -> None:
    row = own_row()
    fail(Breaker(settings.Breaker(failures=3), time, row))
    off = Breaker(settings.Breaker(enabled=False), time, row)
    for _ in range(3):
        assert off.retry_after_s() == 0
        give(off).fault()
        time.now += 100
    assert phase(off) == "closed"
    assert phase(Breaker(settings.Breaker(failures=3), time, row)) == "open"
