"""Refusals and troubles of the upstream, as this server's clients get them.

Clients act on the status, `X-Error-Code`, `X-Error-Message` and `Retry-After`, so those are passed on as they are, and
the body with them if it is short. They are never kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from xetway.errors import RequestError, XetwayError
from xetway.http.response import Response
from xetway.mirror.upstream import Answer

_MAX_BODY_BYTES = 64 * 1024
_PASSED_ON = (
    "x-error-code",
    "x-error-message",
    "x-repo-commit",
    "x-hf-warning",
    "retry-after",
    "ratelimit",
    "ratelimit-policy",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "content-type",
    "www-authenticate",
)
# Of these, an answer that is not kept may pass on the limits.
_LIMITS = ("ratelimit", "ratelimit-policy", "x-hf-warning")


class Refused(Exception):  # noqa: N818  (it is an answer, not an error)
    """The upstream's answer to a question was no."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"the upstream answered {answer.status}")
        self.answer = answer

    @property
    def hub_code(self) -> str | None:
        """The upstream's code for it."""
        return self.answer.headers.get("x-error-code")

    def loses_access(self, *, is_description: bool) -> bool:
        """Whether it says that the caller may not, or may no longer, read the repository.

        A 404 without a code says so only of the repository's own address.
        """
        if self.answer.status in {401, 403, 410, 451}:
            return True
        codes = {"RepoNotFound", "GatedRepo", None} if is_description else {"RepoNotFound", "GatedRepo"}
        return self.answer.status == 404 and self.hub_code in codes

    def response(self) -> Response:
        """The answer for the client."""
        answer = self.answer
        headers = [(name, answer.headers[name]) for name in _PASSED_ON if name in answer.headers]
        if "x-error-message" not in answer.headers and answer.status >= 500:
            headers.append(("x-error-message", f"the upstream hub answered {answer.status}"))
        body = answer.body if len(answer.body) <= _MAX_BODY_BYTES else b""
        return Response(answer.status, [*headers, ("x-xetway-cache", "miss")], body)


def limits_of(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """The headers that tell a client how much more it may ask."""
    return [(name, headers[name]) for name in _LIMITS if name in headers]


def unreachable(error: BaseException) -> XetwayError:
    """The error for a client when the upstream gave no answer and nothing is kept."""
    if isinstance(error, XetwayError):
        return error
    return RequestError("the upstream hub cannot be reached", code="upstream_unreachable", status=502)
