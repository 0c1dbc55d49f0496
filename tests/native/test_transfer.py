"""Downloads and uploads from asyncio, against a small content store."""

import asyncio
import hashlib
import sys

import pytest

import xetway
from tests.native.content_store import CONTENT, LONG, client, with_store
from tests.native.loopback import serving
from xetway import Hash, StateError, errors
from xetway._native import (
    Uploader,
    download_file,
    download_plain,
)


def left_beside(path):
    return sorted(item.name for item in path.parent.iterdir())


def test_a_file(tmp_path):
    path = tmp_path / "file"

    async def test(store, server, credentials):
        http, told = client(), []
        future = download_file(http, store.file, path, credentials, progress=lambda *numbers: told.append(numbers))
        assert asyncio.isfuture(future)
        sizes = await future
        assert path.read_bytes() == CONTENT
        assert [type(size) for size in sizes] == [int] * 3
        assert (sizes[0], sizes[2]) == (len(CONTENT), 0)
        assert sizes[1] >= len(CONTENT)
        assert told == sorted(told)
        assert told[-1] == (len(CONTENT), sizes[1], len(CONTENT))
        await download_file(http, store.file, str(path), credentials, size=len(CONTENT))
        assert store.tokens_given == 1

    with_store(test)
    assert left_beside(path) == ["file"]


def test_a_part_of_a_file(tmp_path):
    path = tmp_path / "part"

    async def test(store, _, credentials):
        await download_file(client(), store.file, path, credentials, start=70_000, end=170_001)
        assert path.read_bytes() == CONTENT[70_000:170_001]
        await download_file(client(), store.file, path, credentials, start=len(CONTENT) - 5)
        assert path.read_bytes() == CONTENT[-5:]

    with_store(test)


@pytest.mark.parametrize(
    ("refuse", "kind", "code", "status", "remote"),
    [
        ((404, [("X-Request-Id", "r1")]), errors.RemoteError, "upstream_status", 404, 404),
        ((403, [("X-Error-Code", "GatedRepo")]), errors.RemoteError, "upstream_status", 403, 403),
        ((400, []), errors.RemoteError, "upstream_status", 502, 400),
        ((500, []), errors.RemoteError, "upstream_status", 502, 500),
        ((429, [("Retry-After", "0")]), errors.RateLimitedError, "rate_limited", 429, 429),
    ],
)
def test_refusals(tmp_path, refuse, kind, code, status, remote):
    async def test(store, server, credentials):
        with pytest.raises(errors.RemoteError) as caught:
            await download_file(client(), store.file, tmp_path / "file", credentials)
        return caught.value, server.url

    error, url = with_store(test, refuse=refuse)
    assert (type(error), error.code, error.status, error.remote_status) == (kind, code, status, remote)
    assert error.retryable is (remote in {429, 500})
    assert error.message.startswith(url.removeprefix("http://"))
    extra = dict(refuse[1])
    assert (error.request_id, error.hub_code) == (extra.get("X-Request-Id"), extra.get("X-Error-Code"))
    if kind is errors.RateLimitedError:
        assert error.retry_after_s == 0
    assert list(tmp_path.iterdir()) == []


def test_content_that_is_not_the_files(tmp_path):
    async def test(store, _, credentials):
        with pytest.raises(errors.UpstreamIntegrityError) as caught:
            await download_file(client(), store.file, tmp_path / "file", credentials)
        return store, caught.value

    store, error = with_store(test, lie=CONTENT[:-1] + b"?")
    assert (error.code, error.status, error.expected) == ("upstream_integrity", 502, str(store.file))
    assert isinstance(error, errors.IntegrityError)
    assert error.actual not in {None, error.expected}
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_no_chunks(tmp_path):
    async def test(store, _, credentials):
        store.data = bytes([9]) + store.data[1:]
        with pytest.raises(errors.FormatError) as caught:
            await download_file(client(), store.file, tmp_path / "file", credentials)
        return caught.value

    error = with_store(test)
    assert (error.code, error.status) == ("chunk_version", 502)


def test_where_nothing_can_be_written(tmp_path):
    async def test(store, _, credentials):
        with pytest.raises(OSError) as caught:
            await download_file(client(), store.file, tmp_path / "no" / "such" / "folder", credentials)
        return caught.value

    error = with_store(test)
    assert error.errno
    assert str(tmp_path) not in str(error)


def test_cancelling_a_download_stops_it_and_the_next_goes_on(tmp_path):
    path = tmp_path / "file"

    async def test(store, _, credentials):
        written = asyncio.Event()
        http = client(stall_window_s=1000.0)

        def progress(written_bytes, *_):
            # What was written before the last that is told has been noted, too.
            if written_bytes >= 2_000_000:
                written.set()

        task = asyncio.ensure_future(download_file(http, store.file, path, credentials, progress=progress))
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await store.left.wait()
        assert not path.exists()
        store.pause_after = None
        size, received, resumed = await download_file(http, store.file, path, credentials)
        assert (size, path.read_bytes()) == (len(LONG), LONG)
        assert 0 < resumed < len(LONG)
        assert received < len(LONG)

    with_store(test, LONG, pause_after=4_000_000)


