"""Routes that give out a file of a revision: ``resolve`` its content, ``raw`` what git has (a pointer for LFS)."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from xetway.http.ranges import file_response
from xetway.http.request import Request
from xetway.http.response import AnyResponse
from xetway.http.router import Route
from xetway.hub.content import BytesReader, Located, locate, open_located
from xetway.hub.git import pointer
from xetway.hub.hub import Hub
from xetway.hub.names import PREFIXES, REPO_TYPES
from xetway.hub.routes_base import RepoRoutes


def disposition(path: str, kind: str = "inline") -> str:
    """Return the Content-Disposition that names a downloaded file."""
    name = path.rpartition("/")[2]
    plain = "".join(character if " " <= character <= "~" and character not in '"\\%' else "_" for character in name)
    return f"{kind}; filename*=UTF-8''{quote(name, safe='')}; filename=\"{plain}\""


class Resolve(RepoRoutes):
    """Handlers that give out files."""

    def _locate(self, request: Request) -> Located:
        params = request.params
        return locate(
            self.hub,
            request,
            self.kind,
            params.get("namespace"),
            params["name"],
            params["revision"],
            params["path"],
        )

    def resolve(self, request: Request) -> AnyResponse:
        """Give a file's content, or with HEAD what is known about it.

        Never a redirect: clients follow one to the same server and then miss the headers.
        """
        located = self._locate(request)
        headers = self._headers(located)
        if located.blob.is_lfs:
            headers += [("x-linked-size", str(located.size)), ("x-linked-etag", f'"{located.etag}"')]
        if located.xet_hash is not None and located.size:
            route = f"{self.api}/{located.repo.full_name}/xet-read-token/{located.commit}"
            headers += [
                ("x-xet-hash", located.xet_hash),
                ("x-xet-refresh-route", route),
                ("link", f'<{request.base_url}{route}>; rel="xet-auth"'),
            ]
        return file_response(
            request,
            size=located.size,
            etag=located.etag,
            headers=headers,
            open_range=lambda start, end: open_located(self.hub, located, start, end),
        )

    def raw(self, request: Request) -> AnyResponse:
        """Give a file as git has it."""
        located = self._locate(request)
        if not located.blob.is_lfs:
            return file_response(
                request,
                size=located.size,
                etag=located.etag,
                headers=self._headers(located),
                open_range=lambda start, end: open_located(self.hub, located, start, end),
            )
        data = pointer(located.blob.sha256, located.size)
        return file_response(
            request,
            size=len(data),
            etag=located.blob.oid.hex(),
            headers=self._headers(located),
            open_range=lambda start, end: BytesReader(data[start:end]),
        )

    @staticmethod
    def _headers(located: Located) -> list[tuple[str, str]]:
        # Uploaded pages and scripts must not run as if they were this server's own.
        text = located.blob.file is None
        return [
            ("x-repo-commit", located.commit),
            ("content-type", "text/plain; charset=utf-8" if text else "application/octet-stream"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; sandbox"),
            ("content-disposition", disposition(located.path)),
        ]


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Resolve(hub, kind)
        for repo in ("{namespace}/{name}", "{name}"):
            base = f"/{PREFIXES[kind]}{repo}"
            yield "GET|HEAD", base + "/resolve/{revision}/{path...}", of.resolve
            yield "GET|HEAD", base + "/raw/{revision}/{path...}", of.raw
            yield "GET|HEAD", f"{of.api}/{repo}/resolve/{{revision}}/{{path...}}", of.resolve
