"""Data to measure with, made from a seed: what compresses differently, and what is cut differently.

The same seed gives the same bytes with the same numpy; `elf` is made of the libraries of this machine.
"""

from __future__ import annotations

import sys
import sysconfig
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from xetway import _native

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Buffer

BLOCK_BYTES = 4 * 1024 * 1024
_MARK_EVERY = 4096


def _random(random: np.random.Generator) -> Iterator[Buffer]:
    while True:
        yield random.bytes(BLOCK_BYTES)


def _zeros(_: np.random.Generator) -> Iterator[Buffer]:
    while True:
        yield bytes(BLOCK_BYTES)


def _f32(random: np.random.Generator) -> Iterator[Buffer]:
    while True:
        yield _gaussian(random, BLOCK_BYTES // 4).tobytes()


def _bf16(random: np.random.Generator) -> Iterator[Buffer]:
    while True:
        words = _gaussian(random, BLOCK_BYTES // 2).view("<u4")
        yield (words >> 16).astype("<u2").tobytes()


def _gaussian(random: np.random.Generator, count: int) -> np.ndarray:
    """Values as the weights of a layer have them."""
    import numpy as np  # noqa: PLC0415 - the command line must not cost importing numpy

    return random.standard_normal(count, dtype=np.float32) * np.float32(0.02)


def _text(random: np.random.Generator) -> Iterator[Buffer]:
    import numpy as np  # noqa: PLC0415

    letters = np.frombuffer(b"eeeeetttaaaooiinnsshhrrdlcumwfgypbvk", dtype="u1")
    words = [random.choice(letters, length).tobytes() for length in random.integers(1, 10, 4096)]
    rank = random.zipf(1.3, 4 * 65_536) % len(words)
    phrases = np.array([b" ".join(words[at] for at in four) for four in rank.reshape(-1, 4)], dtype=object)
    while True:
        yield b", ".join(phrases[random.integers(0, len(phrases), BLOCK_BYTES // 16)])


def _elf(_: np.random.Generator) -> Iterator[Buffer]:
    """The compiled modules of this installation; each repetition is marked, or it would be stored only once."""
    found = sorted(Path(sysconfig.get_path("platlib")).rglob("*.so"))
    libraries = [path for path in (Path(str(_native.__file__)), Path(sys.executable), *found) if path.is_file()]
    repetition = 0
    while True:
        for path in libraries:
            data = bytearray(path.read_bytes())
            mark = repetition.to_bytes(8, "little")
            for at in range(0, len(data) - len(mark), _MARK_EVERY) if repetition else ():
                data[at : at + len(mark)] = mark
            yield data
        repetition += 1


def _compressed(random: np.random.Generator) -> Iterator[Buffer]:
    """Text in deflate streams."""
    for block in _text(random):
        yield zlib.compress(block, 1)


CORPORA: dict[str, Callable[[np.random.Generator], Iterator[Buffer]]] = {
    "random": _random,
    "zeros": _zeros,
    "text": _text,
    "bf16": _bf16,
    "f32": _f32,
    "elf": _elf,
    "compressed": _compressed,
}


def write_corpus(name: str, path: Path, size_bytes: int, seed: int = 1) -> None:
    """Write exactly `size_bytes` of the corpus `name` to `path`."""
    import numpy as np  # noqa: PLC0415

    with path.open("wb") as file:
        left = size_bytes
        for block in CORPORA[name](np.random.default_rng(seed)):
            left -= file.write(memoryview(block)[:left])
            if not left:
                break
