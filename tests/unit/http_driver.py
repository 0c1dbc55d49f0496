"""Drives an ASGI application in memory: one request, the messages it sent, its answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xetway.http.app import Application
from xetway.http.request import Request
from xetway.http.router import Route, Router


def scope(method: str = "GET", target: str = "/", headers: Iterable[tuple[str, str]] = ()) -> dict[str, Any]:
    """The scope of a request, as Granian makes it."""
    path, _, query = target.partition("?")
    named = list(headers)
    if "host" not in dict(named):
        named.insert(0, ("host", "hub.test"))
    return {
        "type": "http",
        "method": method,
        "scheme": "http",
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named],
        "client": ("127.0.0.1", 1234),
    }


class Client:
    """The other end of one request: gives body messages, takes the answer, leaves when told to."""

    def __init__(
        self, body: Sequence[bytes] = (b"",), *, complete: bool = True, leave_after: int | None = None
    ) -> None:
        self._body = list(body)
        self._complete = complete
        self._leave_after = leave_after
        self._left = asyncio.Event()
        self.messages: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._body:
            data = self._body.pop(0)
            return {"type": "http.request", "body": data, "more_body": bool(self._body) or not self._complete}
        if not self._complete:
            return {"type": "http.disconnect"}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if self._leave_after is not None and len(self.messages) > self._leave_after:
            self._left.set()
            await asyncio.sleep(0)

    @property
    def status(self) -> int:
        assert self.messages[0]["type"] == "http.response.start"
        status: int = self.messages[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode("latin-1") for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.messages[1:])

    @property
    def complete(self) -> bool:
        """Whether the last message of the body was sent; without it Granian cuts the connection."""
        return len(self.messages) > 1 and not self.messages[-1]["more_body"]

    @property
    def json(self) -> Any:
        assert b"\n" not in self.body
        return json.loads(self.body)


def call(
    routes: Iterable[Route],
    method: str = "GET",
    target: str = "/",
    headers: Iterable[tuple[str, str]] = (),
    client: Client | None = None,
    on_damage: Callable[[str], None] | None = None,
) -> Client:
    """Send one request to an application of these routes."""

    async def go() -> Client:
        other = client or Client()
        await Application(Router(routes), on_damage=on_damage)(
            scope(method, target, headers), other.receive, other.send
        )
        return other

    return asyncio.run(go())


def request(
    method: str = "GET", target: str = "/", headers: Iterable[tuple[str, str]] = (), client: Client | None = None
) -> Request:
    """A request as handlers get it."""

    async def nothing() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    return Request(scope(method, target, headers), client.receive if client else nothing)
