"""Pages for people: what a repository holds, and the commit pages whose addresses clients print after an upload.

Plain lists with links to the files. A browser sends no token, so it sees public repositories only.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from itertools import islice
from urllib.parse import urlencode

from xetway.errors import NotFoundError
from xetway.http.request import Request
from xetway.http.response import Response, empty
from xetway.http.router import Route
from xetway.hub.answers import iso_date
from xetway.hub.history import Commit, get_commit
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES, is_reserved, normalize_path
from xetway.hub.objects import get_blobs
from xetway.hub.repos import Repo
from xetway.hub.revisions import resolve
from xetway.hub.routes_base import RepoRoutes
from xetway.hub.trees import entry_not_found, find_entry, walk
from xetway.web.repo_pages import address, link, listing, page_routes, repo_page, row, trail, usage

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
        shown = entries[:_PAGE_ENTRIES]
        sizes = {item: blobs[entry.oid].size for item, entry in shown if not entry.is_folder}
        rows = [row(base, revision, item, sizes.get(item)) for item, _ in shown]
        more = None
        if len(entries) > _PAGE_ENTRIES:
            more = urlencode({"cursor": entries[_PAGE_ENTRIES - 1][0].removeprefix(prefix)})
        how = usage(request.base_url, self.kind, repo.full_name, base, revision, sizes)
        return repo_page(repo.page, trail(base, revision, path), listing(rows, more) + how)

    def commit(self, request: Request) -> Response:
        """Show what a commit is."""
        repo = self.readable(request)
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, request.params["revision"]))
        return repo_page(repo.page, trail(f"/{repo.page}", commit.oid.hex(), ""), _commit(repo, commit))

    def blob(self, request: Request) -> Response:
        """Lead to the content of a file."""
        repo = self.readable(request)
        place = address(f"/{repo.page}", "resolve", request.params["revision"], request.params["path"])
        return empty(302, [("location", place)])


def _commit(repo: Repo, commit: Commit) -> str:
    base, oid = f"/{repo.page}", commit.oid.hex()
    rows = [
        ("Commit", f"<code>{oid}</code>"),
        ("By", html.escape(commit.author)),
        ("At", html.escape(iso_date(commit.date))),
        ("Files", link(base, "tree", oid, "", "as of this commit")),
    ]
    if commit.parent is not None:
        rows.append(("Before it", link(base, "commit", commit.parent.hex(), "", commit.parent.hex())))
    table = "".join(f"<tr><td>{name}</td><td>{value}</td></tr>" for name, value in rows)
    message = f"<p>{html.escape(commit.message)}</p>" if commit.message else ""
    return f"<h2>{html.escape(commit.title)}</h2>{message}<table>{table}</table>"


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Pages(hub, kind)
        yield from page_routes(kind, tree=of.tree, blob=of.blob, commit=of.commit)
