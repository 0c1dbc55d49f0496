"""What each worker may do of what all may, and the sums of what they did."""

from __future__ import annotations

import pytest

from xetway.errors import ConfigError
from xetway.policy import queue_totals, shares
from xetway.policy.queue import Stats
from xetway.policy.queue_totals import QueueTotals
from xetway.settings.gateway import Gateway, Model, Queue, Upstream


def options(**queue: int | None) -> Gateway:
    model = Model(name="m", upstreams=(Upstream(url="http://h/v1"),), concurrency=5)
    return Gateway(models=(model,), queue=Queue(**queue))


def test_shares_are_whole_and_make_up_all() -> None:
    whole = options(max_size=7, concurrency=8, model_concurrency=None)
    parts = [shares.of_worker(whole, number, 3) for number in range(3)]
    assert [part.queue.max_size for part in parts] == [3, 2, 2]
    assert [part.queue.concurrency for part in parts] == [3, 3, 2]
    assert [part.queue.model_concurrency for part in parts] == [None] * 3
    assert [part.models[0].concurrency for part in parts] == [2, 2, 1]
    assert shares.of_worker(whole, 0, 1) is whole


def test_a_slot_cannot_be_divided() -> None:
    with pytest.raises(ConfigError, match=r"queue\.concurrency is 2; it must be at least 3"):
        shares.of_worker(options(concurrency=2), 0, 3)
    with pytest.raises(ConfigError, match="concurrency of the model m is 5; it must be at least 6"):
        shares.of_worker(options(), 0, 6)


def test_lines_are_summed_and_those_of_a_dead_worker_are_empty() -> None:
    one = Stats(2, 50, 10, 5, 1, 1, 1, 0.04, 3)
    other = Stats(1, 50, 20, 15, 2, 2, 2, 0.02, 1)
    told = [QueueTotals(one, {"m": one}), QueueTotals(other, {"m": other, "n": other})]
    both = Stats(3, 100, 30, 20, 3, 3, 3, 0.03, 4)
    assert queue_totals.added(told) == QueueTotals(both, {"m": both, "n": other})
    gone = Stats(0, 0, 20, 15, 2, 2, 2, 0.02, 0)
    assert queue_totals.past(told[1]) == QueueTotals(gone, {"m": gone, "n": gone})
    assert queue_totals.added([queue_totals.past(told[1])]).all.utilization == 0
