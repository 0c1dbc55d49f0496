"""What the processes of one machine share: that it adds up between two of them, and after one was killed."""

import mmap
import subprocess
import sys
import tempfile
import threading

import numpy as np
import pytest

from xetway._native import SharedTable
from xetway.errors import ConfigError

NUMBERS = {"workers": 2, "buckets": 700, "gates": 70, "counters": 9, "words": 3}
SECOND = 1_000_000_000

# A worker of its own: opens the inherited file, then does as it is told by lines on its standard input.
WORKER = """
import mmap, sys
from xetway._native import SharedTable

numbers = {numbers!r}
table = SharedTable(mmap.mmap({fd}, SharedTable.size(**numbers)), **numbers)
bob = table.name("bob")
second = 1_000_000_000
for line in sys.stdin:
    match line.split():
        case ["take", count]:
            answer = sum(table.take(bob, 1, second, 1000 * second, second)[0] for _ in range(int(count)))
        case ["enter", count]:
            answer = sum(table.enter(bob, 1, 100, second) is not None for _ in range(int(count)))
        case ["count", count]:
            for _ in range(int(count)):
                table.add(1, 3)
            answer = int(count)
    print(answer, flush=True)
"""


@pytest.fixture
def shared_file():
    with tempfile.TemporaryFile() as file:
        file.truncate(SharedTable.size(**NUMBERS))
        yield file


@pytest.fixture
def table(shared_file):
    return SharedTable(mmap.mmap(shared_file.fileno(), 0), **NUMBERS)


@pytest.fixture
def worker(shared_file):
    if sys.platform == "win32":
        pytest.skip("file descriptors are not inherited on Windows, where there is one process only")
    fd = shared_file.fileno()
    program = WORKER.format(numbers=NUMBERS, fd=fd)
    with subprocess.Popen(
        [sys.executable, "-c", program], pass_fds=[fd], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def tell(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def answer(process):
    return int(process.stdout.readline())


def test_two_processes_admit_exactly_the_budget(table, worker):
    bob = table.name("bob")
    tell(worker, "take 900")
    here = sum(table.take(bob, 1, SECOND, 1000 * SECOND, SECOND)[0] for _ in range(900))
    assert here + answer(worker) == 1000
    assert table.take(bob, 1, SECOND, 1000 * SECOND, SECOND) == (False, 0, SECOND, 1000 * SECOND)


def test_two_processes_let_in_exactly_the_limit(table, worker):
    bob = table.name("bob")
    tell(worker, "enter 80")
    here = sum(table.enter(bob, 0, 100, SECOND) is not None for _ in range(80))
    assert here + answer(worker) == 100
    assert table.inside(bob) == 100


def test_a_killed_process_leaves_its_takings_and_gives_its_places_back(table, worker):
    bob = table.name("bob")
    tell(worker, "take 400")
    assert answer(worker) == 400
    tell(worker, "enter 60")
    assert answer(worker) == 60
    tell(worker, "take 1000000")
    worker.kill()
    worker.wait()
    assert table.enter(bob, 0, 60, SECOND) is None
    table.release_worker(1)
    assert table.inside(bob) == 0
    assert table.enter(bob, 0, 60, SECOND) is not None
    assert table.take(bob, 601, SECOND, 1000 * SECOND, SECOND)[0] is False
    # Nothing is locked: a new name finds its slot at once.
    assert table.take(table.name("eve"), 1, SECOND, SECOND, SECOND)[0]
    assert not table.take(table.name("eve"), 1, SECOND, SECOND, SECOND)[0]


def test_counters_of_two_processes_add_up(table, worker):
    tell(worker, "count 1000")
    for _ in range(500):
        table.add(0, 3)
    assert answer(worker) == 1000
    assert table.totals()[:9] == [0, 0, 0, 1500, 0, 0, 0, 0, 0]


def test_threads_admit_exactly_the_budget(table):
    bob = table.name("bob")
    taken = []

    def take():
        taken.append(sum(table.take(bob, 1, SECOND, 1000 * SECOND, SECOND)[0] for _ in range(400)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 1000


def test_charge_goes_into_debt_and_refund_takes_it_back(table):
    bob = table.name("bob")
    table.charge(bob, 8, SECOND, SECOND)
    assert table.take(bob, 1, SECOND, 5 * SECOND, SECOND) == (False, 0, 4 * SECOND, 8 * SECOND)
    table.refund(bob, 6, SECOND, SECOND)
    assert table.take(bob, 0, SECOND, 5 * SECOND, SECOND) == (True, 3, 0, 2 * SECOND)
    assert table.take(bob, 6, SECOND, 5 * SECOND, SECOND) == (False, 3, 2**64 - 1, 2 * SECOND)


def test_leaving_makes_room(table):
    bob = table.name("bob")
    gate = table.enter(bob, 0, 1, SECOND)
    assert table.enter(bob, 1, 1, SECOND) is None
    table.leave(gate, 0)
    table.leave(-1, 0)
    assert table.enter(bob, 1, 1, SECOND) is not None


def test_words_change_from_what_is_expected(table):
    assert table.swap_word(2, 0, 7)
    assert not table.swap_word(2, 0, 8)
    assert table.word(2) == 7


def test_set_replaces_a_counter(table):
    table.add(0, 8, 5)
    table.set(0, 8, 3)
    table.set(1, 8, 4)
    assert table.totals()[8] == 7


@pytest.mark.parametrize(
    "call",
    [
        lambda table: table.add(2, 0),
        lambda table: table.add(0, 16),
        lambda table: table.set(0, 16, 1),
        lambda table: table.word(8),
        lambda table: table.swap_word(8, 0, 1),
    ],
)
def test_numbers_that_are_not_there(table, call):
    with pytest.raises(IndexError):
        call(table)


def test_memory_with_another_layout_is_refused(table, shared_file):
    again = mmap.mmap(shared_file.fileno(), 0)
    assert SharedTable(again, **NUMBERS).name("bob") == table.name("bob")
    with pytest.raises(ConfigError, match="other numbers") as caught:
        SharedTable(again, **(NUMBERS | {"words": 2}))
    assert caught.value.code == "bad_setting"


@pytest.mark.parametrize(("name", "number"), [("workers", 0), ("buckets", 0), ("gates", 1 << 60), ("words", 1 << 60)])
def test_numbers_out_of_range_are_named(name, number):
    with pytest.raises(ConfigError, match=f"^{name}: {number} is not a number from"):
        SharedTable.size(**(NUMBERS | {name: number}))


def test_buffers_that_cannot_be_used():
    size = SharedTable.size(**NUMBERS)
    with pytest.raises(ConfigError, match="takes"):
        SharedTable(bytearray(size - 8), **NUMBERS)
    with pytest.raises(BufferError):
        SharedTable(bytes(size), **NUMBERS)
    with pytest.raises(BufferError, match="multiple of 8"):
        SharedTable(np.zeros(size + 8, dtype=np.uint8)[1 : size + 1], **NUMBERS)


def test_memory_is_kept_as_long_as_the_table(shared_file):
    memory = mmap.mmap(shared_file.fileno(), 0)
    table = SharedTable(memory, **NUMBERS)
    with pytest.raises(BufferError):
        memory.close()
    del table
    memory.close()
