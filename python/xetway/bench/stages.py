"""The stages that are measured, each on any number of threads at the same time.

`InMemory` works on windows of the file, reading it between the timed parts; `InFiles` on the file and a store.
The first pass over both checks every answer against another way to get it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

from xetway import _native
from xetway.bench.source import Crew, Source, split
from xetway.bench.timing import Sample, Stopwatch
from xetway.errors import IntegrityError
from xetway.xet import Hash, Scheme, ShardFile, Store, choose_scheme, compress, decompress

MEMORY_STAGES = ("chunk", "compress", "decompress")
FILE_STAGES = ("hash", "publish", "reconstruct")
STAGES = ("chunk", "hash", "compress", "decompress", "publish", "reconstruct")
_UNEVEN_BYTES = 1_000_003

Payload = tuple[bytes, Scheme, int]


class InMemory:
    """Chunk boundaries, compression and decompression of what is in memory."""

    def __init__(self, source: Source, stages: Collection[str]) -> None:
        self._source = source
        self._stages = [stage for stage in MEMORY_STAGES if stage in stages]
        self.stored_bytes = 0

    def run(self, crew: Crew, *, check: bool) -> dict[str, Sample]:
        """Measure the stages once over the whole file."""
        watches = {stage: Stopwatch() for stage in MEMORY_STAGES}
        self.stored_bytes = 0
        for window in self._source.windows() if self._stages else ():
            if "chunk" in self._stages:
                self._chunk(window, crew, watches["chunk"], check=check)
            if self._stages != ["chunk"]:
                self._code(window, crew, watches["compress"], watches["decompress"], check=check)
        return {stage: watches[stage].sample() for stage in self._stages}

    def _chunk(self, window: memoryview, crew: Crew, watch: Stopwatch, *, check: bool) -> None:
        parts = [window[start:end] for start, end in split(len(window), crew.threads)]
        with watch:
            found = crew.map(_native.chunk_boundaries, parts)
        watch.count(len(window))
        if check:
            _must_be_equal("chunk", found, [_boundaries_in_pieces(part) for part in parts])

    def _code(
        self, window: memoryview, crew: Crew, compressing: Stopwatch, decompressing: Stopwatch, *, check: bool
    ) -> None:
        chunks, at = [], 0
        for _, length in _native.hash_chunks(window):
            chunks.append(window[at : at + length])
            at += length
        groups = [chunks[start:end] for start, end in split(len(chunks), crew.threads)]
        with compressing:
            packed = crew.map(_compress_all, groups)
        compressing.count(len(window))
        self.stored_bytes += sum(min(len(payload), size) for group in packed for payload, _, size in group)
        if "decompress" not in self._stages and not check:
            return
        with decompressing:
            plain = crew.map(_decompress_all, packed)
        decompressing.count(len(window))
        if check:
            _must_be_equal("decompress", [part for group in plain for part in group], chunks)


class InFiles:
    """The hash of the file, its way into a store, and back out of it; divided where several threads are at work."""

    def __init__(self, source: Source, stages: Collection[str], folder: Path) -> None:
        self._source = source
        self._stages = [stage for stage in FILE_STAGES if stage in stages]
        self._folder = folder

    def run(self, crew: Crew, *, check: bool) -> dict[str, Sample]:
        """Measure the stages once over the whole file."""
        watches = {stage: Stopwatch() for stage in self._stages}
        if self._stages:
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                place = Path(name)
                parts = self._source.divide(crew.threads, place)
                expected = [_hash_in_pieces(part) for part in parts] if check else None
                if "hash" in watches:
                    _hash(parts, crew, watches["hash"], expected)
                if "publish" in watches or "reconstruct" in watches:
                    publishing, rebuilding = (watches.get(stage) for stage in ("publish", "reconstruct"))
                    store = Store(place / "store")
                    stored = _publish(store, parts, crew, publishing or Stopwatch(), expected)
                    if rebuilding is not None:
                        _reconstruct(store, stored, parts, place, crew, rebuilding, check=check)
        for watch in watches.values():
            watch.count(self._source.size)
        return {stage: watch.sample() for stage, watch in watches.items()}


def _hash(parts: Sequence[Source], crew: Crew, watch: Stopwatch, expected: list[Hash] | None) -> None:
    with watch:
        found = crew.map(_native.hash_file, [part.path for part in parts])
    if expected is not None:
        _must_be_equal("hash", found, [(file, part.size) for file, part in zip(expected, parts, strict=True)])


def _publish(
    store: Store, parts: Sequence[Source], crew: Crew, watch: Stopwatch, expected: list[Hash] | None
) -> list[ShardFile]:
    with watch:
        stored = crew.map(lambda part: store.publish(part.path), parts)
    if expected is not None:
        _must_be_equal("publish", [file.hash for file in stored], expected)
    return stored


def _reconstruct(
    store: Store,
    stored: Sequence[ShardFile],
    parts: Sequence[Source],
    place: Path,
    crew: Crew,
    watch: Stopwatch,
    *,
    check: bool,
) -> None:
    targets = [place / f"rebuilt-{number}" for number in range(len(parts))]
    with watch:
        crew.map(lambda job: store.reconstruct(*job), list(zip(stored, targets, strict=True)))
    for part, target in zip(parts, targets, strict=True) if check else ():
        _must_be_the_same_bytes(part, target)


def _boundaries_in_pieces(data: memoryview) -> bytes:
    chunker = _native.Chunker()
    pieces = (data[at : at + _UNEVEN_BYTES] for at in range(0, len(data), _UNEVEN_BYTES))
    return b"".join(chunker.update(piece) for piece in pieces) + chunker.finish()


def _hash_in_pieces(source: Source) -> Hash:
    """The hash of the file, from chunks that were each cut and hashed by a call of their own."""
    chunks: list[tuple[Hash, int]] = []
    chunker, kept, done = _native.Chunker(), bytearray(), 0
    for piece in source.windows(_UNEVEN_BYTES):
        kept += piece
        done = _take(chunker.update(piece), kept, done, chunks)
    _take(chunker.finish(), kept, done, chunks)
    return _native.file_hash(chunks)


def _take(ends: bytes, kept: bytearray, done: int, chunks: list[tuple[Hash, int]]) -> int:
    for at in range(0, len(ends), 8):
        length = int.from_bytes(ends[at : at + 8], "little") - done
        chunks.append((_native.chunk_hash(kept[:length]), length))
        del kept[:length]
        done += length
    return done


def _compress_all(chunks: Sequence[memoryview]) -> list[Payload]:
    packed = []
    for chunk in chunks:
        scheme = choose_scheme(chunk)
        packed.append((compress(chunk, scheme), scheme, len(chunk)))
    return packed


def _decompress_all(packed: Sequence[Payload]) -> list[bytes]:
    return [decompress(payload, scheme, size) for payload, scheme, size in packed]


def _must_be_the_same_bytes(source: Source, target: Path) -> None:
    rebuilt = Source(source.name, target, target.stat().st_size)
    _must_be_equal("reconstruct", rebuilt.size, source.size)
    for one, other in zip(source.windows(), rebuilt.windows(), strict=True):
        _must_be_equal("reconstruct", one, other)


def _must_be_equal(stage: str, found: object, expected: object) -> None:
    if found != expected:
        raise IntegrityError(f"{stage} gave another answer than expected; nothing is timed", code="bench_check")
