"""The Hub's own port: its API and `resolve`, as the real Hub answers where that differs from a hosted xetway."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from upstream.data import Addresses
from upstream.manners import Manners
from upstream.wire import Backend, BackendAnswer, BackendSource, Headers, Reply, Request, asked_range

NO_ACCESS = "*" * 64
RESOLVE = re.compile(r"^/((?:datasets/|spaces/|kernels/)?)([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")
SMALL = re.compile(r"^/api/resolve-cache/(models|datasets|spaces|kernels)/([^/]+/[^/]+)/([0-9a-f]{40})/(.+)$")
API = re.compile(r"^/api/(models|datasets|spaces|kernels)/([^/]+/[^/]+)(/.*)?$")
PASSED_ON = ("range", "accept", "content-type", "user-agent")
DROPPED = frozenset({"content-length", "connection", "date", "server", "transfer-encoding", "etag", "link"})
DATA = "plain_bytes"
KIND = "hub_api"


class Ports(Protocol):
    """Where the parts are reached."""

    @property
    def hub_url(self) -> str: ...

    @property
    def cas_url(self) -> str: ...


class Hub:
    """Answers what comes to the Hub's port."""

    def __init__(self, backend: Backend, manners: Manners, addresses: Addresses, ports: Ports) -> None:
        self._backend = backend
        self._manners = manners
        self._addresses = addresses
        self._ports = ports

    async def answer(self, request: Request) -> Reply:
        token = bearer(request)
        if token is not None and token not in self._manners.tokens:
            return refusal(401, "Invalid credentials in Authorization header")
        resolve, small, api = (pattern.match(request.path) for pattern in (RESOLVE, SMALL, API))
        if resolve:
            return await self._resolve(request, token, resolve)
        if small:
            kind = "" if small[1] == "models" else f"{small[1]}/"
            return await self._small(request, token, f"/{kind}{small[2]}/resolve/{small[3]}/{small[4]}")
        if api:
            return await self._api(request, token, api)
        return await self._passed(request, token)

    # -- files

    async def _resolve(self, request: Request, token: str | None, match: re.Match[str]) -> Reply:
        repo = match[1] + match[2]
        if repo in self._manners.renamed:
            return redirect(307, request.target.replace(f"/{repo}/", f"/{self._manners.renamed[repo]}/", 1))
        if not self._has_access(repo, token):
            return gated(repo, token)
        found = await self._ask(request, token, "HEAD", request.target)
        await found.read()
        if found.status != 200:
            return self._failure(found, token, b"")
        headers = found.headers
        known = [("x-repo-commit", headers["x-repo-commit"]), ("accept-ranges", "bytes")]
        if "x-linked-etag" not in headers:
            return self._to_small(match, headers) or await self._small(request, token, request.target)
        size = int(headers["content-length"])
        linked = [("x-linked-size", str(size)), ("x-linked-etag", headers["x-linked-etag"])]
        xet = headers.get("x-xet-hash")
        if xet and repo not in self._manners.plain:
            plural = match[1].rstrip("/") or "models"
            route = f"{self._ports.hub_url}/api/{plural}/{match[2]}/xet-read-token/{headers['x-repo-commit']}"
            parts = f"{self._ports.cas_url}/v1/reconstructions/{xet}"
            linked += [
                ("x-xet-hash", xet),
                ("link", f'<{route}>; rel="xet-auth", <{parts}>; rel="xet-reconstruction-info"'),
            ]
        source = BackendSource(self._backend, request.target, self._auth(token), size)
        location = self._addresses.blob(source, headers["x-linked-etag"].strip('"'))
        return redirect(302, location, [*known, *linked])

    def _to_small(self, match: re.Match[str], headers: dict[str, str]) -> Reply | None:
        """The relative redirect by which small files come."""
        if not self._manners.small_files_redirect:
            return None
        plural = match[1].rstrip("/") or "models"
        commit = headers["x-repo-commit"]
        target = f"/api/resolve-cache/{plural}/{match[2]}/{commit}/{match[4]}?{urlencode({'etag': headers['etag']})}"
        return redirect(307, target, [("x-repo-commit", commit), ("x-linked-etag", headers["etag"])])

    async def _small(self, request: Request, token: str | None, target: str) -> Reply:
        found = await self._ask(request, token, "HEAD", target)
        await found.read()
        if found.status != 200:
            return self._failure(found, token, b"")
        etag, size = found.headers["etag"], int(found.headers["content-length"])
        headers = [
            ("etag", etag),
            ("x-repo-commit", found.headers["x-repo-commit"]),
            ("accept-ranges", "bytes"),
            ("content-type", "text/plain; charset=utf-8"),
        ]
        source = BackendSource(self._backend, target, self._auth(token), size)
        if request.method == "HEAD":
            return Reply(KIND, 200, headers, source=source, start=0, end=size)
        if request.headers.get("if-none-match") == etag:
            return Reply(DATA, 304, headers)
        return ranged(DATA, request, headers, source)

    # -- the API

    async def _api(self, request: Request, token: str | None, match: re.Match[str]) -> Reply:
        plural, name, rest = match[1], match[2], match[3] or ""
        repo = name if plural == "models" else f"{plural}/{name}"
        if repo in self._manners.renamed:
            new = self._manners.renamed[repo].rpartition("/")
            short = f"{new[0].rpartition('/')[2]}/{new[2]}"
            return redirect(307, request.target.replace(f"/{name}", f"/{short}", 1))
        access = self._has_access(repo, token)
        if "/xet-read-token/" in rest or "/xet-write-token/" in rest:
            if not access:
                return gated(repo, token)
            return await self._xet_token(request, token)
        answer = await self._ask(request, token, request.method, self._whole_listing(request))
        body = await answer.read()
        if answer.status != 200 or "json" not in answer.headers.get("content-type", ""):
            return self._failure(answer, token, body)
        value = json.loads(body)
        headers = self._kept(answer)
        if rest.startswith("/tree/"):
            value = await self._all_pages(request, token, answer, value)
            value, following = self._page(request, value)
            headers += following
        if repo in self._manners.gated and isinstance(value, dict) and "gated" in value:
            value["gated"] = "manual"
        hide = NO_ACCESS if not access else None if repo in self._manners.plain else ""
        if isinstance(value, list) and hide != "":
            value = [hidden(entry, hide) for entry in value]
        return self._revalidated(request, headers, json.dumps(value).encode())

    async def _xet_token(self, request: Request, token: str | None) -> Reply:
        answer = await self._ask(request, token, "GET", request.target)
        body = await answer.read()
        if answer.status != 200:
            return self._failure(answer, token, body)
        value = json.loads(body)
        value["casUrl"] = self._ports.cas_url + urlsplit(value["casUrl"]).path
        value["accessToken"], value["exp"] = self._addresses.xet_token(value["accessToken"])
        headers = [
            ("content-type", "application/json"),
            ("x-xet-cas-url", value["casUrl"]),
            ("x-xet-access-token", value["accessToken"]),
            ("x-xet-token-expiration", str(value["exp"])),
        ]
        return Reply(KIND, 200, headers, json.dumps(value).encode())

    @staticmethod
    def _whole_listing(request: Request) -> str:
        """The same target without the cursor, which is ours."""
        parts = urlsplit(request.target)
        fields = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "cursor"]
        return f"{parts.path}?{urlencode(fields)}" if fields else parts.path

    async def _all_pages(
        self, request: Request, token: str | None, first: BackendAnswer, entries: list[Any]
    ) -> list[Any]:
        link = first.headers.get("link")
        while link and (match := re.match(r"<https?://[^/]+(/[^>]*)>; rel=\"next\"", link)):
            answer = await self._ask(request, token, "GET", match[1])
            entries = entries + json.loads(await answer.read())
            link = answer.headers.get("link")
        return entries

    def _page(self, request: Request, entries: list[Any]) -> tuple[list[Any], Headers]:
        """One page of a listing, and the absolute address of the next one."""
        fields = request.query
        start = int(base64.urlsafe_b64decode(fields.get("cursor", "MA==")))
        end = start + self._manners.page_entries
        if end >= len(entries):
            return entries[start:], []
        fields["cursor"] = base64.urlsafe_b64encode(str(end).encode()).decode()
        return entries[start:end], [("link", f'<{self._ports.hub_url}{request.path}?{urlencode(fields)}>; rel="next"')]

    def _revalidated(self, request: Request, headers: Headers, body: bytes) -> Reply:
        etag = f'W/"{len(body):x}-{hashlib.sha1(body, usedforsecurity=False).hexdigest()[:20]}"'
        if self._manners.revalidates and request.method in {"GET", "HEAD"}:
            headers = [*headers, ("etag", etag)]
            if request.headers.get("if-none-match") == etag:
                return Reply(KIND, 304, headers)
        return Reply(KIND, 200, headers, body)

    async def _passed(self, request: Request, token: str | None) -> Reply:
        answer = await self._ask(request, token, request.method, request.target)
        return Reply(KIND, answer.status, self._kept(answer), await answer.read())

    # -- the server behind

    async def _ask(self, request: Request, token: str | None, method: str, target: str) -> BackendAnswer:
        headers = [(name, request.headers[name]) for name in PASSED_ON if name in request.headers and name != "range"]
        return await self._backend.ask(method, target, [*headers, *self._auth(token)], request.body)

    def _auth(self, token: str | None) -> Headers:
        return [] if token is None else [("authorization", f"Bearer {self._manners.tokens[token]}")]

    def _has_access(self, repo: str, token: str | None) -> bool:
        return repo not in self._manners.gated or token in self._manners.gated[repo]

    def _kept(self, answer: BackendAnswer) -> Headers:
        return [
            (name, value.replace(self._backend.url, self._ports.hub_url))
            for name, value in answer.headers.items()
            if name not in DROPPED
        ]

    def _failure(self, answer: BackendAnswer, token: str | None, body: bytes) -> Reply:
        """What the server behind refused. To those without a token, the Hub does not even say "not found"."""
        if answer.headers.get("x-error-code") == "RepoNotFound" and token is None:
            return refusal(401, "Invalid username or password.", "RepoNotFound")
        headers = [(name, value) for name, value in self._kept(answer) if name != "content-type"]
        return Reply(KIND, answer.status, [("content-type", "application/json"), *headers], body)


