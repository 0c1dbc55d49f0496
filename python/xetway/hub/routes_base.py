"""What the route classes share: whose repository the path names, and who asks."""

from __future__ import annotations

from xetway.http.request import Request
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
