"""Pages for people: what a repository holds, and the commit pages whose addresses clients print after an upload.

Plain lists with links to the files. A browser sends no token, so it sees public repositories only.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from itertools import islice
from urllib.parse import quote, urlencode

from xetway.errors import NotFoundError
from xetway.http.request import Request
from xetway.http.response import Response, empty
from xetway.http.router import Route
from xetway.hub.answers import iso_date
from xetway.hub.git import TreeEntry
from xetway.hub.history import Commit, get_commit
from xetway.hub.hub import Hub
from xetway.hub.names import PREFIXES, REPO_TYPES, is_reserved, normalize_path
from xetway.hub.objects import get_blobs
from xetway.hub.repos import Repo
from xetway.hub.revisions import resolve
from xetway.hub.routes_base import RepoRoutes
from xetway.hub.trees import entry_not_found, find_entry, walk
from xetway.web.pages import page

_PAGE_ENTRIES = 1_000


class Pages(RepoRoutes):
    """Handlers of the pages of repositories of one type."""

    def tree(self, request: Request) -> Response:
        """Show a folder of a revision."""
        if is_reserved(request.params["namespace"]):
            raise NotFoundError("no such route", code="route_not_found")
        repo = self.readable(request)
        revision = request.params.get("revision", "main")
        path = normalize_path(request.params.get("path", "").strip("/"))
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, revision))
            folder = find_entry(tx, commit.tree, path)
            if folder is None or not folder.is_folder:
                raise entry_not_found(path, commit.oid.hex())
            prefix = f"{path}/" if path else ""
            found = walk(tx, folder.oid, prefix, recursive=False, after=request.query_one("cursor"))
            entries = list(islice(found, _PAGE_ENTRIES + 1))
            blobs = get_blobs(tx, (entry.oid for _, entry in entries if not entry.is_folder))
        base = f"/{repo.page}"
        rows = [
            _row(base, revision, item, entry, None if entry.is_folder else blobs[entry.oid].size)
            for item, entry in entries[:_PAGE_ENTRIES]
        ]
        content = f"<table>{''.join(rows)}</table>" if rows else "<p>No files here.</p>"
        if len(entries) > _PAGE_ENTRIES:
            cursor = urlencode({"cursor": entries[_PAGE_ENTRIES - 1][0].removeprefix(prefix)})
            content += f'<p><a href="?{html.escape(cursor)}">more</a></p>'
        return _page(repo, _trail(base, revision, path), content)

    def commit(self, request: Request) -> Response:
        """Show what a commit is."""
        repo = self.readable(request)
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, request.params["revision"]))
        return _page(repo, _trail(f"/{repo.page}", commit.oid.hex(), ""), _commit(repo, commit))

    def blob(self, request: Request) -> Response:
        """Lead to the content of a file."""
        repo = self.readable(request)
        address = _address(f"/{repo.page}", "resolve", request.params["revision"], request.params["path"])
        return empty(302, [("location", address)])


def _page(repo: Repo, trail: str, content: str) -> Response:
    name = html.escape(f"{PREFIXES[repo.type]}{repo.full_name}")
    return page("repo.html", title=f"{name} - xetway", heading=name, trail=trail, content=content)


def _address(base: str, view: str, revision: str, path: str) -> str:
    return f"{base}/{view}/{quote(revision, safe='')}" + (f"/{quote(path)}" if path else "")


def _link(base: str, view: str, revision: str, path: str, text: str) -> str:
    return f'<a href="{html.escape(_address(base, view, revision, path))}">{html.escape(text)}</a>'


def _trail(base: str, revision: str, path: str) -> str:
    parts = path.split("/") if path else []
    links = [_link(base, "tree", revision, "/".join(parts[: at + 1]), part) for at, part in enumerate(parts)]
    return " / ".join([_link(base, "tree", revision, "", revision), *links])


def _row(base: str, revision: str, path: str, entry: TreeEntry, size_bytes: int | None) -> str:
    name = path.rpartition("/")[2]
    if entry.is_folder:
        return f"<tr><td>{_link(base, 'tree', revision, path, name + '/')}</td><td></td></tr>"
    return f"<tr><td>{_link(base, 'resolve', revision, path, name)}</td><td>{size_bytes:,} bytes</td></tr>"


def _commit(repo: Repo, commit: Commit) -> str:
    base, oid = f"/{repo.page}", commit.oid.hex()
    rows = [
        ("Commit", f"<code>{oid}</code>"),
        ("By", html.escape(commit.author)),
        ("At", html.escape(iso_date(commit.date))),
        ("Files", _link(base, "tree", oid, "", "as of this commit")),
    ]
    if commit.parent is not None:
        rows.append(("Before it", _link(base, "commit", commit.parent.hex(), "", commit.parent.hex())))
    table = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    message = f"<p>{html.escape(commit.message)}</p>" if commit.message else ""
    return f"<h2>{html.escape(commit.title)}</h2>{message}<table>{table}</table>"


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Pages(hub, kind)
        repo = f"/{PREFIXES[kind]}{{namespace}}/{{name}}"
        yield "GET|HEAD", repo, of.tree
        yield "GET|HEAD", repo + "/tree/{revision}", of.tree
        yield "GET|HEAD", repo + "/tree/{revision}/{path...}", of.tree
        yield "GET|HEAD", repo + "/blob/{revision}/{path...}", of.blob
        yield "GET|HEAD", repo + "/commit/{revision}", of.commit
