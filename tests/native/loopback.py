"""A small HTTP server on loopback, for tests that need one that behaves, or misbehaves, as they say."""

import asyncio
import contextlib
import dataclasses
import socket


@dataclasses.dataclass
class Asked:
    """A request, and the connection for answers that are no answers."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def wait_for_disconnect(self):
        await self.reader.read()


@dataclasses.dataclass
class Server:
    url: str
    asked: list[Asked] = dataclasses.field(default_factory=list)


@contextlib.asynccontextmanager
async def serving(answer):
    """Serve with `await answer(asked)`: (status, headers, body), or None where it wrote to the connection itself."""
    open_tasks = set()

    async def connected(reader, writer):
        task = asyncio.current_task()
        open_tasks.add(task)
        try:
            await converse(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            open_tasks.discard(task)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def converse(reader, writer):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:-2])}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            asked = Asked(method, path, headers, body, reader, writer)
            server.asked.append(asked)
            reply = await answer(asked)
            if reply is None:
                return
            status, extra, content = reply
            lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", *(f"{k}: {v}" for k, v in extra)]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else content))
            await writer.drain()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server = Server(f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    try:
        yield server
    finally:
        listening.close()
        for task in list(open_tasks):
            task.cancel()
        if open_tasks:
            await asyncio.wait(open_tasks)


@contextlib.contextmanager
def silent_listener():
    """A port that takes connections and never answers; gives the socket and its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def hello(_):
    return 200, [("X-Here", "yes")], b"hello"


async def never(asked):
    await asked.wait_for_disconnect()


async def cut(asked):
    asked.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    await asked.writer.drain()


async def nonsense(asked):
    asked.writer.write(b"SSH-2.0-nonsense\r\n\r\n")
    await asked.writer.drain()
