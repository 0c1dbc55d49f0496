"""The mirror's answers as responses: which headers clients get, with addresses that lead here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qsl, urlencode

from xetway.http.request import Request
from xetway.http.response import Response
from xetway.mirror.answers import Answered
from xetway.mirror.upstream import Upstream

_LINK = re.compile(r"<([^>]*)>((?:\s*;\s*[^,;<]+(?:\"[^\"]*\")?)*)")
_REL = re.compile(r';\s*rel\s*=\s*"?([a-z -]+)"?', re.IGNORECASE)
# Where a page of a list leads; all other relations are about the upstream itself.
_PAGE_RELATIONS = frozenset({"next", "prev", "first", "last"})
_PASSED_ON = ("content-type", "etag", "x-repo-commit", "x-total-count")


def cache_headers(cache: str, age_s: int) -> list[tuple[str, str]]:
    """Say where an answer came from (RFC 9111, sections 5.1 and 5.5)."""
    headers = [("x-xetway-cache", cache)]
    if cache != "miss":
        headers.append(("age", str(age_s)))
    if cache == "stale":
        headers.append(("warning", '110 xetway "Response is Stale"'))
    return headers


def reply(request: Request, upstream: Upstream, answered: Answered, **marks: str) -> Response:
    """Give an answer of the upstream to a client; `marks` are added to the queries of links to other pages."""
    headers = [(name, answered.headers[name]) for name in _PASSED_ON if name in answered.headers]
    headers += cache_headers(answered.cache, answered.age_s)
    links = list(page_links(answered.headers.get("link", ""), request.base_url, upstream, marks))
    if links:
        headers.append(("link", ", ".join(links)))
    return Response(200, [*headers, ("vary", "authorization")], answered.body)


def page_links(header: str, base_url: str, upstream: Upstream, marks: dict[str, str] | None = None) -> Iterator[str]:
    """The links to other pages in a Link header of the upstream, leading through this server."""
    for address, parameters in _LINK.findall(header):
        relation = _REL.search(parameters)
        if relation is None or relation[1].lower() not in _PAGE_RELATIONS:
            continue
        target = upstream.below(address) or _path_of(address)
        if marks:
            path, _, query = target.partition("?")
            target = f"{path}?{urlencode([*parse_qsl(query, keep_blank_values=True), *marks.items()])}"
        yield f'<{base_url}{target}>; rel="{relation[1].lower()}"'


def _path_of(address: str) -> str:
    """Path and query of an address under another name of the upstream, its public one."""
    return "/" + address.partition("://")[2].partition("/")[2]


def query_of(request: Request, without: Iterable[str] = ()) -> str:
    """The query of a request, fields in their order, with a question mark; nothing if there is none."""
    left_out = frozenset(without)
    fields = [(name, value) for name, values in request.query.items() if name not in left_out for value in values]
    return f"?{urlencode(fields)}" if fields else ""