def test_a_progress_function_that_raises(tmp_path):
    async def test(store, _, credentials):
        problems = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context["exception"]))

        def progress(*_):
            raise ValueError("from progress")

        await download_file(client(), store.file, tmp_path / "file", credentials, progress=progress)
        assert (tmp_path / "file").read_bytes() == CONTENT
        return problems

    problems = with_store(test)
    assert {(type(problem), str(problem)) for problem in problems} == {(ValueError, "from progress")}


def test_progress_comes_now_and_then(tmp_path):
    async def test(store, _, credentials):
        told = []
        loop = asyncio.get_running_loop()
        began = loop.time()
        await download_file(
            client(), store.file, tmp_path / "file", credentials, progress=lambda *_: told.append(loop.time())
        )
        return len(told), loop.time() - began

    calls, seconds = with_store(test, chunk_bytes=1000)
    assert 1 <= calls <= seconds * 20 + 2


def test_an_upload(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(CONTENT)
    two.write_bytes(CONTENT[:700_000])

    async def test(store, _, credentials):
        uploader, told = Uploader(client(), credentials), []
        added = await uploader.add_file(one, progress=lambda *numbers: told.append(numbers))
        assert added == (Hash(xetway.hash_file(one).hash), len(CONTENT), hashlib.sha256(CONTENT).digest())
        assert [type(part) for part in added] == [Hash, int, bytes]
        assert told[-1][0] == told[-1][2] == len(CONTENT)
        assert (await uploader.add_file(str(two)))[1] == 700_000
        new, known, xorbs = await uploader.finish()
        assert (new, xorbs) == (len(CONTENT) + (700_000 - known), len(store.sent_xorbs))
        assert known > 500_000
        for name, data in store.sent_xorbs.items():
            assert str(xetway.read_xorb(data).hash) == name
        [shard] = store.sent_shards
        named = {str(file.hash) for file in xetway.read_shard(shard).files}
        assert named == {xetway.hash_file(one).hash, xetway.hash_file(two).hash}
        for call in (uploader.finish, lambda: uploader.add_file(one)):
            with pytest.raises(StateError):
                call()

    with_store(test)


def test_one_upload_call_at_a_time(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(CONTENT)

    async def test(_, __, credentials):
        uploader = Uploader(client(), credentials)
        adding = uploader.add_file(path)
        with pytest.raises(StateError, match="one call at a time"):
            uploader.finish()
        await adding
        assert (await uploader.finish())[0] == len(CONTENT)

    with_store(test)


def test_an_upload_that_failed_is_over(tmp_path):
    async def test(_, __, credentials):
        uploader = Uploader(client(), credentials)
        with pytest.raises(FileNotFoundError):
            await uploader.add_file(tmp_path / "nothing")
        with pytest.raises(StateError):
            uploader.finish()

    with_store(test)


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest()


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("sha256", hashlib.sha256(CONTENT).digest()), ("git-sha1", git_sha1(CONTENT)), (None, None)],
)
def test_a_plain_file(tmp_path, algorithm, digest):
    path = tmp_path / "plain"

    async def answer(asked):
        assert asked.headers["authorization"] == "Bearer x"
        return 200, [], CONTENT

    async def main():
        told = []
        async with serving(answer) as server:
            sizes = await download_plain(
                client(),
                server.url + "/f",
                [("authorization", "Bearer x")],
                path,
                size=len(CONTENT),
                algorithm=algorithm,
                digest=digest,
                progress=lambda *numbers: told.append(numbers),
            )
        assert sizes == (len(CONTENT), len(CONTENT), 0)
        assert told[-1][0] == len(CONTENT)

    asyncio.run(main())
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("algorithm", "digest", "kind", "code"),
    [
        ("sha256", bytes(32), errors.UpstreamIntegrityError, "upstream_integrity"),
        ("git-sha1", bytes(20), errors.UpstreamIntegrityError, "upstream_integrity"),
        ("sha256", bytes(20), errors.FormatError, "bad_digest"),
        ("md5", bytes(16), errors.FormatError, "bad_digest"),
        ("sha256", None, errors.ConfigError, "bad_setting"),
    ],
)
def test_a_plain_file_that_is_not_proven(tmp_path, algorithm, digest, kind, code):
    async def answer(_):
        return 200, [], CONTENT

    async def main():
        async with serving(answer) as server:
            with pytest.raises(errors.XetwayError) as caught:
                await download_plain(
                    client(), server.url, [], tmp_path / "f", size=None, algorithm=algorithm, digest=digest
                )
        return caught.value

    error = asyncio.run(main())
    assert (type(error), error.code) == (kind, code)
    assert list(tmp_path.iterdir()) == []


FORK = """
import asyncio, os, sys
from xetway._native import Credentials, Hash, HttpClient, download_file
http = HttpClient(user_agent="test/1", attempts=2)
credentials = Credentials.refresh(sys.argv[1] + "/token", [])
async def get(name):
    await download_file(http, Hash(sys.argv[2]), sys.argv[3] + name, credentials)
asyncio.run(get("parent"))
child = os.fork()
if child == 0:
    asyncio.run(get("child"))
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(get("again"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no fork")
def test_a_fork_transfers_by_itself(tmp_path):
    async def test(store, server, _):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-c", FORK, server.url, str(store.file), f"{tmp_path}/"
        )
        assert await process.wait() == 0
        assert [(tmp_path / name).read_bytes() == CONTENT for name in ("parent", "child", "again")] == [True] * 3
        assert store.tokens_given == 2

    with_store(test)
