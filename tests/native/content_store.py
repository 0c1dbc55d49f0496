"""A content store on loopback, as far as clients that fetch and send files need one; honest unless told otherwise."""

import asyncio
import dataclasses
import json

import msgspec

import xetway
from tests.native.loopback import serving
from tests.native.oracle import sm
from xetway._native import Credentials, HttpClient
from xetway.xet.types import Term

CHUNK_BYTES = 50_000
CONTENT = sm(5, 1_200_000)
# Long enough that its beginning is passed on before its end arrives.
LONG = CONTENT * 4


@dataclasses.dataclass
class Store:
    """One file of one xorb, what was sent, and what to do otherwise than well."""

    content: bytes
    chunk_bytes: int = CHUNK_BYTES
    sent_xorbs: dict[str, bytes] = dataclasses.field(default_factory=dict)
    sent_shards: list[bytes] = dataclasses.field(default_factory=list)
    # Content that is served under the file's and the xorb's names instead of their own.
    lie: bytes | None = None
    # Answers of the reconstruction route instead of its own: status and headers.
    refuse: tuple[int, list] | None = None
    # Bodies stop after so many bytes, until it is set.
    pause_after: int | None = None
    go_on: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    asked: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    left: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    xorb_requests: int = 0
    tokens_given: int = 0

    def __post_init__(self):
        chunks = [self.content[at : at + self.chunk_bytes] for at in range(0, len(self.content), self.chunk_bytes)]
        self.data, self.xorb = xetway.build_xorb(chunks, scheme=0)
        self.file = xetway.file_hash(self.xorb.chunks)
        self.terms = [Term(self.xorb.hash, len(self.content), 0, len(chunks))]

    def body(self):
        if self.lie is None:
            return self.data
        chunks = [self.lie[at : at + self.chunk_bytes] for at in range(0, len(self.lie), self.chunk_bytes)]
        return xetway.build_xorb(chunks, scheme=0)[0]

    async def answer(self, asked):
        """Answer one request; for `loopback.serving`."""
        host = f"http://{asked.headers['host']}"
        path = asked.path.partition("?")[0]
        if path == "/token":
            self.tokens_given += 1
            token = {"casUrl": host, "accessToken": f"t{self.tokens_given}", "exp": 4_000_000_000}
            return 200, [], json.dumps(token).encode()
        if path.startswith("/xorb/"):
            return await self.answer_xorb(asked)
        if not asked.headers.get("authorization", "").startswith("Bearer t"):
            return 401, [], b"{}"
        return self.answer_store(asked, path, host)

    def answer_store(self, asked, path, host):
        reply = 404, [("X-Request-Id", "r-404")], b'{"error": "not here"}'
        if self.refuse is not None and path.endswith(f"/reconstructions/{self.file}"):
            reply = *self.refuse, b""
        elif path == f"/v2/reconstructions/{self.file}":
            reply = self.answer_plan(asked, host)
        elif asked.method == "POST" and path.startswith("/v1/xorbs/default/"):
            self.sent_xorbs[path.rpartition("/")[2]] = asked.body
            reply = 200, [], b'{"was_inserted": true}'
        elif asked.method == "POST" and path == "/v1/shards":
            self.sent_shards.append(asked.body)
            reply = 200, [], b'{"result": 1}'
        return reply

    def answer_plan(self, asked, host):
        start, end = wanted(asked, len(self.content))
        if start >= len(self.content):
            return 416, [], b""
        plan = xetway.plan_reconstruction(self.terms, [self.xorb], start, min(end, len(self.content)))
        answer = plan.v2(lambda xorb, first, last: f"{host}/xorb/{xorb}/{first}-{last}?sig=s3cret")
        return 200, [], msgspec.json.encode(answer)

    async def answer_xorb(self, asked):
        self.xorb_requests += 1
        self.asked.set()
        body = self.body()
        start, end = wanted(asked, len(body))
        if self.pause_after is None:
            return 206, [("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")], body[start:end]
        head = f"HTTP/1.1 206 X\r\nContent-Length: {end - start}\r\nContent-Range: bytes {start}-{end - 1}/*\r\n\r\n"
        asked.writer.write(head.encode() + body[start : min(end, start + self.pause_after)])
        await asked.writer.drain()
        going, leaving = asyncio.create_task(self.go_on.wait()), asyncio.create_task(asked.wait_for_disconnect())
        try:
            await asyncio.wait({going, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                self.left.set()
                return None
            asked.writer.write(body[min(end, start + self.pause_after) : end])
            await asked.writer.drain()
        finally:
            going.cancel()
            leaving.cancel()
        return None


def wanted(asked, size):
    """The half-open range that a request asks for."""
    first, _, last = asked.headers.get("range", f"bytes=0-{size - 1}").removeprefix("bytes=").partition("-")
    return int(first), int(last) + 1


def client(**settings):
    return HttpClient(**{"user_agent": "test/1", "retry_base_s": 0.001, "attempts": 2} | settings)


def with_store(test, content=CONTENT, **settings):
    """Run `test(store, server, credentials)` with a store of `content`; returns what it returns."""

    async def main():
        store = Store(content, **settings)
        async with serving(store.answer) as server:
            return await test(store, server, Credentials.refresh(server.url + "/token", [("x", "y")]))

    return asyncio.run(main())
