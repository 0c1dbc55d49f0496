"""The mirror through its Python face: what it returns, what it raises, what it holds. Its rules are tested in Rust."""

import asyncio
import hashlib
import subprocess
import sys

import pytest

from tests.native.content_store import Store
from tests.native.loopback import serving
from tests.native.oracle import sm
from xetway import Hash, StateError, errors
from xetway._native import ByteStream, Credentials, HttpClient, Mirror
from xetway.xet.plan import read_plan

CONTENT = sm(6, 1_200_000)


def open_mirror(root, **limits):
    http = HttpClient(user_agent="test/1", retry_base_s=0.001, attempts=2)
    return Mirror(http, root, **{"min_free_bytes": 0} | limits)


def with_mirror(root, test, **settings):
    """Run `test(mirror, store, credentials)`; returns what it returns."""

    async def main():
        store = Store(CONTENT, **settings)
        async with serving(store.answer) as server:
            mirror = open_mirror(root)
            try:
                return await test(mirror, store, Credentials.refresh(server.url + "/token", []))
            finally:
                mirror.close()

    return asyncio.run(main())


async def drain(stream):
    read = b""
    while piece := await stream.read():
        assert type(piece) is bytes
        read += piece
    return read


def test_a_plan_and_its_bytes(tmp_path):
    async def test(mirror, store, credentials):
        planned = await mirror.plan(store.file, None, 0, None, credentials)
        size, generation, *parts = planned
        assert (size, type(generation)) == (len(CONTENT), int)
        plan = read_plan(tuple(parts))
        assert plan.offset_bytes == 0
        assert sum(term.raw_bytes for term in plan.terms) == size
        [fetch] = plan.fetches
        assert type(fetch.xorb) is Hash
        read = b""
        for part in fetch.ranges:
            stream = await mirror.open_xorb(store.file, generation, fetch.xorb, part.start, part.end, None)
            assert type(stream) is ByteStream
            assert stream.remaining == part.end - part.start
            read += await drain(stream)
        assert read == store.data[: store.xorb.stored_bytes]
        assert mirror.known(store.file) == (size, size, True)
        assert await mirror.plan(store.file, None, size, None, credentials) is None
        part = await mirror.plan(store.file, None, 60_000, 60_001, credentials)
        assert (part[0], part[2], len(part[3])) == (size, 10_000, 1)
        again = await mirror.open_xorb(store.file, generation, fetch.xorb, 0, store.xorb.stored_bytes, "session")
        assert again.proven is True
        assert await drain(again) == read
        stats = mirror.stats()
        assert {type(value) for value in stats.values()} == {int}
        assert stats["served_bytes"] == 2 * len(read)
        assert stats["proven_files"] == 1
        assert stats["cache_bytes"] > 0

    with_mirror(tmp_path, test)


def test_content_of_a_file_fetched_once(tmp_path):
    async def test(mirror, store, credentials):
        size = len(CONTENT)
        assert mirror.known(store.file) is None
        streams = await asyncio.gather(
            *(mirror.open_file(store.file, len(CONTENT), 0, size, credentials) for _ in range(4))
        )
        assert await asyncio.gather(*(drain(stream) for stream in streams)) == [CONTENT] * 4
        assert store.xorb_requests == 1
        part = await mirror.open_file(store.file, len(CONTENT), 100_000, 100_010, None)
        assert (part.proven, await drain(part)) == (True, CONTENT[100_000:100_010])
        assert store.xorb_requests == 1

    with_mirror(tmp_path, test)


def test_damage_on_disk_is_mended_counted_and_told(tmp_path):
    async def test(mirror, store, credentials):
        await mirror.prefetch(store.file, len(CONTENT), credentials)
        assert (mirror.stats()["cache_damaged"], mirror.take_damage()) == (0, [])
        [data] = tmp_path.rglob("*.data")
        held = bytearray(data.read_bytes())
        held[100_000] ^= 1
        data.write_bytes(held)
        assert await drain(await mirror.open_file(store.file, len(CONTENT), 0, len(CONTENT), credentials)) == CONTENT
        [told] = mirror.take_damage()
        assert told.endswith(f" of xorb {data.stem}")
        assert type(told) is str
        assert (mirror.stats()["cache_damaged"], mirror.take_damage()) == (1, [])

    with_mirror(tmp_path, test)


def test_what_is_held_survives_and_needs_nobody(tmp_path):
    async def fetch(mirror, store, credentials):
        told = []
        await mirror.prefetch(store.file, len(CONTENT), credentials, progress=lambda *numbers: told.append(numbers))
        assert told[-1] == (len(CONTENT), len(CONTENT))
        assert await mirror.prefetch(store.file, len(CONTENT), None) is None
        return store.file

    file = with_mirror(tmp_path, fetch)

    async def later(mirror, store, _):
        stream = await mirror.open_file(file, len(CONTENT), 0, len(CONTENT), None)
        assert await drain(stream) == CONTENT
        planned = await mirror.plan(file, None, 0, None, None)
        assert planned[0] == len(CONTENT)
        assert (store.xorb_requests, store.tokens_given) == (0, 0)

    with_mirror(tmp_path, later)


async def plan_without(mirror, store, _):
    await mirror.plan(store.file, None, 0, None, None)


async def open_without(mirror, store, _):
    await drain(await mirror.open_file(store.file, len(CONTENT), 0, 10, None))


async def plain_without(mirror, *_):
    await drain(await mirror.open_plain("sha256", bytes(32), 10, 0, 10, None))


async def forgotten(mirror, store, _):
    await drain(await mirror.open_xorb(store.file, 1, store.xorb.hash, 0, 100, None))


async def refused(mirror, _, credentials):
    await mirror.plan(Hash("ab" * 32), None, 0, None, credentials)


