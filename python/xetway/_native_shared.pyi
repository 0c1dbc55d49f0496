# ruff: noqa: PYI021 - the stub is where the documentation of compiled code lives
"""The part of `xetway._native` that processes of one machine share: rate limits, places, counters, words."""

from typing import final

from typing_extensions import Buffer

@final
class SharedTable:
    """Numbers in memory that several processes map, such as an `mmap` of one file. Safe to use from all of them.

    `buffer` is writable, begins as zeros, and is kept until this object is gone: an `mmap` can't be closed before.
    Nothing but tables may write to it. All processes give the same numbers: `workers` are those that count apart
    (from 0), `buckets` and `gates` how many names can be limited in rate and in concurrency at a time, `counters` how
    many each worker has, `words` are for anything else.

    Names are hashes of text, see `name`. Times are nanoseconds of `time.monotonic_ns()`. No call waits for another
    process longer than some milliseconds, and processes may be killed at any time.

    Raises:
        ConfigError: `bad_setting`: a number is out of range, the buffer is too small, or it holds a table with other
            numbers.
        BufferError: the buffer can't be written to or does not begin at a multiple of 8.

    Example:
        >>> import mmap
        >>> from xetway._native import SharedTable
        >>> numbers = {"workers": 2, "buckets": 1000, "gates": 100, "counters": 8}
        >>> table = SharedTable(mmap.mmap(-1, SharedTable.size(**numbers)), **numbers)
        >>> bob = table.name("bob")
        >>> second = 1_000_000_000
        >>> table.take(bob, 3, second, 5 * second, second)
        (True, 2, 0, 3000000000)
        >>> table.take(bob, 3, second, 5 * second, second)
        (False, 2, 1000000000, 3000000000)
        >>> table.take(bob, 3, second, 5 * second, 2 * second)
        (True, 0, 0, 5000000000)
    """

    def __new__(
        cls, buffer: Buffer, *, workers: int, buckets: int, gates: int, counters: int = 0, words: int = 0
    ) -> SharedTable: ...
    @staticmethod
    def size(*, workers: int, buckets: int, gates: int, counters: int = 0, words: int = 0) -> int:
        """Bytes of memory that such a table takes."""

    def name(self, text: str) -> int:
        """The keyed hash of a name, the same in all processes and in no other table."""

    def take(
        self, name: int, cost: int, interval_ns: int, tolerance_ns: int, now_ns: int
    ) -> tuple[bool, int, int, int]:
        """Take `cost` units from a bucket, all or none; 0 only asks.

        One unit comes back each `interval_ns`, and a full bucket has `tolerance_ns / interval_ns` of them. A name
        that is new has a full one; where there are too many names the fullest bucket of seven is forgotten.

        Returns whether they were taken, the units left, the nanoseconds until the same would be allowed (2^64 - 1:
        never), and the nanoseconds until the bucket is full.
        """

    def refund(self, name: int, cost: int, interval_ns: int, now_ns: int) -> None:
        """Give units back, up to a full bucket."""

    def charge(self, name: int, cost: int, interval_ns: int, now_ns: int) -> None:
        """Take units that were used already; the bucket may go into debt."""

    def enter(self, name: int, worker: int, limit: int, now_ns: int) -> int | None:
        """Enter the gate of a name; None if `limit` are inside already, of all workers together.

        Returns a number for `leave`, which is -1 where there is no gate left for another name: that is not limited.
        """

    def leave(self, gate: int, worker: int) -> None:
        """Leave a gate, once for each time that the same worker entered."""

    def inside(self, name: int) -> int:
        """How many are inside of a gate."""

    def release_worker(self, worker: int) -> None:
        """Let those leave who entered by a worker that ended, before another process takes its number."""

    def add(self, worker: int, counter: int, amount: int = 1) -> None:
        """Add to a counter of a worker. Raises IndexError if there is none of that number."""

    def set(self, worker: int, counter: int, value: int) -> None:
        """Set a counter of a worker, for what goes up and down. Raises IndexError if there is none of that number."""

    def totals(self) -> list[int]:
        """The counters, each summed over all workers; a few more than were asked for, which are 0."""

    def word(self, index: int) -> int:
        """A word. Raises IndexError if there is none of that number."""

    def swap_word(self, index: int, expected: int, new: int) -> bool:
        """Change a word if it is what is expected; whether it was. Raises IndexError if there is no such word."""
