"""What a Hub's refusal means for the person who asked, in one line with the remedy."""

from __future__ import annotations

import re

import msgspec

from xetway.errors import AuthError, ForbiddenError, NotFoundError, RateLimitedError, RemoteError, XetwayError
from xetway.transfer.names import RepoName
from xetway.transfer.wire import Answer

_MAX_TEXT = 300
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class _Body(msgspec.Struct):
    error: str = ""


def refusal(
    answer: Answer,
    endpoint: str,
    repo: RepoName | None = None,
    *,
    revision: str = "main",
    path: str = "",
    with_token: bool = False,
) -> XetwayError:
    """Translate an answer that is not a success.

    Codes: `repo_not_found`, `revision_not_found`, `entry_not_found`, `gated_repo`, `token_required`, `token_refused`,
    `not_allowed`, `rate_limited`, `hub_refused`.
    """
    hub_code = answer.header("x-error-code")
    refused = _named(answer, endpoint, repo, revision, path, with_token=with_token) if repo is not None else None
    return refused or _unnamed(answer, endpoint, hub_code, with_token=with_token)


def _named(
    answer: Answer, endpoint: str, repo: RepoName, revision: str, path: str, *, with_token: bool
) -> XetwayError | None:
    """What is known of a refusal that is about a repository."""
    hub_code, what = answer.header("x-error-code"), f"{repo.kind} {repo.name}"
    if hub_code == "GatedRepo":
        message = f"the {what} is gated: ask for access at {endpoint}{repo.page}, then set HF_TOKEN to your token"
        return ForbiddenError(message, code="gated_repo", hub_code=hub_code)
    missing = None
    if hub_code == "RevisionNotFound":
        missing = ("revision_not_found", f"the {what} has no revision {revision!r} at {endpoint}")
    elif hub_code == "EntryNotFound":
        missing = ("entry_not_found", f"the {what} has no file {path!r} at revision {revision}")
    elif hub_code == "RepoNotFound" or answer.status == 404:
        hint = "or the token may not read it" if with_token else "or it is private: then set HF_TOKEN"
        missing = ("repo_not_found", f"there is no {what} at {endpoint}, {hint}; check the name and --repo-type")
    return None if missing is None else NotFoundError(missing[1], code=missing[0], hub_code=hub_code)


def _unnamed(answer: Answer, endpoint: str, hub_code: str | None, *, with_token: bool) -> XetwayError:
    said = _said(answer)
    request_id = answer.header("x-request-id") or answer.header("x-amzn-trace-id")
    if answer.status == 401 and with_token:
        message = f"{endpoint} does not accept the token (HF_TOKEN, or what `hf auth login` stored): {said}"
        return AuthError(message, code="token_refused")
    if answer.status == 401:
        return AuthError(f"{endpoint} wants a token for this: set HF_TOKEN ({said})", code="token_required")
    if answer.status == 403:
        remedy = "set HF_TOKEN to one that may" if with_token else "set HF_TOKEN"
        message = f"{endpoint} does not allow this: {said}; {remedy}"
        return ForbiddenError(message, code="not_allowed", hub_code=hub_code)
    if answer.status == 429:
        wait = answer.header("retry-after") or ""
        wait_s = int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 10 else None
        return RateLimitedError(
            f"{endpoint} wants fewer requests{'' if wait_s is None else f'; try again in {wait_s} s'}: {said}",
            code="rate_limited",
            remote_status=429,
            request_id=request_id,
            retryable=True,
            retry_after_s=wait_s,
        )
    if answer.status == 400 and endpoint.startswith("http:") and b"HTTPS" in answer.body:
        said = "it speaks TLS there: should its address begin with https://?"
    return RemoteError(
        f"{endpoint} answered {answer.status}: {said}",
        code="hub_refused",
        remote_status=answer.status,
        request_id=request_id,
        retryable=answer.status >= 500,
        hub_code=hub_code,
    )


def _said(answer: Answer) -> str:
    """The server's own words, as one printable line."""
    text = answer.header("x-error-message") or ""
    if not text:
        try:
            text = msgspec.json.decode(answer.body, type=_Body).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            text = ""
    return _UNPRINTABLE.sub(" ", text).strip()[:_MAX_TEXT] or "it gave no reason"
