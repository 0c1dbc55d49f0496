"""Requests in forks, and in interpreters that end."""

import asyncio
import os

import pytest

from tests.native.loopback import hello, never, serving
from tests.native.process import run

PRELUDE = """
import asyncio, json, os, sys
from xetway._native import HttpClient
http = HttpClient(user_agent="test/1")
async def get(url):
    return (await http.request("GET", url))[0]
url = sys.argv[1]
"""

FORK = """
first = asyncio.run(get(url))
read, write = os.pipe()
child = os.fork()
if child == 0:
    try:
        os.write(write, json.dumps([asyncio.run(get(url)), http.stats()["requests"]]).encode())
    finally:
        os._exit(0)
os.close(write)
told = b""
while piece := os.read(read, 4096):
    told += piece
os.waitpid(child, 0)
print(json.dumps([first, *json.loads(told), asyncio.run(get(url)), http.stats()["requests"]]))
"""

ENDS_WHILE_BUSY = """
async def main():
    global future
    future = http.request("GET", url)
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
print("[]")
"""

ENDS_IN_A_FORK = """
asyncio.run(get(url))
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
            http.request("GET", url)
        except RuntimeError as error:
            print(json.dumps([type(error).__name__]))
    asyncio.run(main())
atexit.register(late)
asyncio.run(get(url))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_has_connections_of_its_own():
    async def main():
        async with serving(hello) as server:
            return await run(PRELUDE + FORK, server.url), len(server.asked)

    assert asyncio.run(main()) == ([200, 200, 1, 200, 2], 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_fork_that_asks_nothing_ends_well():
    async def main():
        async with serving(hello) as server:
            return await run(PRELUDE + ENDS_IN_A_FORK, server.url)

    assert asyncio.run(main()) == [7]


@pytest.mark.parametrize("script", [ENDS_WHILE_BUSY, AFTER_THE_END], ids=["busy", "after the end"])
def test_an_interpreter_that_ends(script):
    async def main():
        async with serving(never if script is ENDS_WHILE_BUSY else hello) as server:
            return await run(PRELUDE + script, server.url)

    assert asyncio.run(main()) == ([] if script is ENDS_WHILE_BUSY else ["StateError"])
