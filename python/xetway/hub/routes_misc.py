"""Small routes that clients call along the way: who am I, checks of model cards, copies between repositories."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from xetway.errors import RequestError
from xetway.http.request import Request
from xetway.http.response import Response, json_response
from xetway.http.router import Route
from xetway.http.threads import run
from xetway.hub.answers import iso_date
from xetway.hub.hub import Hub
from xetway.hub.names import REPO_TYPES, RepoType, is_sha256
from xetway.hub.routes_base import MAX_JSON_BYTES, RepoRoutes

MAX_CARD_BYTES = 8 * 1024 * 1024
MAX_COPIES = 1_000


class CopyTarget(msgspec.Struct):
    """The repository to copy to."""

    name: str
    type: RepoType = "model"


class CopiedFile(msgspec.Struct):
    """An LFS file to copy."""

    sha256: str


class CopyBody(msgspec.Struct):
    """Which LFS files another repository should be able to commit."""

    target: CopyTarget
    files: list[CopiedFile]


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

    async def validate_yaml(self, request: Request) -> Response:
        """Accept every model card: what its metadata may say is the Hub's business."""
        await request.read(MAX_CARD_BYTES)
        return json_response({"errors": [], "warnings": []})

    def agent_harnesses(self, _request: Request) -> Response:
        """Answer the first question of every new client process at once."""
        return json_response({"standardEnvVars": [], "harnesses": {}})


class Copies(RepoRoutes):
    """The handler of copies between repositories."""

    async def duplicate(self, request: Request) -> Response:
        """Let another repository use LFS files of this one, so that it can commit them."""
        return await run(self._duplicate, request, await request.json(CopyBody, MAX_JSON_BYTES))

    def _duplicate(self, request: Request, body: CopyBody) -> Response:
        if len(body.files) > MAX_COPIES:
            raise RequestError(f"at most {MAX_COPIES} files can be copied at once", code="too_many_files")
        source = self.readable(request)
        namespace, _, name = body.target.name.partition("/")
        target, _ = self.hub.access.writable(request, body.target.type, namespace, name)
        store = self.hub.store
        files, failed = [], list[dict[str, Any]]()
        for item in body.files:
            found = store.file_by_sha256(source.id, bytes.fromhex(item.sha256)) if is_sha256(item.sha256) else None
            if found is None:
                failed.append({"sha256": item.sha256, "error": "the source repository has no such file"})
            else:
                files.append(found)
        store.add_files(target.id, files)
        return json_response({"failed": failed})


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of this module."""
    misc = Misc(hub)
    yield "GET|HEAD", "/api/whoami-v2", misc.whoami
    yield "POST", "/api/validate-yaml", misc.validate_yaml
    yield "GET|HEAD", "/api/agent-harnesses", misc.agent_harnesses
    for kind in REPO_TYPES:
        of = Copies(hub, kind)
        yield "POST", of.api + "/{namespace}/{name}/lfs-files/duplicate", of.duplicate
