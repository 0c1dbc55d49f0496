"""Requests from asyncio: answers, errors, cancelling, loops that end."""

import asyncio
import pickle
import threading

import pytest

from tests.native.loopback import cut, hello, never, nonsense, serving, silent_listener
from xetway import errors
from xetway._native import Credentials, HttpClient, seal, unseal


def client(**settings):
    return HttpClient(**{"user_agent": "test/1", "retry_base_s": 0.001} | settings)


def test_an_answer_is_whole():
    async def main():
        async with serving(hello) as server:
            return await client().request("PUT", server.url + "/a?b=c", [("x-mine", "1")], b"body"), server

    answer, server = asyncio.run(main())
    assert answer == (200, [("content-length", "5"), ("x-here", "yes")], b"hello", server.url + "/a?b=c")
    assert [type(part) for part in answer] == [int, list, bytes, str]
    assert [type(part) for part in answer[1][0]] == [str, str]
    [asked] = server.asked
    assert (asked.method, asked.path, asked.body) == ("PUT", "/a?b=c", b"body")
    assert (asked.headers["x-mine"], asked.headers["user-agent"]) == ("1", "test/1")


@pytest.mark.parametrize("body", [b"", bytearray(b"x" * 70_000), memoryview(b"abcdef")[::1]], ids=["", "long", "view"])
def test_any_buffer_is_a_body(body):
    async def main():
        async with serving(hello) as server:
            await client().request("POST", server.url, body=body)
            return server.asked[0].body

    assert asyncio.run(main()) == bytes(body)


def test_any_status_is_an_answer_and_some_are_asked_again():
    statuses = [503, 429, 404]

    async def answer(_):
        return statuses.pop(0), [], b"no"

    async def main():
        http = client()
        async with serving(answer) as server:
            status, _, body, _ = await http.request("GET", server.url, attempts=3)
        return status, body, http.stats()

    status, body, stats = asyncio.run(main())
    assert (status, body) == (404, b"no")
    assert (stats["requests"], stats["retries"], stats["bytes_in"]) == (3, 2, 6)
    assert {type(count) for count in stats.values()} == {int}


def test_many_at_once():
    async def echo(asked):
        await asyncio.sleep(0)
        return 200, [], asked.body

    async def main():
        http = client()
        async with serving(echo) as server:
            bodies = [f"{number}".encode() for number in range(100)]
            answers = await asyncio.gather(*(http.request("POST", server.url, (), body) for body in bodies))
            assert [answer[2] for answer in answers] == bodies

    asyncio.run(main())


FAILURES = {
    "cut": (cut, {}, errors.TransportError, "connection_cut", 502),
    "nonsense": (nonsense, {}, errors.TransportError, "bad_answer", 502),
    "never": (never, {"timeout_s": 0.05}, errors.TransportTimeoutError, "timed_out", 504),
    "long": (hello, {"max_body_bytes": 4}, errors.TransportError, "bad_answer", 502),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_of_the_network(name):
    answer, options, kind, code, status = FAILURES[name]

    async def main():
        async with serving(answer) as server:
            with pytest.raises(errors.TransportError) as caught:
                await client().request("GET", server.url + "/?secret=1", [("authorization", "Bearer s3")], **options)
            return caught.value, server.url

    error, url = asyncio.run(main())
    assert (type(error), error.code, error.status, error.retryable) == (kind, code, status, True)
    assert error.host == url.removeprefix("http://")
    assert error.host in error.message
    assert "s3" not in repr(vars(error)) + error.message
    assert "secret=1" not in error.message
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, vars(again)) == (kind, error.args, vars(error))
    assert isinstance(error, ConnectionError)
    assert isinstance(error, TimeoutError) is (kind is errors.TransportTimeoutError)


def test_nobody_listens():
    async def main():
        with silent_listener() as (_, url):
            pass
        http = client(connect_attempts=2)
        with pytest.raises(errors.TransportError) as caught:
            await http.request("GET", url, attempts=5)
        return caught.value.code, http.stats()["requests"]

    assert asyncio.run(main()) == ("connect_failed", 2)


