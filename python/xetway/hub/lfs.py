"""LFS objects for clients without xet: signed addresses, and the batch answer that hands them out.

Source: git-lfs ``docs/api/batch.md`` (transfer ``basic``), and the transfer ``xet`` by which Hub clients learn that
they should upload through the content store instead.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from xetway.cas.signing import check_right, installation_key
from xetway.cas.store import ContentStore
from xetway.db import Database
from xetway.errors import ForbiddenError, RequestError
from xetway.hub.names import is_sha256

Action = Literal["upload", "download", "verify"]

URL_LIFE_S = 24 * 3600
MAX_OBJECTS = 1_000
JSON_HEADERS = (("content-type", "application/vnd.git-lfs+json"),)


class LfsObject(msgspec.Struct, frozen=True):
    """An object by SHA-256 (hex) and size."""

    oid: str
    size: int


class BatchRequest(msgspec.Struct, frozen=True):
    """What a client wants to do with which objects."""

    operation: Literal["upload", "download"]
    objects: list[LfsObject]
    transfers: tuple[str, ...] = ("basic",)


class LfsAction(msgspec.Struct, frozen=True):
    """Where to go for one action."""

    href: str
    expires_in: int = URL_LIFE_S


class LfsError(msgspec.Struct, frozen=True):
    """Why an object cannot be had."""

    code: int
    message: str


class LfsAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The answer for one object; neither actions nor an error means that it is there already."""

    oid: str
    size: int
    # Keeps git-lfs from asking for a password; the addresses are signed.
    authenticated: bool
    actions: dict[str, LfsAction] | None = None
    error: LfsError | None = None


class BatchAnswer(msgspec.Struct, frozen=True):
    """The answer to a batch request."""

    transfer: str
    objects: list[LfsAnswer]
    hash_algo: str = "sha256"


class LfsUrls:
    """Signs addresses for one action on one object of one repository."""

    def __init__(self, db: Database, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._key = installation_key(db, "lfs-url")
        self._now = now

    def make(self, action: Action, repo_id: int, token_id: int, item: LfsObject) -> str:
        """Return path and query of the address; it works for a day, or until the Hub token is revoked."""
        expires = int(self._now()) + URL_LIFE_S
        signature = self._signature(action, repo_id, token_id, item, expires)
        return f"/lfs-objects/{action}/{repo_id}/{item.oid}?n={item.size}&t={token_id}&e={expires}&s={signature}"

    def check(
        self, action: Action, params: dict[str, str], query: Callable[[str], str | None]
    ) -> tuple[int, LfsObject]:
        """Return the repository and the object that an address is for.

        Raises:
            ForbiddenError: `bad_signature` or `expired_url`.
            AuthError: `right_withdrawn`.
        """
        numbers = (params["repo"], query("t") or "", query("n") or "", query("e") or "")
        if not all(text.isascii() and text.isdigit() and len(text) < 19 for text in numbers):
            raise ForbiddenError("this address is not signed", code="bad_signature")
        repo_id, token_id, size, expires = map(int, numbers)
        item = LfsObject(params["oid"], size)
        if not hmac.compare_digest(
            (query("s") or "").encode(), self._signature(action, repo_id, token_id, item, expires).encode()
        ):
            raise ForbiddenError("the signature of this address is wrong", code="bad_signature")
        if expires < self._now():
            raise ForbiddenError("this address has expired; ask for the batch again", code="expired_url")
        check_right(self._db, repo_id, token_id)
        return repo_id, item

    def _signature(self, action: Action, repo_id: int, token_id: int, item: LfsObject, expires: int) -> str:
        message = f"lfs\0{action} {repo_id} {token_id} {item.oid} {item.size} {expires}".encode()
        digest = hmac.new(self._key, message, hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest[:24]).decode("ascii")


def answer_batch(
    store: ContentStore, urls: LfsUrls, repo_id: int, token_id: int, request: BatchRequest, *, base_url: str, xet: bool
) -> BatchAnswer:
    """Answer a batch request; `xet` says whether this client may be sent to the content store.

    Raises:
        RequestError: `bad_lfs_batch`.
    """
    valid = all(is_sha256(item.oid) and 0 <= item.size < 1 << 50 for item in request.objects)
    if not valid or len(request.objects) > MAX_OBJECTS:
        raise RequestError(
            f"a batch has at most {MAX_OBJECTS} objects, each with a SHA-256 in lower case and a size",
            code="bad_lfs_batch",
        )
    answers = []
    for item in request.objects:
        file = store.file_by_sha256(repo_id, bytes.fromhex(item.oid))
        known = file is not None and file.size == item.size
        wanted: tuple[Action, ...] = ()
        if request.operation == "download" and known:
            wanted = ("download",)
        elif request.operation == "upload" and not known:
            wanted = ("upload", "verify")
        missing = request.operation == "download" and not known
        answers.append(
            LfsAnswer(
                item.oid,
                item.size,
                True,
                {action: LfsAction(base_url + urls.make(action, repo_id, token_id, item)) for action in wanted} or None,
                LfsError(404, "the repository has no such object") if missing else None,
            )
        )
    upload = request.operation == "upload" and any(answer.actions for answer in answers)
    return BatchAnswer("xet" if xet and upload else "basic", answers)
