"""Plain downloads for tools that know nothing of the Hub: by name and revision, or by hash.

Byte ranges, conditions and HEAD are `http.ranges`; whether the caller may read is `hub.content`. The entity tag is
the xet hash of the content, or the git blob id of a small file.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from urllib.parse import quote

from xetway.errors import RequestError
from xetway.http.ranges import file_response
from xetway.http.request import Request
from xetway.http.response import AnyResponse
from xetway.http.router import Route
from xetway.hub.content import locate, open_blob, open_located, readable_content
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES, RepoType

_QUOTABLE = frozenset(string.ascii_letters + string.digits + " !#$&+-.^_`|~()[]{}=@,")


class PlainDownloads:
    """Handlers of /download and /download-hash."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def by_name(self, request: Request) -> AnyResponse:
        """Send a file of a repository: the revision `?revision=`, or main."""
        path = request.params["path"]
        located = locate(
            self._hub,
            request,
            _type(request.query_one("type", "model")),
            request.params["owner"],
            request.params["repo"],
            request.query_one("revision") or "main",
            path,
        )
        return file_response(
            request,
            size=located.size,
            etag=located.xet_hash or located.etag,
            headers=[*_headers(path.rpartition("/")[2]), ("x-repo-commit", located.commit)],
            open_range=lambda start, end: open_located(self._hub, located, start, end),
        )

    def by_hash(self, request: Request) -> AnyResponse:
        """Send a file by its xet hash or SHA-256, if it is in a repository that the caller may read."""
        found = readable_content(self._hub, request, request.params["hash"])
        return file_response(
            request,
            size=found.blob.size,
            etag=str(found.hash),
            headers=_headers(str(found.hash)),
            open_range=lambda start, end: open_blob(self._hub.store, found.blob, start, end),
        )


def _type(name: str | None) -> RepoType:
    for kind in REPO_TYPES:
        if name == kind:
            return kind
    raise RequestError(f"type must be one of {', '.join(REPO_TYPES)}", code="bad_type")


def _headers(filename: str) -> list[tuple[str, str]]:
    return [
        ("content-type", "application/octet-stream"),
        ("content-disposition", content_disposition(filename)),
        ("cache-control", "private, no-cache"),
    ]


def content_disposition(filename: str) -> str:
    """Name an attachment (RFC 6266): plain, and in full for names that are not plain ASCII."""
    plain = "".join(character if character in _QUOTABLE else "_" for character in filename)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def routes(hub: Hub) -> Iterable[Route]:
    """The routes of this module."""
    downloads = PlainDownloads(hub)
    yield "GET|HEAD", "/download/{owner}/{repo}/{path...}", downloads.by_name
    yield "GET|HEAD", "/download-hash/{hash}", downloads.by_hash
