"""Rate limits: what is taken, given back, settled, and told."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import pytest

from xetway._native import SharedTable
from xetway.errors import LimitedError
from xetway.openai import errors as openai_errors
from xetway.policy.caller import Caller
from xetway.policy.limit_answers import NS_PER_S, duration
from xetway.policy.limit_rules import RuleBook, network
from xetway.policy.limits import Limiter, estimate_tokens
from xetway.settings.gateway import Limit, Limits, Model, Upstream

NUMBERS = {"workers": 2, "buckets": 7_000, "gates": 700}
MINUTE = Limit(requests_per_minute=60)
STRANGER = Caller(id="203.0.113.9")


def make_model(name: str = "m", limit: Limit = Limit()) -> Model:
    return Model(name=name, upstreams=(Upstream(url="http://127.0.0.1:9/v1"),), limit=limit)


def make_caller(limit: Limit | None = None, name: str = "bob") -> Caller:
    return Caller(id=name, key_name=name, limit=limit)


@pytest.fixture
def clock():
    """`clock.ns` is what time it is."""
    return SimpleNamespace(ns=1_000 * NS_PER_S)


@pytest.fixture
def make_limiter(clock):
    """Limiters that share one table, as workers do."""
    table = SharedTable(bytearray(SharedTable.size(**NUMBERS)), **NUMBERS)

    def make(limits: Limits = Limits(), worker: int = 0) -> Limiter:
        return Limiter(limits, table, worker, lambda: clock.ns)

    return make


@pytest.fixture
def limiter(make_limiter):
    return make_limiter()


def taken(limiter: Limiter, caller: Caller, model: Model, tries: int = 200, tokens: int = 0) -> int:
    """How many of so many requests get through."""
    count = 0
    for _ in range(tries):
        try:
            limiter.take(caller, model, tokens)
        except LimitedError:
            continue
        count += 1
    return count


def refusal(limiter: Limiter, caller: Caller, model: Model, tokens: int = 0) -> LimitedError:
    with pytest.raises(LimitedError) as caught:
        limiter.take(caller, model, tokens)
    assert (caught.value.code, caught.value.status) == ("rate_limit_exceeded", 429)
    return caught.value


def test_a_minute_s_requests_may_come_at_once_and_then_one_by_one(limiter, clock):
    bob, model = make_caller(MINUTE), make_model()
    assert taken(limiter, bob, model) == 60
    error = refusal(limiter, bob, model)
    assert (error.kind, error.retry_after_s) == ("requests", 1)
    clock.ns += NS_PER_S - 1
    assert taken(limiter, bob, model) == 0
    clock.ns += 1
    assert taken(limiter, bob, model) == 1
    clock.ns += 3600 * NS_PER_S
    assert taken(limiter, bob, model) == 60


def test_burst_is_what_may_come_at_once(limiter, clock):
    bob, model = make_caller(Limit(requests_per_minute=60, burst=5)), make_model()
    assert taken(limiter, bob, model) == 5
    clock.ns += 2 * NS_PER_S
    assert taken(limiter, bob, model) == 2


def test_workers_share_limits(make_limiter):
    first, second = make_limiter(worker=0), make_limiter(worker=1)
    bob, model = make_caller(Limit(requests_per_minute=60, concurrency=50)), make_model()
    grants = [limiter.take(bob, model) for limiter in (first, second) for _ in range(25)]
    assert refusal(first, bob, model).retry_after_s == 1
    for grant in grants:
        grant.finish()
    assert taken(first, bob, model, 7) + taken(second, bob, model, 7) == 10


def test_each_key_has_its_own_limit_and_the_default_if_it_has_none(make_limiter):
    limiter = make_limiter(Limits(enabled=True, key=Limit(requests_per_minute=3)))
    model = make_model()
    assert taken(limiter, make_caller(), model) == 3
    assert taken(limiter, make_caller(name="eve"), model) == 3
    assert taken(limiter, make_caller(Limit(requests_per_minute=4), name="ann"), model) == 4
    assert taken(limiter, make_caller(Limit(), name="root"), model) == 200


def test_a_key_s_limit_is_one_for_all_models(limiter):
    bob = make_caller(Limit(requests_per_minute=10))
    assert taken(limiter, bob, make_model("a")) == 10
    assert taken(limiter, bob, make_model("b")) == 0


def test_defaults_hold_only_where_limits_are_enabled(limiter):
    assert taken(limiter, make_caller(), make_model()) == 200
    assert taken(limiter, STRANGER, make_model()) == 200
    assert taken(limiter, STRANGER, make_model(limit=Limit(requests_per_minute=5))) == 5


def test_a_model_s_limit_is_one_for_all_callers_and_refusing_gives_theirs_back(limiter, clock):
    model = make_model(limit=Limit(requests_per_minute=60, burst=10))
    bob, eve = make_caller(Limit(requests_per_minute=60, burst=20)), make_caller(MINUTE, name="eve")
    assert taken(limiter, bob, model, 6) == 6
    assert taken(limiter, eve, model, 6) == 4
    assert "the model m" in refusal(limiter, bob, model).message
    assert taken(limiter, bob, make_model("other")) == 14


def test_strangers_are_limited_by_address(make_limiter):
    limiter = make_limiter(Limits(enabled=True, anonymous=Limit(requests_per_minute=5)))
    model = make_model()
    assert taken(limiter, STRANGER, model) == 5
    assert taken(limiter, Caller(id="203.0.113.10"), model) == 5
    assert taken(limiter, Caller(id="2001:db8:1:2::1"), model) == 5
    assert taken(limiter, Caller(id="2001:db8:1:2:ffff::9"), model) == 0
    assert taken(limiter, Caller(id="2001:db8:1:3::1"), model) == 5
    # A key that is named as the address is.
    assert taken(limiter, make_caller(Limit(requests_per_minute=2), name=STRANGER.id), model) == 2


@pytest.mark.parametrize(
    ("address", "together"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8::5", "2001:db8::/64"),
        ("2001:db8:0:0:1:2:3:4", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("-", "-"),
        ("x" * 500, "x" * 64),
    ],
)
def test_addresses_that_are_limited_together(address, together):
    assert network(address) == together


def test_what_is_kept_for_strangers_is_bounded():
    book, model = RuleBook(Limits(enabled=True), len), make_model()
    for number in range(25_000):
        book.find(Caller(id=str(number)), model)
    assert len(book._kept) <= 10_000


def test_rules_are_made_anew_when_a_limit_changes(limiter, clock):
    assert taken(limiter, make_caller(Limit(requests_per_minute=5)), make_model()) == 5
    clock.ns += 60 * NS_PER_S
    assert taken(limiter, make_caller(Limit(requests_per_minute=10_000)), make_model()) == 200


def test_tokens_are_taken_as_estimated_and_settled(limiter, clock):
    bob, model = make_caller(Limit(tokens_per_minute=6_000)), make_model()
    grants = [limiter.take(bob, model, 3_000), limiter.take(bob, model, 3_000)]
    error = refusal(limiter, bob, model, 100)
    assert (error.kind, error.retry_after_s) == ("tokens", 1)
    grants[0].finish(2_000)
    limiter.take(bob, model, 1_000).finish()
    assert refusal(limiter, bob, model, 100).retry_after_s == 1
    grants[1].finish(9_000)
    assert refusal(limiter, bob, model, 0).retry_after_s == 60
    clock.ns += 60 * NS_PER_S
    assert limiter.take(bob, model, 0).headers(0)[1] == ("x-ratelimit-remaining", "0")


def test_a_failed_request_gives_all_its_tokens_back(limiter):
    bob, model = make_caller(Limit(tokens_per_minute=100)), make_model()
    for _ in range(20):
        limiter.take(bob, model, 90).finish(0)


def test_more_tokens_than_ever_are_not_promised_for_later(limiter):
    error = refusal(limiter, make_caller(Limit(tokens_per_minute=100)), make_model(), 101)
    assert error.retry_after_s is None
    assert "retry-after" not in dict(error.headers)
    assert "send less" in error.message


def test_tokens_that_are_refused_give_the_request_and_the_place_back(limiter):
    bob = make_caller(Limit(requests_per_minute=10, tokens_per_minute=100, concurrency=1))
    for _ in range(20):
        refusal(limiter, bob, make_model(), 101)
    assert taken(limiter, bob, make_model(), tokens=100) == 1


def test_so_many_at_a_time(limiter):
    bob, model = make_caller(Limit(concurrency=2)), make_model(limit=Limit(concurrency=3))
    eve = make_caller(name="eve")
    grants = [limiter.take(bob, model), limiter.take(bob, model)]
    error = refusal(limiter, bob, model)
    assert (error.kind, error.at_once, error.headers) == ("requests", True, (("retry-after", "1"),))
    limiter.take(eve, model)
    assert "the model m" in refusal(limiter, eve, model).message
    grants[0].finish()
    grants[0].finish()
    limiter.take(bob, model)
    refusal(limiter, bob, model)


def test_a_place_is_given_back_when_the_second_is_not_to_be_had(limiter):
    bob, model = make_caller(Limit(concurrency=2)), make_model(limit=Limit(concurrency=1))
    grant = limiter.take(bob, model)
    for _ in range(5):
        refusal(limiter, bob, model)
    grant.finish()
    limiter.take(bob, model)


def test_headers_tell_of_the_tightest_limit_of_each_kind(limiter, clock):
    bob = make_caller(Limit(requests_per_minute=60, burst=10, tokens_per_minute=6_000))
    model = make_model(limit=Limit(requests_per_minute=600, burst=5))
    assert limiter.take(bob, model, 1_000).headers(1_700_000_000.2) == [
        ("x-ratelimit-limit", "5"),
        ("x-ratelimit-remaining", "4"),
        ("x-ratelimit-reset", "1700000001"),
        ("x-ratelimit-limit-requests", "5"),
        ("x-ratelimit-remaining-requests", "4"),
        ("x-ratelimit-reset-requests", "100ms"),
        ("x-ratelimit-limit-tokens", "6000"),
        ("x-ratelimit-remaining-tokens", "5000"),
        ("x-ratelimit-reset-tokens", "10s"),
    ]
    assert limiter.take(make_caller(name="eve"), make_model("free")).headers() == []


def test_a_refusal_tells_of_the_limit_that_refused(limiter):
    bob, model = make_caller(Limit(requests_per_minute=1)), make_model()
    limiter.take(bob, model)
    error = refusal(limiter, bob, model)
    told = dict(error.headers)
    assert told.pop("x-ratelimit-reset").isdigit()
    assert told == {
        "retry-after": "60",
        "x-ratelimit-limit": "1",
        "x-ratelimit-remaining": "0",
        "x-ratelimit-limit-requests": "1",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1m0s",
    }
    assert pickle.loads(pickle.dumps(error)).headers == error.headers
    body = json.loads(openai_errors.body(error))["error"]
    assert (body["type"], body["code"]) == ("requests", "rate_limit_exceeded")


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0ms"),
        (1, "1ms"),
        (120_000_000, "120ms"),
        (999_999_999, "1s"),
        (8_640_000_000, "8.64s"),
        (59_999_999_999, "1m0s"),
        (360_000_000_000, "6m0s"),
        (3_661_000_000_001, "1h1m2s"),
    ],
)
def test_durations_are_written_as_openai_does(ns, text):
    assert duration(ns) == text


def test_a_prompt_is_estimated_at_four_bytes_a_token():
    assert [estimate_tokens(count) for count in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_a_failure_of_any_kind_leaves_nothing_taken(make_limiter) -> None:
    limiter, caller = make_limiter(), make_caller(Limit(requests_per_minute=60, tokens_per_minute=60, concurrency=1))
    for _ in range(3):
        with pytest.raises(OverflowError):
            limiter.take(caller, make_model(), -1)
    limiter.take(caller, make_model(), 1)
