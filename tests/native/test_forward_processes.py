"""Forwarding in forks, and in interpreters that end."""

import asyncio
import os

import pytest

from tests.native.loopback import hello, never, serving
from tests.native.process import run

PRELUDE = """
import asyncio, json, os, sys
from xetway._native import Forwarder, Upstream
url = sys.argv[1]
upstream = Upstream(url)
def send():
    times = {"first_byte_timeout_s": 20.0, "idle_timeout_s": 20.0, "total_timeout_s": 20.0}
    return Forwarder().send(upstream, "GET", b"/", [], b"", **times)
async def get():
    answer = await send()
    return (answer.body or await answer.read()).decode()
"""

FORK = """
first = asyncio.run(get())
read, write = os.pipe()
child = os.fork()
if child == 0:
    try:
        os.write(write, json.dumps([asyncio.run(get()) for _ in range(3)]).encode())
    finally:
        os._exit(0)
os.close(write)
told = b""
while piece := os.read(read, 4096):
    told += piece
os.waitpid(child, 0)
print(json.dumps([first, *json.loads(told), asyncio.run(get()), upstream.idle_connections]))
"""

FORK_OF_A_STREAM = """
async def main():
    answer = await send()
    assert (await answer.read()) == b"part"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            answer.read()
        except RuntimeError as error:
            code = 7
        del answer
        os._exit(code)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]))
asyncio.run(main())
"""

ENDS_WHILE_BUSY = """
async def main():
    global futures
    futures = [send() for _ in range(20)]
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print("[]")
"""

ENDS_WITH_A_STREAM = """
async def main():
    global answer, reading
    answer = await send()
    assert (await answer.read()) == b"part"
    reading = answer.read()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print("[]")
"""

ENDS_IN_A_FORK = """
asyncio.run(get())
child = os.fork()
if child == 0:
    sys.exit(7)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]))
"""

AFTER_THE_END = """
import atexit
def late():
    async def main():
        try:
            send()
        except RuntimeError as error:
            print(json.dumps([type(error).__name__]))
    asyncio.run(main())
atexit.register(late)
asyncio.run(get())
"""

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")


async def part(asked):
    asked.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
    await never(asked)


@pytest.mark.parametrize(
    ("script", "answer", "told"),
    [
        pytest.param(FORK, hello, ["hello"] * 5 + [1], marks=forks, id="fork"),
        pytest.param(FORK_OF_A_STREAM, part, [7], marks=forks, id="fork of a stream"),
        pytest.param(ENDS_IN_A_FORK, hello, [7], marks=forks, id="end of a fork"),
        pytest.param(ENDS_WHILE_BUSY, never, [], id="busy"),
        pytest.param(ENDS_WITH_A_STREAM, part, [], id="stream"),
        pytest.param(AFTER_THE_END, hello, ["StateError"], id="after the end"),
    ],
)
def test_a_process_of_its_own(script, answer, told):
    async def main():
        async with serving(answer) as server:
            return await run(PRELUDE + script, server.url)

    assert asyncio.run(main()) == told
