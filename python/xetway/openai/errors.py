"""Errors as OpenAI clients read them: `{"error": {"message", "type", "param", "code"}}`.

The status and the code are those of the error tree; `type` is the word that the clients' libraries know.

Source: https://platform.openai.com/docs/guides/error-codes/api-errors.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from xetway.errors import LimitedError, XetwayError
from xetway.http.response import Response

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "service_unavailable",
}


class ErrorObject(Struct, frozen=True):
    """What is told about a failure."""

    message: str
    type: str
    code: str
    param: str | None = None


class ErrorBody(Struct, frozen=True):
    """The body of an error."""

    error: ErrorObject


def kind(status: int) -> str:
    """The `type` that goes with a status."""
    return _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")


def body(error: XetwayError) -> bytes:
    """Encode an error."""
    param = "model" if error.code in {"model_not_found", "missing_model"} else None
    # Of a limit it is said what of.
    word = error.kind if isinstance(error, LimitedError) else kind(error.status)
    return msgspec.json.encode(ErrorBody(ErrorObject(error.message, word, error.code, param)))


def event(error: XetwayError) -> bytes:
    """An error inside a stream that has begun, as the last event; no `[DONE]` follows."""
    return b"data: " + body(error) + b"\n\n"


def response(error: XetwayError) -> Response:
    """The answer to a request that failed before anything was sent."""
    headers = [("content-type", "application/json"), *getattr(error, "headers", ())]
    return Response(error.status, headers, body(error))
