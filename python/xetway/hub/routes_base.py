"""What the route modules share: whose repository the path names, who asks, and some bodies."""

from __future__ import annotations

from xetway.errors import ConflictError, RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.hub.hub import Hub
from xetway.hub.names import PLURALS, RepoType
from xetway.hub.repos import Repo

MAX_JSON_BYTES = 8 * 1024 * 1024


class RepoRoutes:
    """Handlers for repositories of one type.

    Paths name a repository as ``{namespace}/{name}``, or as ``{name}`` alone, which none here is called, so that
    clients get the error they understand.
    """

    def __init__(self, hub: Hub, kind: RepoType) -> None:
        self.hub = hub
        self.kind = kind
        self.api = f"/api/{PLURALS[kind]}"

    def readable(self, request: Request) -> Repo:
        """Return the repository of the path, for reading; 404 otherwise."""
        return self.hub.access.readable(request, self.kind, request.params.get("namespace"), request.params["name"])

    def writable(self, request: Request) -> tuple[Repo, str]:
        """Return the repository of the path and the user who may write it; 401, 403 or 404 otherwise."""
        return self.hub.access.writable(request, self.kind, request.params.get("namespace"), request.params["name"])


def is_private(private: bool | None, visibility: str | None) -> bool | None:
    """Read what a body says of a repository's visibility, in the old and the new form; None if neither says.

    Raises:
        RequestError: `bad_visibility`.
    """
    if visibility is None:
        return private
    if visibility not in {"public", "private"}:
        raise RequestError("the visibility is public or private", code="bad_visibility")
    return visibility == "private"


def already_there(error: ConflictError, url: str) -> Response:
    """Refuse to create what exists; clients told not to mind read the address from the refusal."""
    value = {"error": error.message, "code": error.code, "url": url}
    return json_response(value, 409, [("x-error-message", error.message)])
