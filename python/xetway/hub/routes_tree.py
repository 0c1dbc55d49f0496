"""Routes that list what is in a revision: tree, paths-info, commits."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from urllib.parse import parse_qs

import msgspec

from xetway.errors import RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.answers import commit_info, is_true, next_link, path_infos
from xetway.hub.history import get_commit, history_page, last_commits
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES, is_oid, normalize_path
from xetway.hub.revisions import resolve
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes
from xetway.hub.trees import TreeReader, entry_not_found, find_entry, walk

PAGE_PATHS = 1_000
# With expand each path needs a walk through the history.
PAGE_EXPANDED = 50
PAGE_COMMITS = 50
MAX_PATHS = 10_000


class PathsBody(msgspec.Struct):
    """Which paths to describe."""

    paths: list[str]
    expand: bool = False


class Tree(RepoRoutes):
    """Handlers that list."""

    def tree(self, request: Request) -> Response:
        """List a folder, recursively if asked, a page at a time."""
        repo = self.readable(request)
        recursive, expand = is_true(request.query_one("recursive")), is_true(request.query_one("expand"))
        path = normalize_path(request.params.get("path", "").strip("/"))
        limit = PAGE_EXPANDED if expand else PAGE_PATHS
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, request.params["revision"]))
            folder = find_entry(tx, commit.tree, path)
            if folder is None or not folder.is_folder:
                raise entry_not_found(path, commit.oid.hex())
            prefix = f"{path}/" if path else ""
            found = walk(tx, folder.oid, prefix, recursive=recursive, after=request.query_one("cursor"))
            page = list(islice(found, limit + 1))
            shown = page[:limit]
            last = last_commits(tx, repo.id, commit.oid, (item for item, _ in shown)) if expand else None
            infos = path_infos(tx, shown, last)
        headers = [("x-repo-commit", commit.oid.hex())]
        if len(page) > limit:
            headers.append(next_link(request, cursor=shown[-1][0].removeprefix(prefix)))
        return json_response(infos, headers=headers)

    async def paths_info(self, request: Request) -> Response:
        """Describe the paths asked for; those that do not exist are left out."""
        if "json" in (request.header("content-type") or ""):
            body = await request.json(PathsBody, MAX_JSON_BYTES)
        else:
            body = _form(await request.read(MAX_JSON_BYTES))
        if len(body.paths) > MAX_PATHS:
            raise RequestError(f"at most {MAX_PATHS} paths can be asked for at once", code="too_many_paths")
        return await run(self._paths_info, request, body)

    def _paths_info(self, request: Request, body: PathsBody) -> Response:
        repo = self.readable(request)
        paths = dict.fromkeys(normalize_path(path.strip("/")) for path in body.paths)
        with self.hub.db.read() as tx:
            commit = get_commit(tx, repo.id, resolve(tx, repo.id, request.params["revision"]))
            trees = TreeReader(tx)
            entries = ((path, trees.find(commit.tree, path)) for path in paths if path)
            found = [(path, entry) for path, entry in entries if entry is not None]
            last = last_commits(tx, repo.id, commit.oid, (item for item, _ in found)) if body.expand else None
            infos = path_infos(tx, found, last)
        return json_response(infos)

    def commits(self, request: Request) -> Response:
        """List commits, newest first, a page at a time."""
        repo = self.readable(request)
        with self.hub.db.read() as tx:
            oid = resolve(tx, repo.id, request.params["revision"])
            cursor = request.query_one("cursor")
            if cursor is not None:
                if not is_oid(cursor):
                    raise RequestError("the cursor is not one of ours", code="bad_query")
                oid = resolve(tx, repo.id, cursor)
            page, following = history_page(tx, repo.id, oid, PAGE_COMMITS)
        headers = [] if following is None else [next_link(request, cursor=following.hex())]
        return json_response([commit_info(commit) for commit in page], headers=headers)


def _form(body: bytes) -> PathsBody:
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PATHS + 10)
    except ValueError:
        raise RequestError("the form is malformed", code="bad_form") from None
    return PathsBody(fields.get("paths", []), is_true(fields.get("expand", ["false"])[-1]))


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    for kind in REPO_TYPES:
        of = Tree(hub, kind)
        repo = of.api + "/{namespace}/{name}"
        yield "GET|HEAD", repo + "/tree/{revision}", of.tree
        yield "GET|HEAD", repo + "/tree/{revision}/{path...}", of.tree
        yield "POST", repo + "/paths-info/{revision}", of.paths_info
        yield "GET|HEAD", repo + "/commits/{revision}", of.commits