def test_an_answer_without_tls_is_not_trusted():
    async def plain(reader, writer):
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async def main():
        listening = await asyncio.start_server(plain, "127.0.0.1", 0)
        with pytest.raises(errors.TransportError) as caught:
            await client().request("GET", f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/")
        listening.close()
        return caught.value

    error = asyncio.run(main())
    assert (error.code, error.retryable) == ("tls_untrusted", False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("GET", "no url"),
        ("GET", "ftp://127.0.0.1/"),
        ("G ET", "http://127.0.0.1/"),
        ("GET", "http://127.0.0.1/", [("a\n", "b")]),
    ],
)
def test_requests_that_are_none(arguments):
    async def main():
        with pytest.raises(errors.ConfigError) as caught:
            await client().request(*arguments)
        return caught.value

    assert asyncio.run(main()).code == "bad_setting"


@pytest.mark.parametrize(
    "settings",
    [
        {"concurrency": 0},
        {"attempts": 0},
        {"rate_limit_bytes_s": 0},
        {"max_in_flight_bytes": 0},
        {"connect_attempts": 0},
        {"connect_timeout_s": -1.0},
        {"retry_base_s": float("nan")},
        {"ca_bundle": "/nowhere/ca.pem"},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_cannot_be_used(settings):
    with pytest.raises(errors.ConfigError) as caught:
        client(**settings)
    assert caught.value.code == "bad_setting"
    with pytest.raises(TypeError):
        HttpClient("user agent")


def test_without_a_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        client().request("GET", "http://127.0.0.1/")


def test_cancelling_ends_the_connection():
    gone = asyncio.Event()

    async def answer(asked):
        started.set()
        await asked.wait_for_disconnect()
        gone.set()

    started = asyncio.Event()

    async def main():
        async with serving(answer) as server:
            task = asyncio.create_task(wait(client().request("GET", server.url)))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await gone.wait()

    async def wait(future):
        return await future

    asyncio.run(main())


def test_cancelling_what_is_not_waited_for():
    gone = asyncio.Event()

    async def answer(asked):
        started.set()
        await asked.wait_for_disconnect()
        gone.set()

    started = asyncio.Event()

    async def main():
        async with serving(answer) as server:
            future = client().request("GET", server.url)
            await started.wait()
            assert future.cancel()
            await gone.wait()
            assert future.cancelled()

    asyncio.run(main())


def test_a_loop_that_was_closed_hears_nothing(capfd):
    http = client()
    with silent_listener() as (listener, url):
        loop = asyncio.new_event_loop()

        async def begin():
            return http.request("GET", url, attempts=1)

        future = loop.run_until_complete(begin())
        connection, _ = listener.accept()
        connection.recv(4096)
        loop.close()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    async def main():
        async with serving(hello) as server:
            return await http.request("GET", server.url)

    # What is delivered later comes after the answer that nobody heard.
    assert asyncio.run(main())[0] == 200
    assert not future.done()
    assert capfd.readouterr().err == ""


def test_each_thread_has_its_loop():
    http, results = client(), []

    async def main():
        async with serving(hello) as server:
            answers = await asyncio.gather(*(http.request("GET", server.url) for _ in range(20)))
            results.append([answer[0] for answer in answers])

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[200] * 20] * 4


def test_credentials_tell_nothing():
    fixed = Credentials.fixed("http://127.0.0.1/cas", "s3cret")
    refresh = Credentials.refresh("http://127.0.0.1/token?s3cret", [("authorization", "Bearer s3cret")])
    for credentials in (fixed, refresh):
        assert type(credentials) is Credentials
        assert repr(credentials) == str(credentials) == "Credentials([redacted])"
        with pytest.raises(TypeError):
            pickle.dumps(credentials)
        assert not [name for name in dir(credentials) if not name.startswith("_") and name not in {"fixed", "refresh"}]


def test_seal():
    key = bytes(range(32))
    sealed = seal(key, b"label", b"secret")
    assert type(sealed) is bytes
    assert b"secret" not in sealed
    assert unseal(key, b"label", bytearray(sealed)) == b"secret"
    assert unseal(key, b"other", sealed) is None
    assert unseal(bytes(32), b"label", sealed) is None
    assert unseal(key, b"label", sealed[:-1]) is None
    assert unseal(key, b"label", b"") is None
    assert seal(key, b"label", b"secret") != sealed
    for call in (lambda: seal(key[:-1], b"", b""), lambda: unseal(key + b"x", b"", b"")):
        with pytest.raises(errors.FormatError) as caught:
            call()
        assert caught.value.code == "bad_hash_length"
