"""Forwarding, from Python: what arrives and what fails, and loops of all kinds."""

import asyncio
import contextlib
import pickle
import threading

import pytest

from tests.native.forwarding import send
from tests.native.loopback import cut, hello, never, nonsense, serving, silent_listener
from xetway import errors
from xetway._native import Answer, Upstream


def test_a_whole_answer():
    async def answer(asked):
        return 201, [("X-Kept", "yes"), ("Keep-Alive", "timeout=5"), ("Connection", "x-gone"), ("X-Gone", "1")], b"ok"

    async def main():
        async with serving(answer) as server:
            upstream = Upstream(f"{server.url}/base/", headers=[(b"authorization", b"Bearer s3cret")])
            headers = [
                (b"content-type", b"application/json"),
                (b"authorization", b"Bearer client"),
                (b"cookie", b"s=1"),
                (b"connection", b"x-mine"),
                (b"x-mine", b"1"),
                (b"x-request-id", b"theirs"),
            ]
            extra = [(b"x-request-id", b"ours")]
            made = await send(upstream, b'{"a":1}', b"/chat?x=1", headers, extra=extra)
            assert upstream.idle_connections == 1
            assert repr(upstream) == f"Upstream({server.url.removeprefix('http://')})"
            return made, server.asked[0], server.url

    made, asked, url = asyncio.run(main())
    assert type(made) is Answer
    assert (type(made.status), made.status) == (int, 201)
    assert made.headers == [(b"content-length", b"2"), (b"x-kept", b"yes")]
    assert {type(part) for pair in made.headers for part in pair} == {bytes}
    assert (type(made.body), made.body) == (bytes, b"ok")
    assert 0 < made.first_byte_s < 20
    assert (made.events, made.tail) == (0, b"ok")
    assert (asked.path, asked.body) == ("/base/chat?x=1", b'{"a":1}')
    assert asked.headers == {
        "content-type": "application/json",
        "x-request-id": "ours",
        "host": url.removeprefix("http://"),
        "authorization": "Bearer s3cret",
        "content-length": "7",
    }


async def reset(asked):
    asked.writer.transport.abort()


async def stall(asked):
    asked.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await never(asked)


async def boast(_):
    return 200, [("X", "x" * 70_000)], b""


LATE, BROKEN = errors.TransportTimeoutError, errors.TransportError
FAILURES = {
    "reset": (reset, {}, BROKEN, "connection_reset", 502, True),
    "never": (never, {"first_byte_timeout_s": 0.05}, LATE, "first_byte_timed_out", 504, True),
    "too late": (never, {"total_timeout_s": 0.05}, LATE, "timed_out", 504, True),
    "cut": (cut, {}, BROKEN, "connection_cut", 502, False),
    "stall": (stall, {"idle_timeout_s": 0.05}, LATE, "stalled", 504, False),
    "nonsense": (nonsense, {}, BROKEN, "bad_answer", 502, False),
    "boast": (boast, {}, BROKEN, "head_too_large", 502, False),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name):
    answer, options, kind, code, status, retryable = FAILURES[name]

    async def main():
        async with serving(answer) as server:
            upstream = Upstream(server.url, headers=[(b"authorization", b"Bearer s3cret")])
            with pytest.raises(errors.TransportError) as caught:
                await send(upstream, path=b"/?secret=1", **options)
            return caught.value, server.url

    error, url = asyncio.run(main())
    assert (type(error), error.code, error.status, error.retryable) == (kind, code, status, retryable)
    assert error.host == url.removeprefix("http://")
    assert error.host in error.message
    assert "s3cret" not in repr(vars(error)) + error.message
    assert "secret=1" not in error.message
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, vars(again)) == (kind, error.args, vars(error))


def test_failures_to_connect():
    async def main(upstream):
        with pytest.raises(errors.TransportError) as caught:
            await send(upstream)
        return type(caught.value), caught.value.code, caught.value.status, caught.value.retryable

    with silent_listener() as (_, url):
        slow = Upstream(url.replace("http:", "https:"), connect_timeout_s=0.05)
        assert asyncio.run(main(slow)) == (LATE, "connect_timed_out", 504, True)
    assert asyncio.run(main(Upstream(url))) == (BROKEN, "connect_failed", 502, True)
    assert asyncio.run(main(Upstream("http://nowhere.invalid"))) == (BROKEN, "dns_failure", 502, True)


