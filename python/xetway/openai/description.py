"""The description of the gateway at /openapi.json, for people and for programs that make clients.

Made of the types that bodies are read into and answers are written from. Of a request to a model it has the fields that
are read here; all others pass, and what the answer holds is the upstream's business.

Source: https://spec.openapis.org/oas/v3.1.1.html.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property
from http import HTTPStatus
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from xetway import __version__
from xetway.http.ranges import Whole, select
from xetway.http.request import Request
from xetway.http.response import Response, empty
from xetway.openai import paths
from xetway.openai.admin import NewKey, WhatToClear
from xetway.openai.body import Head
from xetway.openai.catalog import ModelList, ModelObject
from xetway.openai.errors import ErrorBody
from xetway.openai.status import QueueStats, Readiness, Status
from xetway.policy.key_object import Done, GeneratedKey, KeyList
from xetway.settings.gateway import Auth
from xetway.web.pages import Health

Json: TypeAlias = dict[str, Any]
Who: TypeAlias = Literal["infer", "admin"]

JSON, FORM, PARTS = "application/json", "application/x-www-form-urlencoded", "multipart/form-data"
EVENTS, METRICS = "text/event-stream", "text/plain"
_AS_JSON = msgspec.json.Encoder(order="deterministic")
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
_ANYTHING: Json = {"description": "What the upstream answers."}
_PARAMETERS = {
    "model": "A model's name, alias or number.",
    "key_id": "What /admin/keys/list calls key_id.",
    "rest": "The rest of a path, which may have slashes.",
}
_REQUEST_ID: Json = {"description": "The request's id, as given or made up.", "schema": {"type": "string"}}
_RETRY_AFTER: Json = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
_FORWARDED = {
    "audio/transcriptions": "Write down what is said",
    "chat/completions": "Answer a conversation",
    "completions": "Go on with a text",
    "embeddings": "Turn texts into vectors",
    "messages": "Answer a conversation, in the form of Anthropic's API",
    "moderations": "Say what is wrong with a text",
    "rerank": "Order documents by what they say to a question",
    "responses": "Answer, in the form of the Responses API",
}
_STREAMED = frozenset({"audio/transcriptions", "chat/completions", "completions", "messages", "responses"})
_OF_PARTS = frozenset({"audio/transcriptions", "audio/translations", "images/edits", "images/variations"})
# What any key may be told; what any request to a model may be told.
_REFUSALS = (401, 403)
_FAILURES = (400, 401, 403, 404, 408, 413, 415, 429, 500, 502, 503, 504)


class ModelRequest(Head):
    """A request to a model: the fields that are read here. All others are forwarded as they are."""


class Operation(Struct, frozen=True):
    """What one method of one path does. `takes` and `gives` are bodies by their media type."""

    method: str
    path: str
    summary: str
    gives: dict[str, Any]
    takes: dict[str, Any] = {}
    who: Who = "infer"
    refusals: tuple[int, ...] = _REFUSALS


OPERATIONS = (
    Operation("get", "/v1/models", "List the models that the key may use", {JSON: ModelList}),
    Operation("get", "/v1/models/{model}", "Describe a model", {JSON: ModelObject}, refusals=(*_REFUSALS, 404)),
    Operation("get", "/health", "Say that the server answers", {JSON: Health}),
    Operation("get", "/health/live", "Say that the server answers", {JSON: Readiness}),
    Operation("get", "/health/ready", "Say whether a model can be used", {JSON: Readiness}),
    Operation("get", "/ready", "Say whether a model can be used", {JSON: Readiness}),
    Operation("get", "/status", "Tell how each model's upstreams are", {JSON: Status}),
    Operation("get", "/metrics", "Give numbers as Prometheus reads them", {METRICS: str}),
    Operation("get", "/openapi.json", "Describe all of this", {JSON: None}),
    Operation(
        "post", "/admin/keys/generate", "Make a key", {JSON: GeneratedKey}, {JSON: NewKey, FORM: NewKey}, "admin",
        (400, *_REFUSALS),
    ),
    Operation("get", "/admin/keys/list", "List all keys", {JSON: KeyList}, who="admin"),
    Operation(
        "post", "/admin/keys/{key_id}/revoke", "Revoke a key", {JSON: Done}, who="admin", refusals=(*_REFUSALS, 404)
    ),
    Operation("get", "/admin/queue/stats", "Count who waits", {JSON: QueueStats}, who="admin"),
    Operation(
        "post", "/admin/cache/clear", "Forget cached answers", {JSON: Done}, {JSON: WhatToClear, FORM: WhatToClear},
        "admin", (400, *_REFUSALS, 404),
    ),
    Operation("post", "/admin/breakers/reset", "Try upstreams that failed again", {JSON: Done}, who="admin"),
)  # fmt: skip


def _forwarded(pattern: str) -> Operation:
    """What is known of a path that is forwarded."""
    path = pattern.removeprefix("/v1/")
    summary = _FORWARDED.get(path, "Ask the model's upstream")
    gives = {JSON: None, EVENTS: None} if path in _STREAMED else {JSON: None}
    takes = {PARTS if path in _OF_PARTS else JSON: ModelRequest}
    return Operation("post", pattern.replace("...}", "}"), summary, gives, takes, "infer", _FAILURES)


class Description:
    """The document for a gateway; made when it is first asked for.

    Args:
        auth: Who needs a key, and where.
        more_paths: What is forwarded besides the paths that `paths` knows.
    """

    def __init__(self, auth: Auth, more_paths: tuple[str, ...] = ()) -> None:
        self._auth = auth
        self._more_paths = more_paths

    @cached_property
    def body(self) -> bytes:
        """The document."""
        return _AS_JSON.encode(document(self._auth, self._more_paths))

    @cached_property
    def etag(self) -> str:
        """What changes when it changes."""
        return hashlib.sha256(self.body).hexdigest()[:32]

    def answer(self, request: Request) -> Response:
        """Answer a GET for it."""
        headers = [("etag", f'"{self.etag}"'), ("cache-control", "no-cache")]
        if select(request.method, request.headers, size=len(self.body), etag=self.etag) is Whole.NOT_MODIFIED:
            return empty(304, headers)
        return Response(200, [("content-type", JSON), *headers], self.body)


def document(auth: Auth, more_paths: tuple[str, ...] = ()) -> Json:
    """Describe all operations."""
    operations = [*map(_forwarded, paths.patterns(more_paths)), *OPERATIONS]
    bodies = [kind for operation in operations for kind in (*operation.takes.values(), *operation.gives.values())]
    types = [kind for kind in bodies if kind is not None]
    types.append(ErrorBody)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    known = dict(zip(types, schemas, strict=True))
    for component in components.values():
        component["description"] = component.get("description", "").partition("\n")[0]
    described: dict[str, Json] = {}
    for operation in operations:
        described.setdefault(operation.path, {})[operation.method] = _operation(operation, auth, known)
    statuses = {status for operation in operations for status in operation.refusals}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "xetway",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": _security("infer", auth),
        "paths": described,
        "components": {
            "schemas": components,
            "responses": {str(status): _refusal(status, known[ErrorBody]) for status in sorted(statuses)},
            "securitySchemes": _SCHEMES,
        },
    }


def _operation(operation: Operation, auth: Auth, known: dict[Any, Json]) -> Json:
    headers = {"x-request-id": _REQUEST_ID}
    found: Json = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "security": [] if operation.path in auth.public else _security(operation.who, auth),
        "responses": {
            "200": {"description": "Done.", "headers": headers, "content": _bodies(operation.gives, known)},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in operation.refusals},
        },
    }
    if operation.path.endswith("/ready"):
        found["responses"]["503"] = {**found["responses"]["200"], "description": "None can be used."}
    if operation.takes:
        found["requestBody"] = {"required": True, "content": _bodies(operation.takes, known)}
    names = [part[1:-1] for part in operation.path.split("/") if part.startswith("{")]
    if names:
        found["parameters"] = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": _PARAMETERS[name],
                "schema": {"type": "string"},
            }
            for name in names
        ]
    return found


def _bodies(kinds: dict[str, Any], known: dict[Any, Json]) -> Json:
    return {media: {"schema": known.get(kind, _ANYTHING)} for media, kind in kinds.items()}


def _refusal(status: int, schema: Json) -> Json:
    headers = {"x-request-id": _REQUEST_ID, **({"retry-after": _RETRY_AFTER} if status in {429, 503} else {})}
    return {"description": HTTPStatus(status).phrase, "headers": headers, "content": {JSON: {"schema": schema}}}


def _security(who: Who, auth: Auth) -> list[Json]:
    keys: Iterable[Json] = ({name: []} for name in _SCHEMES)
    return [*keys, *([] if auth.enabled or who == "admin" else [{}])]


def _name(operation: Operation) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in operation.path.removeprefix("/v1"))
    return "_".join((operation.method, *words.split()))
