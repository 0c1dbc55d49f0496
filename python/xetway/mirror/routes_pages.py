"""Pages for people about upstream repositories, as hosted ones have them: lists of files with links that lead here."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qs, quote, urlencode

import msgspec

from xetway.http.request import Request
from xetway.http.response import Response, empty
from xetway.http.router import Route
from xetway.hub.names import PREFIXES, REPO_TYPES, RepoType, normalize_path
from xetway.mirror.answers import Question
from xetway.mirror.callers import Caller
from xetway.mirror.mirror import Mirror
from xetway.mirror.names import RepoKey, is_commit, repo_of, segment
from xetway.mirror.replies import page_links
from xetway.mirror.upstream import bad_answer
from xetway.web.repo_pages import address, listing, page_routes, repo_page, row, trail, usage


class _Description(msgspec.Struct):
    sha: str = ""


class _Entry(msgspec.Struct):
    type: str = ""
    path: str = ""
    size: int = 0


class Pages:
    """Handlers of the pages of upstream repositories of one type."""

    def __init__(self, mirror: Mirror, kind: RepoType) -> None:
        self._mirror = mirror
        self._kind = kind

    async def tree(self, request: Request) -> Response:
        """Show a folder of a revision."""
        repo, caller = repo_of(request, self._kind), self._mirror.callers.of(request)
        revision = request.params.get("revision", "main")
        path = normalize_path(request.params.get("path", "").strip("/"))
        commit = await self._commit(repo, revision, caller)
        entries, more = await self._entries(repo, commit, path, request.query_one("cursor"), caller)
        rows = [
            row(repo.page, revision, item.path, None if item.type == "directory" else item.size) for item in entries
        ]
        sizes = {item.path: item.size for item in entries if item.type == "file"}
        how = usage(request.base_url, self._kind, repo.name, repo.page, revision, sizes)
        name = f"{PREFIXES[self._kind]}{repo.name}"
        return repo_page(name, trail(repo.page, revision, path), listing(rows, more) + how)

    async def _commit(self, repo: RepoKey, revision: str, caller: Caller) -> str:
        question = Question(f"{repo.api}/revision/{segment(revision)}", repo, revision, "description")
        answered = await self._mirror.answers.get(question, caller)
        try:
            commit = msgspec.json.decode(answered.body, type=_Description).sha
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_answer(str(error)) from None
        if not is_commit(commit):
            raise bad_answer("a description without a commit")
        return commit

    async def _entries(
        self, repo: RepoKey, commit: str, path: str, cursor: str | None, caller: Caller
    ) -> tuple[list[_Entry], str | None]:
        """A page of a folder, and the query that leads to the next."""
        target = f"{repo.api}/tree/{commit}" + (f"/{quote(path)}" if path else "")
        target += "?" + urlencode({"recursive": "false", "expand": "false"} | ({"cursor": cursor} if cursor else {}))
        answered = await self._mirror.answers.get(Question(target, repo, commit, "listing"), caller)
        try:
            entries = msgspec.json.decode(answered.body, type=list[_Entry])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise bad_answer(str(error)) from None
        links = page_links(answered.headers.get("link", ""), "", self._mirror.upstream)
        following = next((link[1 : link.index(">")] for link in links if link.endswith('rel="next"')), "")
        cursors = parse_qs(following.partition("?")[2]).get("cursor")
        return entries, urlencode({"cursor": cursors[0]}) if cursors else None

    async def blob(self, request: Request) -> Response:
        """Lead to the content of a file."""
        return self._elsewhere(request, "resolve", request.params["path"])

    async def commit(self, request: Request) -> Response:
        """Lead to the files of a commit: who made it, only the upstream tells."""
        return self._elsewhere(request, "tree")

    def _elsewhere(self, request: Request, view: str, path: str = "") -> Response:
        page = repo_of(request, self._kind).page
        return empty(302, [("location", address(page, view, request.params["revision"], path))])


def routes(mirror: Mirror) -> Iterable[Route]:
    """The routes of this module, which stand behind those of hosted repositories."""
    for kind in REPO_TYPES:
        of = Pages(mirror, kind)
        yield from page_routes(kind, tree=of.tree, blob=of.blob, commit=of.commit)