def test_too_many_at_once():
    async def answer(asked):
        started.set()
        await never(asked)

    started = asyncio.Event()

    async def main():
        async with serving(answer) as server:
            upstream = Upstream(server.url, max_connections=1, connect_timeout_s=0.05)
            first = send(upstream)
            await started.wait()
            with pytest.raises(errors.TransportTimeoutError) as caught:
                await send(upstream)
            first.cancel()
            return caught.value

    error = asyncio.run(main())
    assert (error.code, error.status, error.retryable) == ("upstream_busy", 503, True)


def test_what_is_no_request():
    async def main():
        upstream = Upstream("http://127.0.0.1:1")
        bad = [
            {"headers": [(b"x", b"a\r\nEvil: 1")]},
            {"headers": [(b"x\r\n", b"a")]},
            {"extra": [(b"x", b"a\nb")]},
            {"extra": [(b"transfer-encoding", b"chunked")]},
            {"path": b"no slash"},
        ]
        for options in bad:
            with pytest.raises(errors.FormatError) as caught:
                send(upstream, **options)
            assert (caught.value.code, caught.value.status) == ("bad_header", 400)
        for headers in ([("x", b"a")], [b"xa"], [(b"x",)]):
            with pytest.raises((TypeError, IndexError)):
                send(upstream, headers=headers)
        with pytest.raises(errors.ConfigError):
            send(upstream, idle_timeout_s=float("nan"))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("nonsense", {}),
        ("http://user@host", {}),
        ("http://host", {"http": "3"}),
        ("http://host", {"max_connections": 0}),
        ("http://host", {"connect_timeout_s": -1.0}),
        ("https://host", {"ca_bundle": b"none"}),
    ],
)
def test_settings_that_cannot_be_used(url, settings):
    with pytest.raises(errors.ConfigError) as caught:
        Upstream(url, **settings)
    assert caught.value.code == "bad_setting"


def test_without_a_loop():
    with pytest.raises(RuntimeError, match="no running event loop"):
        send(Upstream("http://127.0.0.1:1"))


def test_five_hundred_at_once():
    async def echo(asked):
        await asyncio.sleep(0)
        return 200, [], asked.body

    async def main():
        async with serving(echo) as server:
            upstream = Upstream(server.url, max_connections=100)
            bodies = [f"{number}".encode() for number in range(500)]
            answers = await asyncio.gather(*(send(upstream, body) for body in bodies))
            assert [answer.body for answer in answers] == bodies
            assert 1 <= upstream.idle_connections <= 100

    asyncio.run(main())


def test_a_dead_connection_is_replaced():
    async def once(asked):
        asked.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await asked.writer.drain()

    async def main():
        async with serving(once) as server:
            upstream = Upstream(server.url)
            return [(await send(upstream)).body for _ in range(20)]

    assert asyncio.run(main()) == [b"ok"] * 20


def test_each_thread_has_its_loop():
    results = []

    async def main():
        async with serving(hello) as server:
            upstream = Upstream(server.url)
            answers = await asyncio.gather(*(send(upstream) for _ in range(50)))
            results.append([answer.body for answer in answers])

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[b"hello"] * 50] * 4


class Unwatching(asyncio.SelectorEventLoop):
    """Watches no files, as loops under Windows."""

    def add_reader(self, *_):
        raise NotImplementedError


def test_a_loop_that_watches_no_files():
    with silent_listener() as (listener, url):

        def serve():
            connection, _ = listener.accept()
            with connection:
                for _ in range(20):
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        async def main():
            upstream = Upstream(url)
            return [(await send(upstream)).body for _ in range(20)]

        thread = threading.Thread(target=serve)
        thread.start()
        with contextlib.closing(Unwatching()) as loop:
            assert loop.run_until_complete(main()) == [b"ok"] * 20
        thread.join()


def test_a_loop_that_was_closed_hears_nothing(capfd):
    with silent_listener() as (listener, url):
        upstream = Upstream(url)
        loop = asyncio.new_event_loop()

        async def begin():
            return send(upstream)

        future = loop.run_until_complete(begin())
        connection, _ = listener.accept()
        connection.recv(4096)
        loop.close()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.close()

    async def main():
        async with serving(hello) as server:
            return await send(Upstream(server.url))

    assert asyncio.run(main()).body == b"hello"
    assert not future.done()
    assert capfd.readouterr().err == ""
