"""Small routes that clients call along the way: who am I, what is mine, checks of model cards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.hub.answers import iso_date
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES
from xetway.hub.repos import list_repos, used_bytes

MAX_CARD_BYTES = 8 * 1024 * 1024
MAX_REPOSITORIES = 1_000


class Misc:
    """Handlers without a repository."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def whoami(self, request: Request) -> Response:
        """Describe the token of the request."""
        info = self._hub.access.require_principal(request)
        access_token = {"displayName": info.name, "role": info.scope, "createdAt": iso_date(info.created_at)}
        return json_response(
            {
                "type": "user",
                "id": f"{info.id:024x}",
                "name": info.user,
                "fullname": info.user,
                "isPro": False,
                "canPay": False,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": access_token},
            }
        )

    def repositories(self, request: Request) -> Response:
        """List the repositories in the caller's namespace, or the one in the path, with the space they use."""
        info = self._hub.access.require_principal(request)
        namespace = request.params.get("namespace", info.user)
        shown: list[dict[str, Any]] = []
        with self._hub.db.read() as tx:
            for kind in REPO_TYPES:
                repos = list_repos(tx, kind, search=None, author=namespace, before=None, limit=MAX_REPOSITORIES)
                shown += [
                    {
                        "id": repo.full_name,
                        "type": kind,
                        "updatedAt": iso_date(repo.updated_at),
                        "visibility": "private" if repo.private else "public",
                        "storage": used_bytes(tx, repo.id),
                    }
                    for repo in repos
                    if self._hub.access.may_read(info, repo)
                ]
        return json_response(shown)

    async def validate_yaml(self, request: Request) -> Response:
        """Accept every model card: what its metadata may say is the Hub's business."""
        await request.read(MAX_CARD_BYTES)
        return json_response({"errors": [], "warnings": []})

    def agent_harnesses(self, _request: Request) -> Response:
        """Answer the first question of every new client process at once."""
        return json_response({"standardEnvVars": [], "harnesses": {}})


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    misc = Misc(hub)
    yield "GET|HEAD", "/api/whoami-v2", misc.whoami
    yield "POST", "/api/validate-yaml", misc.validate_yaml
    yield "GET|HEAD", "/api/agent-harnesses", misc.agent_harnesses
    yield "GET|HEAD", "/api/settings/repositories", misc.repositories
    yield "GET|HEAD", "/api/organizations/{namespace}/settings/repositories", misc.repositories
