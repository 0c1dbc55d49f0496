"""Lets pages of configured origins use the gateway from a browser: CORS, off unless origins are named.

It covers what the gateway's routes answer, but for administration, and what no route answers. The Hub's and the content
store's routes stay closed: an open server takes writes without a token, and `origins` keeps pages away from those.

No answer allows credentials: a page sends its key in a header of its own, cookies count for nothing here. That is also
why `*` may stand for all headers of an answer.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable
from typing import Any

from xetway.errors import XetwayError
from xetway.http.origins import check_origin
from xetway.http.request import Request
from xetway.http.response import Response, empty
from xetway.http.router import Route, Router
from xetway.http.sending import Send

ANY = "*"
METHODS = "GET, HEAD, POST"
# What a browser says of a page, and an upstream's answers to it: the page deals with this server, not with an upstream.
OF_PAGES = frozenset(
    {b"origin", b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"sec-fetch-storage-access", b"sec-fetch-user"}
)
FOR_PAGES = frozenset(
    b"access-control-" + name
    for name in (
        b"allow-credentials",
        b"allow-headers",
        b"allow-methods",
        b"allow-origin",
        b"allow-private-network",
        b"expose-headers",
        b"max-age",
    )
)
_ORIGIN = b"origin"
_ADMINISTRATION = "/admin/"
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")


def without_page(request: Request) -> list[tuple[bytes, bytes]]:
    """The headers of a request but for what a browser says in it of its page."""
    if request.raw_header(_ORIGIN) is None:  # with every POST that it sends
        return request.raw_headers
    return [pair for pair in request.raw_headers if pair[0] not in OF_PAGES]


class Cors:
    """What pages are told, for a server with this router.

    Args:
        origins: Those that are let in, as browsers write them, or `*`.
        max_age_s: How long a browser need not ask again.
        router: All routes of the server.
        covered: Those that pages may use, and the administration's, which they may not.
    """

    def __init__(self, origins: Iterable[str], max_age_s: int, router: Router, covered: Iterable[Route]) -> None:
        self._origins = frozenset(origins)
        self._max_age = str(max_age_s)
        self._router = router
        self._covered = frozenset(handler for _, pattern, handler in covered if not pattern.startswith(_ADMINISTRATION))

    def check(self, request: Request) -> Response | None:
        """Answer a browser that asks first whether a page may; None: the request goes its way.

        Raises:
            RequestError: `cross_origin`, as `origins.check_origin`, for a page that is not let in.
        """
        if not self._lets_in(request):
            check_origin(request)
            return None
        if request.method != "OPTIONS" or request.header("access-control-request-method") is None:
            return None
        told = [("access-control-allow-methods", METHODS), ("access-control-max-age", self._max_age)]
        # Whatever other clients may send, a page that is let in may send too.
        asked = request.header("access-control-request-headers") or ""
        if _NAMES.fullmatch(asked):
            told.append(("access-control-allow-headers", asked))
        return empty(204, told)

    def telling(self, request: Request, send: Send) -> Send:
        """Return a `send` that adds to the head of the answer what the browser needs, whatever the answer is."""
        more = [(b"vary", b"origin")]
        if self._lets_in(request):
            origin = ANY if ANY in self._origins else request.header("origin") or ""
            more += [(b"access-control-allow-origin", origin.encode()), (b"access-control-expose-headers", b"*")]

        def tell(message: dict[str, Any]) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *more]
            return send(message)

        return tell

    def _lets_in(self, request: Request) -> bool:
        origin = request.header("origin")
        if origin is None or self._origins.isdisjoint((origin, ANY)):
            return False
        method = request.method
        if method == "OPTIONS":
            method = request.header("access-control-request-method") or method
        try:
            handler, _ = self._router.match(method, request.raw_path)
        except XetwayError:
            return True
        return handler in self._covered
