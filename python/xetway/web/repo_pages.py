"""What the pages of repositories are made of: links, rows of files, how to fetch them with the usual tools."""

from __future__ import annotations

import html
import shlex
from collections.abc import Iterable
from urllib.parse import quote

from xetway.http.response import Response
from xetway.http.router import Handler, Route
from xetway.hub.names import PREFIXES, RepoType
from xetway.web.pages import page


def page_routes(kind: RepoType, *, tree: Handler, blob: Handler, commit: Handler) -> Iterable[Route]:
    """Where the pages of one type of repositories are."""
    repo = f"/{PREFIXES[kind]}{{namespace}}/{{name}}"
    yield "GET|HEAD", repo, tree
    yield "GET|HEAD", repo + "/tree/{revision}", tree
    yield "GET|HEAD", repo + "/tree/{revision}/{path...}", tree
    yield "GET|HEAD", repo + "/blob/{revision}/{path...}", blob
    yield "GET|HEAD", repo + "/commit/{revision}", commit


def repo_page(name: str, trail: str, content: str) -> Response:
    """The page of a repository; `name` has the prefix of its type. `trail` and `content` are HTML."""
    heading = html.escape(name)
    return page("repo.html", title=f"{heading} - xetway", heading=heading, trail=trail, content=content)


def address(base: str, view: str, revision: str, path: str = "") -> str:
    """Where a view of a path is, below the page of its repository."""
    return f"{base}/{view}/{quote(revision, safe='')}" + (f"/{quote(path)}" if path else "")


def link(base: str, view: str, revision: str, path: str, text: str) -> str:
    """A link to a view."""
    return f'<a href="{html.escape(address(base, view, revision, path))}">{html.escape(text)}</a>'


def trail(base: str, revision: str, path: str) -> str:
    """Links to the revision and to each folder on the way to a path."""
    parts = path.split("/") if path else []
    links = [link(base, "tree", revision, "/".join(parts[: at + 1]), part) for at, part in enumerate(parts)]
    return " / ".join([link(base, "tree", revision, "", revision), *links])


def row(base: str, revision: str, path: str, size_bytes: int | None) -> str:
    """The row of a file, or without a size of a folder."""
    name = path.rpartition("/")[2]
    if size_bytes is None:
        return f"<tr><td>{link(base, 'tree', revision, path, name + '/')}</td><td></td></tr>"
    return f"<tr><td>{link(base, 'resolve', revision, path, name)}</td><td>{size_bytes:,} bytes</td></tr>"


def listing(rows: list[str], more: str | None) -> str:
    """A table of rows; `more` is the query that shows the next ones."""
    table = f"<table>{''.join(rows)}</table>" if rows else "<p>No files here.</p>"
    return table if more is None else f'{table}<p><a href="?{html.escape(more)}">more</a></p>'


def usage(base_url: str, kind: str, full_name: str, page_path: str, revision: str, sizes: dict[str, int]) -> str:
    """How to fetch the repository, and the largest of these files, from this very server."""
    options = "" if kind == "model" else f" --repo-type {kind}"
    options += "" if revision == "main" else f" --revision {shlex.quote(revision)}"
    lines = [f"export HF_ENDPOINT={base_url}", f"hf download {full_name}{options}"]
    if sizes:
        largest = max(sizes, key=lambda path: sizes[path])
        lines.append(f"curl --fail -O -C - '{base_url}{address(page_path, 'resolve', revision, largest)}'")
    return f"<pre><code>{html.escape(chr(10).join(lines), quote=False)}</code></pre>"
