"""Downloads of several files over a Hub in memory: what is fetched, how, how many at once, and what is left."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

import xetway
from tests.unit.transfer_driver import COMMIT, ENDPOINT, FakeSource, FakeWire
from xetway.errors import ConfigError, IntegrityError, NotFoundError, StateError, XetwayError
from xetway.transfer.downloads import Selection, at_once, choose, download_files
from xetway.transfer.hub_cache import HubCache
from xetway.transfer.names import parse_repo
from xetway.transfer.plain_folder import PlainFolder
from xetway.transfer.results import Observer, Outcome, Progress
from xetway.transfer.wire import Answer

REPO = parse_repo("org/model")


def contents() -> dict[str, bytes]:
    return {"config.json": b"{}", "model.bin": b"\0\1" * 100_000, "sub/empty.txt": b"", "sub/b.bin": b"b" * 70_000}


def make_wire() -> FakeWire:
    return FakeWire(contents(), xet=("model.bin", "sub/b.bin"))


async def fetch(wire: FakeWire, root: Path, selection: Selection | None = None, **options: Any) -> Outcome:
    chosen = await choose(wire.hub(), REPO, "main", selection or Selection())
    return await download_files(wire.hub(), chosen, PlainFolder(root, chosen.commit), **options)


def test_everything_arrives_without_a_request_for_each_file(tmp_path: Path) -> None:
    wire = make_wire()
    outcome = asyncio.run(fetch(wire, tmp_path))
    assert {path: (tmp_path / path).read_bytes() for path in wire.files} == wire.files
    assert {method for method, _ in wire.asked} == {"GET"}
    assert len(wire.asked) == 2, "one for the revision, one for the listing"
    assert sorted(wire.moved) == [
        ("plain", "config.json"), ("plain", "sub/empty.txt"), ("xet", "model.bin"), ("xet", "sub/b.bin"),
    ]  # fmt: skip
    assert outcome.commit == COMMIT
    assert outcome.size == sum(map(len, wire.files.values()))
    assert not list(tmp_path.rglob("*.xetway*"))


def test_a_second_run_fetches_nothing(tmp_path: Path) -> None:
    wire = make_wire()
    asyncio.run(fetch(wire, tmp_path))
    wire.moved.clear()
    outcome = asyncio.run(fetch(wire, tmp_path))
    assert not wire.moved
    assert {file.state for file in outcome.files.values()} == {"present"}
    asyncio.run(fetch(wire, tmp_path, force=True))
    assert len(wire.moved) == 4


def test_files_and_patterns(tmp_path: Path) -> None:
    wire = make_wire()
    asyncio.run(fetch(wire, tmp_path / "a", Selection(include=("*.bin",), exclude=("sub/",))))
    assert wire.moved == [("xet", "model.bin")]
    asyncio.run(fetch(wire, tmp_path / "b", Selection(paths=("config.json", "config.json"))))
    assert wire.moved[1:] == [("plain", "config.json")]
    with pytest.raises(NotFoundError) as nothing:
        asyncio.run(fetch(wire, tmp_path, Selection(include=("*.gguf",))))
    assert nothing.value.code == "no_match"
    with pytest.raises(ConfigError):
        asyncio.run(fetch(wire, tmp_path, Selection(paths=("a",), include=("b",))))


def test_listing_is_kept_only_if_all_of_it_is_there(tmp_path: Path) -> None:
    wire = make_wire()
    tree = tmp_path / ".cache" / "huggingface" / "trees" / f"{COMMIT}.json"
    asyncio.run(fetch(wire, tmp_path, Selection(include=("*.json",))))
    assert not tree.exists()
    asyncio.run(fetch(wire, tmp_path))
    assert tree.exists()


def test_no_more_files_at_once_than_asked(tmp_path: Path) -> None:
    wire = FakeWire({f"{number}.txt": bytes([number]) for number in range(20)})

    async def go() -> None:
        wire.gate = asyncio.Event()
        task = asyncio.create_task(fetch(wire, tmp_path, workers=3))
        while wire.running < 3:  # noqa: ASYNC110
            await asyncio.sleep(0)
        wire.gate.set()
        await task

    asyncio.run(go())
    assert wire.most_running == 3
    assert len(wire.moved) == 20


def test_two_paths_with_one_content_are_fetched_once_in_a_cache(tmp_path: Path) -> None:
    wire = FakeWire({"a.txt": b"same", "b/c.txt": b"same"})

    async def go() -> Outcome:
        chosen = await choose(wire.hub(), REPO, "main", Selection())
        return await download_files(wire.hub(), chosen, HubCache(tmp_path, REPO, "main", COMMIT))

    outcome = asyncio.run(go())
    assert len(wire.moved) == 1
    assert [file.path.read_bytes() for file in outcome.files.values()] == [b"same", b"same"]


def test_a_cache_takes_no_content_under_the_name_of_other_content(tmp_path: Path) -> None:
    class Liar(FakeWire):
        def entry(self, path: str) -> dict[str, Any]:
            entry = super().entry(path)
            return entry | {"lfs": entry["lfs"] | {"oid": "ab" * 32}} if path == "model.bin" else entry

    wire = Liar(contents(), xet=("model.bin", "sub/b.bin"))

    async def work() -> None:
        chosen = await choose(wire.hub(), REPO, "main", Selection())
        await download_files(wire.hub(), chosen, HubCache(tmp_path, REPO, "main", chosen.commit))

    with pytest.raises(IntegrityError, match=r"model\.bin is refused") as caught:
        asyncio.run(work())
    assert caught.value.code == "sha256_mismatch"
    names = {path.name for path in (tmp_path / "models--org--model" / "blobs").iterdir()}
    assert "ab" * 32 not in names


def test_first_failure_stops_the_rest_and_keeps_what_arrived(tmp_path: Path) -> None:
    wire = make_wire()
    wire.fail["model.bin"] = IntegrityError("no", code="file_hash_mismatch")
    with pytest.raises(IntegrityError):
        asyncio.run(fetch(wire, tmp_path, workers=1))
    assert not (tmp_path / "model.bin").exists()
    assert (tmp_path / "config.json").exists()
    assert not (tmp_path / ".cache/huggingface/trees").exists()
    wire.fail.clear()
    wire.moved.clear()
    asyncio.run(fetch(wire, tmp_path))
    assert ("plain", "config.json") not in wire.moved


def test_full_disk_is_one_error_with_the_remedy(tmp_path: Path) -> None:
    wire = make_wire()
    wire.fail["model.bin"] = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StateError) as full:
        asyncio.run(fetch(wire, tmp_path))
    assert full.value.code == "disk_full"
    assert "--local-dir" in str(full.value)


def test_cancelling_stops_all_work_before_it_returns(tmp_path: Path) -> None:
    wire = make_wire()

    async def go() -> None:
        wire.gate = asyncio.Event()
        task = asyncio.create_task(fetch(wire, tmp_path))
        while wire.running < 4:  # noqa: ASYNC110
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert wire.running == 0

    asyncio.run(go())


def test_hostile_path_writes_nothing(tmp_path: Path) -> None:
    wire = FakeWire({"good.txt": b"x", "../evil.txt": b"evil"})
    with pytest.raises(XetwayError) as refused:
        asyncio.run(fetch(wire, tmp_path / "root"))
    assert refused.value.code == "unsafe_path"
    assert not (tmp_path / "evil.txt").exists()
    assert not wire.moved


def test_observer_is_told(tmp_path: Path) -> None:
    class Notes(Observer):
        def __init__(self) -> None:
            self.said: list[Any] = []

        def planned(self, sizes: dict[str, int]) -> None:
            self.said.append(sizes)

        def progressed(self, progress: Progress) -> None:
            self.said.append(progress)

        def finished(self, path: str, size: int) -> None:
            self.said.append((path, size))

    notes = Notes()
    asyncio.run(fetch(make_wire(), tmp_path, Selection(paths=("model.bin",)), observer=notes))
    half = Progress(path="model.bin", written_bytes=100_000, received_bytes=100_000, total_bytes=200_000)
    assert notes.said == [{"model.bin": 200_000}, half, ("model.bin", 200_000)]


def test_jobs_results_keep_their_order() -> None:
    async def job(number: int) -> int:
        await asyncio.sleep(0.01 if number == 0 else 0)
        return number

    async def go() -> list[int]:
        return await at_once([lambda n=n: job(n) for n in range(10)], 4)

    assert asyncio.run(go()) == list(range(10))
    assert asyncio.run(at_once([], 4)) == []


def test_library_download_to_a_file_and_to_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", ENDPOINT)
    wire: Any = make_wire()
    seen: list[Progress] = []
    result = asyncio.run(
        xetway.download("org/model", "model.bin", to=tmp_path / "out.bin", wire=wire, progress=seen.append)
    )
    assert result.path.read_bytes() == wire.files["model.bin"]
    assert (result.size, result.received_bytes, result.resumed_bytes) == (200_000, 200_000, 0)
    assert result.hash == xetway.hash_file(result.path).hash
    assert seen[0].total_bytes == 200_000
    cached = asyncio.run(xetway.download("org/model", "model.bin", wire=wire))
    assert cached.path == tmp_path / "cache" / "models--org--model" / "snapshots" / COMMIT / "model.bin"


@pytest.mark.parametrize("path", ["model.bin", "config.json"])
def test_library_parts(tmp_path: Path, path: str) -> None:
    wire: Any = make_wire()
    whole = wire.files[path]
    result = asyncio.run(
        xetway.download("org/model", path, to=tmp_path / "part", start=1, end=2, wire=wire, endpoint=ENDPOINT)
    )
    assert result.path.read_bytes() == whole[1:2]
    assert [name.name for name in tmp_path.iterdir()] == ["part"]
    for start, end in ((len(whole), None), (5, 5), (-1, 3)):
        with pytest.raises(ConfigError) as refused:
            asyncio.run(
                xetway.download(
                    "org/model", path, to=tmp_path / "no", start=start, end=end, wire=wire, endpoint=ENDPOINT
                )
            )
        assert refused.value.code == "bad_range"


@pytest.mark.parametrize("path", ["model.bin", "config.json", "sub/empty.txt"])
@pytest.mark.parametrize("window", [(0, None), (1, None), (0, 1)])
def test_library_stream(path: str, window: tuple[int, int | None]) -> None:
    wire: Any = make_wire()
    if not wire.files[path] and window != (0, None):
        return

    async def read() -> bytes:
        stream = xetway.stream("org/model", path, start=window[0], end=window[1], wire=wire, endpoint=ENDPOINT)
        data = b"".join([piece async for piece in stream])
        assert stream.size == len(data)
        return data

    assert asyncio.run(read()) == wire.files[path][slice(*window)]


def test_leaving_a_stream_closes_it() -> None:
    wire: Any = make_wire()
    FakeSource.closed = False

    async def read() -> bytes:
        async with xetway.stream("org/model", "model.bin", wire=wire, endpoint=ENDPOINT) as pieces:
            async for piece in pieces:
                return piece
        return b""

    assert asyncio.run(read()) == wire.files["model.bin"][:1000]
    assert FakeSource.closed


def test_stream_holds_the_last_piece_of_a_plain_file_until_it_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    import xetway.transfer.streams as module

    monkeypatch.setattr(module, "RANGE_BYTES", 10)
    wire: Any = FakeWire({"notes.txt": b"0123456789abcdefghij-the end"})
    entry = wire.entry("notes.txt")
    wire.answers["/api/models/org/model/paths-info/"] = wire.json([entry])
    wire.files["notes.txt"] = b"0123456789abcdefghij-the END"
    got: list[bytes] = []

    async def read() -> None:
        async for piece in xetway.stream("org/model", "notes.txt", wire=wire, endpoint=ENDPOINT):
            got.append(piece)  # noqa: PERF401  (what came before the error counts)

    with pytest.raises(IntegrityError) as broken:
        asyncio.run(read())
    assert broken.value.code == "content_mismatch"
    assert b"".join(got) == b"0123456789abcdefghij"


def test_stream_refuses_another_range_than_asked() -> None:
    wire: Any = FakeWire({"notes.txt": b"0123456789"})
    wire.answers["/org/model/resolve/"] = Answer(206, [("content-range", "bytes 1-9/10")], b"123456789", ENDPOINT)

    async def read() -> None:
        async for _ in xetway.stream("org/model", "notes.txt", wire=wire, endpoint=ENDPOINT):
            pass

    with pytest.raises(XetwayError) as refused:
        asyncio.run(read())
    assert refused.value.code == "wrong_range"
    wire.answers["/org/model/resolve/"] = Answer(302, [("location", "/org/model/resolve/again")], b"", ENDPOINT)
    with pytest.raises(XetwayError) as refused:
        asyncio.run(read())
    assert refused.value.code == "too_many_redirects"


def test_blocking_twin_works_inside_a_running_loop(tmp_path: Path) -> None:
    wire: Any = make_wire()

    async def caller() -> int:
        return xetway.download_sync("org/model", "config.json", to=tmp_path / "c", wire=wire, endpoint=ENDPOINT).size

    assert asyncio.run(caller()) == 2
    with pytest.raises(NotFoundError) as missing:
        xetway.download_sync("org/model", "nothing", to=tmp_path / "c", wire=wire, endpoint=ENDPOINT)
    assert missing.value.code == "entry_not_found"


def test_interrupting_the_blocking_twin_stops_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import xetway.transfer.blocking as module

    wire: Any = make_wire()
    real_join = module._Runner.join

    def join(self: Any, timeout: float | None = None) -> None:
        real_join(self, 0.01 if timeout else None)
        if timeout and wire.running:
            raise KeyboardInterrupt

    monkeypatch.setattr(module._Runner, "join", join)

    class Never:
        async def wait(self) -> None:
            await asyncio.get_running_loop().create_future()

    wire.gate = Never()
    with pytest.raises(KeyboardInterrupt):
        xetway.download_sync("org/model", "model.bin", to=tmp_path / "m", wire=wire, endpoint=ENDPOINT)
    assert wire.running == 0