def bearer(request: Request) -> str | None:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value if scheme.lower() == "bearer" and value else None


def hidden(entry: dict[str, Any], xet_hash: str | None) -> dict[str, Any]:
    """A listed file with its xet hash replaced, or left out."""
    if "xetHash" not in entry:
        return entry
    rest = {name: value for name, value in entry.items() if name != "xetHash"}
    return rest if xet_hash is None else {**rest, "xetHash": xet_hash}


def redirect(status: int, location: str, headers: Headers | None = None) -> Reply:
    text = f"{'Found' if status == 302 else 'Temporary Redirect'}. Redirecting to {location}".encode()
    return Reply(KIND, status, [*(headers or []), ("location", location), ("content-type", "text/plain")], text)


def refusal(status: int, message: str, code: str | None = None) -> Reply:
    headers = [("content-type", "application/json"), ("x-error-message", message)]
    if code is not None:
        headers.append(("x-error-code", code))
    return Reply(KIND, status, headers, json.dumps({"error": message}).encode())


def gated(repo: str, token: str | None) -> Reply:
    if token is None:
        return refusal(401, f"Access to model {repo} is restricted. You must be authenticated.", "GatedRepo")
    return refusal(403, f"Access to model {repo} is restricted and you are not in the authorized list.", "GatedRepo")


def ranged(kind: str, request: Request, headers: Headers, source: BackendSource) -> Reply:
    """The whole, or the range asked for."""
    wanted = asked_range(request.headers.get("range"), source.size)
    if wanted is None:
        return Reply(kind, 200, headers, source=source, start=0, end=source.size)
    start, end = wanted
    if start >= end:
        return Reply(kind, 416, [*headers, ("content-range", f"bytes */{source.size}")])
    headers = [*headers, ("content-range", f"bytes {start}-{end - 1}/{source.size}")]
    return Reply(kind, 206, headers, source=source, start=start, end=end)