async def outside(mirror, store, credentials):
    await drain(await mirror.open_file(store.file, len(CONTENT), 5, len(CONTENT) + 1, credentials))


async def cut_off(mirror, store, credentials):
    await drain(await mirror.open_file(store.file, len(CONTENT) - 1, 0, len(CONTENT) - 1, credentials))


async def planned_longer(mirror, store, credentials):
    await mirror.plan(store.file, len(CONTENT) + 1, 0, None, credentials)


async def held_longer(mirror, store, credentials):
    await mirror.prefetch(store.file, len(CONTENT) + 1, credentials)


@pytest.mark.parametrize(
    ("call", "kind", "code", "status"),
    [
        (plan_without, errors.NotCachedError, "not_cached", 504),
        (open_without, errors.NotCachedError, "not_cached", 504),
        (plain_without, errors.NotCachedError, "not_cached", 504),
        (forgotten, errors.PlanLostError, "plan_lost", 403),
        (refused, errors.RemoteError, "upstream_status", 404),
        (outside, errors.FormatError, "range_outside", 400),
        (cut_off, errors.UpstreamIntegrityError, "upstream_integrity", 502),
        (planned_longer, errors.UpstreamIntegrityError, "upstream_integrity", 502),
        (held_longer, errors.UpstreamIntegrityError, "upstream_integrity", 502),
    ],
)
def test_refusals(tmp_path, call, kind, code, status):
    async def test(*parts):
        with pytest.raises(errors.XetwayError) as caught:
            await call(*parts)
        return caught.value

    error = with_mirror(tmp_path, test)
    assert (type(error), error.code, error.status) == (kind, code, status)


def test_content_that_is_not_the_files(tmp_path):
    async def test(mirror, store, credentials):
        read = b""
        with pytest.raises(errors.XetwayError) as caught:
            stream = await mirror.open_file(store.file, len(CONTENT), 0, len(CONTENT), credentials)
            while piece := await stream.read():
                read += piece
        assert len(read) < len(CONTENT)
        assert (mirror.known(store.file) or (0, 0, False))[2] is False
        return caught.value

    error = with_mirror(tmp_path, test, lie=CONTENT[:-1] + b"?")
    assert isinstance(error, errors.UpstreamIntegrityError | errors.ContentChangedError)
    assert error.code in {"upstream_integrity", "mirror_content_changed"}
    assert error.status in {502, 410}


def test_a_plain_file(tmp_path):
    digest = hashlib.sha256(CONTENT).digest()
    asked = []

    async def answer(request):
        asked.append(request.headers.get("authorization"))
        return 200, [], CONTENT

    async def main():
        mirror = open_mirror(tmp_path)
        told = []
        async with serving(answer) as server:
            headers = [("authorization", "Bearer x")]
            assert mirror.known_plain("sha256", digest, len(CONTENT)) == (0, False)
            await mirror.prefetch_plain(
                "sha256", digest, len(CONTENT), server.url, headers, lambda *numbers: told.append(numbers)
            )
        assert asked == ["Bearer x"]
        assert told[-1] == (len(CONTENT), len(CONTENT))
        assert mirror.known_plain("sha256", bytearray(digest), len(CONTENT)) == (len(CONTENT), True)
        stream = await mirror.open_plain("sha256", digest, len(CONTENT), 7, 1007, None)
        assert (stream.remaining, stream.proven) == (1000, True)
        assert await drain(stream) == CONTENT[7:1007]
        for algorithm, bad in [("sha256", digest[1:]), ("git-sha1", digest), ("md5", digest[:16])]:
            with pytest.raises(errors.FormatError) as caught:
                mirror.known_plain(algorithm, bad, 1)
            assert caught.value.code == "bad_digest"
        mirror.close()

    asyncio.run(main())


def test_one_server_for_a_folder(tmp_path):
    mirror = open_mirror(tmp_path)
    with pytest.raises(errors.ConfigError) as caught:
        open_mirror(tmp_path)
    assert caught.value.code == "cache_in_use"
    mirror.close()
    mirror.close()
    open_mirror(tmp_path).close()
    with pytest.raises(StateError, match="closed"):
        mirror.stats()


def test_a_forgotten_mirror_lets_go(tmp_path):
    for _ in range(2):
        open_mirror(tmp_path)


FORK = """
import os, sys
from xetway._native import Hash, HttpClient, Mirror
mirror = Mirror(HttpClient(user_agent="test/1"), sys.argv[1], min_free_bytes=0)
child = os.fork()
if child == 0:
    try:
        mirror.known(Hash.ZERO)
    except RuntimeError as error:
        print(error.code)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
assert mirror.known(Hash("ab" * 32)) is None
mirror.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no fork")
def test_a_fork_has_no_mirror(tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr, answer.stdout) == (0, "", "bad_state\n")


def test_a_folder_without_room(tmp_path):
    async def main():
        store = Store(CONTENT)
        async with serving(store.answer) as server:
            mirror = open_mirror(tmp_path, max_bytes=100_000)
            with pytest.raises(errors.StorageFullError) as caught:
                await mirror.prefetch(store.file, len(CONTENT), Credentials.refresh(server.url + "/token", []))
            mirror.close()
        return caught.value

    error = asyncio.run(main())
    assert (error.code, error.status) == ("storage_full", 507)
    assert str(tmp_path) not in error.message


def test_what_nobody_waits_for_any_more_is_not_fetched(tmp_path):
    async def test(mirror, store, credentials):
        async def read():
            return await drain(await mirror.open_file(store.file, len(CONTENT), 0, len(CONTENT), credentials))

        reading = asyncio.ensure_future(read())
        await store.asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        mirror.close()
        # Not at once: another reader may come and want the same.
        await store.left.wait()

    with_mirror(tmp_path, test, pause_after=200_000)
