"""A mirror, its upstream, and raw HTTP to the mirror as one caller or another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from server_process import ServerProcess
from upstream import FaultUpstream

from tests.conformance.crafted_repo import CraftedFile, CraftedRepo


@dataclass
class Mirrored:
    """The parts, and what a caller can ask."""

    behind: ServerProcess
    upstream: FaultUpstream
    mirror: ServerProcess
    http: httpx.Client

    def ask(self, method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """A request to the mirror; redirects are not followed."""
        headers = {**more.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
        return self.http.request(method, f"{self.mirror.url}{path}", headers=headers, **more)

    def get(self, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        return self.ask("GET", path, token, **more)

    def xet_token(self, repo: CraftedRepo, token: str | None = None) -> dict[str, Any]:
        answer = self.get(f"/api/models/{repo.name}/xet-read-token/main", token)
        assert answer.status_code == 200, answer.text
        value: dict[str, Any] = answer.json()
        assert value["casUrl"].startswith(self.mirror.url), value["casUrl"]
        assert answer.headers["x-xet-cas-url"] == value["casUrl"]
        assert answer.headers["x-xet-access-token"] == value["accessToken"]
        assert int(answer.headers["x-xet-token-expiration"]) == value["exp"]
        return value

    def plan(self, file: str, xet: dict[str, Any], version: str = "v2", **headers: str) -> httpx.Response:
        """A reconstruction, asked for with a xet token."""
        url = f"{xet['casUrl']}/{version}/reconstructions/{file}"
        return self.http.get(url, headers={"authorization": f"Bearer {xet['accessToken']}", **headers})

    def content(self, plan: httpx.Response, session: str | None = None) -> bytes:
        """The stored bytes of all ranges of a plan, one after another."""
        assert plan.status_code == 200, plan.text
        headers = {} if session is None else {"x-xet-session-id": session}
        held = b""
        for url, start, last in ranges(plan.json()):
            assert url.startswith(self.mirror.url), url
            answer = self.http.get(url, headers={**headers, "range": f"bytes={start}-{last}"})
            assert answer.status_code == 206, answer.text
            assert len(answer.content) == last + 1 - start
            held += answer.content
        return held

    def leaked(self, secrets: list[str]) -> list[str]:
        """Requests that carried one of the secrets to another part of the upstream than the Hub."""
        return [str(item) for item in self.upstream.seen if item.role != "hub" and any_in(secrets, item.headers)]


def any_in(secrets: list[str], headers: dict[str, str]) -> bool:
    return any(secret in value for secret in secrets for value in headers.values())


def ranges(plan: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Address, first and last byte of all ranges of a plan of either version."""
    first = [(part["url"], part["url_range"]) for parts in plan.get("fetch_info", {}).values() for part in parts]
    second = [(part["url"], part["ranges"][0]["bytes"]) for parts in plan.get("xorbs", {}).values() for part in parts]
    return [(url, part["start"], part["end"]) for url, part in (*first, *second)]


def path_of(repo: CraftedRepo, file: CraftedFile, revision: str = "main") -> str:
    return f"/{repo.name}/resolve/{revision}/{file.name}"


def origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
