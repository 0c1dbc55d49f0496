"""The Hub's JSON interface as a client sees it: revisions, listings, tokens for content, commits.

Names and answers only. No file's content is fetched here, and nothing is remembered between calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from xetway.errors import FormatError, NotFoundError
from xetway.transfer.names import RepoName, check_revision, segment
from xetway.transfer.refusals import refusal
from xetway.transfer.wire import Answer, Digest, Headers, TokenRoute, Wire

T = TypeVar("T")

READ_ATTEMPTS = 5
READ_TIMEOUT_S = 60.0
COMMIT_TIMEOUT_S = 600.0
PREUPLOAD_FILES = 256
_PATHS_AT_ONCE = 500
_MAX_PAGES = 10_000
_HEX_40 = re.compile(r"[0-9a-f]{40}")
_HEX_64 = re.compile(r"[0-9a-f]{64}")
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


class RemoteFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a revision, as its listing has it."""

    path: str
    size: int
    # git's id of the blob: of the content, or of the pointer for an LFS file.
    oid: str
    sha256: str | None = None
    xet_hash: str | None = None

    @property
    def etag(self) -> str:
        """What Hub clients name the content by: SHA-256 of an LFS file, git's blob id otherwise."""
        return self.sha256 or self.oid

    @property
    def digest(self) -> Digest:
        """What the content is proven by when it comes as plain bytes."""
        if self.sha256 is not None:
            return Digest("sha256", bytes.fromhex(self.sha256))
        return Digest("git-sha1", bytes.fromhex(self.oid))


class UploadMode(msgspec.Struct, frozen=True, rename="camel"):
    """How the Hub wants a file: `lfs` or `regular`, and the etag of what is there now."""

    path: str
    upload_mode: str
    should_ignore: bool = False
    oid: str | None = None


class Committed(msgspec.Struct, frozen=True, rename="camel"):
    """The answer to a commit."""

    commit_url: str
    commit_oid: str
    pull_request_url: str | None = None


class _Lfs(msgspec.Struct):
    oid: str
    size: int


class _Entry(msgspec.Struct):
    type: str
    path: str
    oid: str = ""
    size: int = 0
    lfs: _Lfs | None = None
    xet_hash: str | None = msgspec.field(default=None, name="xetHash")


class _Info(msgspec.Struct):
    sha: str


class _Url(msgspec.Struct):
    url: str


class _Modes(msgspec.Struct):
    files: list[UploadMode]


class HubClient:
    """One Hub, one token, one wire. Safe to use from any task of one loop."""

    def __init__(self, wire: Wire, endpoint: str, token: str | None) -> None:
        self.wire = wire
        self.endpoint = endpoint
        self._token = token

    @property
    def headers(self) -> Headers:
        """The headers that say who asks. For this endpoint only."""
        return () if self._token is None else (("authorization", f"Bearer {self._token}"),)

    # reading

    async def commit_of(self, repo: RepoName, revision: str) -> str:
        """The commit (40 hex digits) that a revision is now.

        Raises:
            NotFoundError: `repo_not_found` or `revision_not_found`.
            AuthError: `token_required`, `token_refused`; ForbiddenError: `gated_repo`, `not_allowed`.
        """
        path = f"{repo.api}/revision/{segment(check_revision(revision))}"
        info = self._decode(await self._get(path, repo, revision), _Info)
        if not _HEX_40.fullmatch(info.sha):
            raise _unusable(self.endpoint, "a commit that is not 40 hex digits")
        return info.sha

    async def tree(self, repo: RepoName, commit: str) -> list[RemoteFile]:
        """All files of a commit, every page of the listing."""
        url = f"{repo.api}/tree/{commit}?recursive=true&expand=false"
        files: list[RemoteFile] = []
        for _ in range(_MAX_PAGES):
            answer = await self._get(url, repo, commit)
            files += _files(self._decode(answer, list[_Entry]), self.endpoint)
            following = _NEXT.search(answer.header("link") or "")
            if following is None:
                return files
            # The token goes to our endpoint alone, whatever host a page names as the next one's.
            url = self._page_path(answer.url, following[1])
        raise _unusable(self.endpoint, "a listing without end")

    def _page_path(self, base: str, link: str) -> str:
        """What of a link goes below our endpoint; what has no slash first would become a part of a host's name."""
        try:
            parts = urlsplit(urljoin(base, link))
        except ValueError:
            raise _unusable(self.endpoint, "a link to nowhere") from None
        path = parts.path.removeprefix(urlsplit(self.endpoint).path)
        if not path.startswith("/"):
            raise _unusable(self.endpoint, "a link to nowhere")
        return f"{path}?{parts.query}"

    async def files(self, repo: RepoName, commit: str, paths: Sequence[str]) -> list[RemoteFile]:
        """These files of a commit.

        Raises:
            NotFoundError: `entry_not_found`, if one is not there or is a folder.
        """
        found: dict[str, RemoteFile] = {}
        folders: set[str] = set()
        for first in range(0, len(paths), _PATHS_AT_ONCE):
            body = urlencode(
                [*(("paths", path) for path in paths[first : first + _PATHS_AT_ONCE]), ("expand", "false")]
            )
            answer = await self.wire.request(
                "POST",
                f"{self.endpoint}{repo.api}/paths-info/{commit}",
                [*self.headers, ("content-type", "application/x-www-form-urlencoded")],
                body.encode("ascii"),
                attempts=READ_ATTEMPTS,
                timeout_s=READ_TIMEOUT_S,
            )
            entries = self._decode(self._checked(answer, repo, commit), list[_Entry])
            folders |= {entry.path for entry in entries if entry.type == "directory"}
            found |= {file.path: file for file in _files(entries, self.endpoint)}
        for path in paths:
            if path not in found:
                why = f"; it is a folder: --include '{path}/*' takes all in it" if path in folders else ""
                raise NotFoundError(
                    f"the {repo.kind} {repo.name} has no file {path!r} at revision {commit[:12]}{why}",
                    code="entry_not_found",
                    hub_code="EntryNotFound",
                )
        return [found[path] for path in paths]

    def content_url(self, repo: RepoName, commit: str, path: str) -> str:
        """Where a file is as plain bytes."""
        return f"{self.endpoint}{repo.page}/resolve/{segment(commit)}/{quote(path)}"

    def read_tokens(self, repo: RepoName, revision: str) -> TokenRoute:
        """Where tokens that read the repository's content come from."""
        return TokenRoute(f"{self.endpoint}{repo.api}/xet-read-token/{segment(revision)}", self.headers)

    # writing

    async def create(self, repo: RepoName, *, private: bool | None, sdk: str | None = None) -> bool:
        """Create the repository; False if it was there.

        Raises:
            AuthError: `token_required` or `token_refused`; ForbiddenError: `not_allowed`.
        """
        namespace, _, name = repo.name.rpartition("/")
        body: dict[str, Any] = {"name": name, "organization": namespace or None, "type": repo.kind}
        if private is not None:
            body |= {"private": private, "visibility": "private" if private else "public"}
        if sdk is not None:
            body["sdk"] = sdk
        answer = await self._post("/api/repos/create", msgspec.json.encode(body))
        if answer.status == 409:
            return False
        if answer.status in {401, 403}:
            # Some tokens may write a repository that is there and create none.
            seen = await self.wire.request("GET", f"{self.endpoint}{repo.api}", self.headers, attempts=READ_ATTEMPTS)
            if seen.status == 200:
                return False
        self._checked(answer, None, "main")
        return True

    async def preupload(
        self, repo: RepoName, revision: str, files: Sequence[dict[str, Any]], ignore: str | None, *, create_pr: bool
    ) -> list[UploadMode]:
        """Ask how each file is wanted; at most PREUPLOAD_FILES of them, as `{path, sample (base64), size}`."""
        body: dict[str, Any] = {"files": files}
        if ignore is not None:
            body["gitIgnore"] = ignore
        path = f"{repo.api}/preupload/{segment(revision)}{'?create_pr=1' if create_pr else ''}"
        answer = await self._post(path, msgspec.json.encode(body), attempts=READ_ATTEMPTS)
        return self._decode(self._checked(answer, repo, revision), _Modes).files

    def write_tokens(self, repo: RepoName, revision: str, *, create_pr: bool) -> TokenRoute:
        """Where tokens that store content for the repository come from."""
        path = f"{repo.api}/xet-write-token/{segment(revision)}{'?create_pr=1' if create_pr else ''}"
        return TokenRoute(f"{self.endpoint}{path}", self.headers)

    async def commit(self, repo: RepoName, revision: str, lines: Iterable[bytes], *, create_pr: bool) -> Committed:
        """Make a commit of NDJSON lines. Sent once: a commit that may have been made is not repeated."""
        path = f"{repo.api}/commit/{segment(revision)}{'?create_pr=1' if create_pr else ''}"
        answer = await self._post(
            path, b"\n".join(lines) + b"\n", kind="application/x-ndjson", timeout_s=COMMIT_TIMEOUT_S
        )
        return self._decode(self._checked(answer, repo, revision), Committed)

    # asking

    async def _get(self, path: str, repo: RepoName, revision: str) -> Answer:
        answer = await self.wire.request(
            "GET", f"{self.endpoint}{path}", self.headers, attempts=READ_ATTEMPTS, timeout_s=READ_TIMEOUT_S
        )
        return self._checked(answer, repo, revision)

    async def _post(
        self, path: str, body: bytes, *, kind: str = "application/json", attempts: int = 1, timeout_s: float = 120.0
    ) -> Answer:
        headers = [*self.headers, ("content-type", kind)]
        return await self.wire.request(
            "POST", f"{self.endpoint}{path}", headers, body, attempts=attempts, timeout_s=timeout_s
        )

    def _checked(self, answer: Answer, repo: RepoName | None, revision: str) -> Answer:
        if not 200 <= answer.status < 300:
            raise refusal(answer, self.endpoint, repo, revision=revision, with_token=self._token is not None)
        return answer

    def _decode(self, answer: Answer, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise _unusable(self.endpoint, f"an answer that a Hub does not give ({error})") from None


def _files(entries: Iterable[_Entry], endpoint: str) -> list[RemoteFile]:
    """The files among the entries, ids checked: they become file names here."""
    files = []
    for entry in entries:
        if entry.type != "file":
            continue
        sha256 = None if entry.lfs is None else entry.lfs.oid
        if (
            not _HEX_40.fullmatch(entry.oid)
            or (sha256 is not None and not _HEX_64.fullmatch(sha256))
            or entry.size < 0
            or (entry.lfs is not None and entry.lfs.size < 0)
        ):
            raise _unusable(endpoint, "a listing with malformed ids or sizes")
        # For a gated repository that the token does not open, the hash is 64 asterisks.
        known = entry.xet_hash if entry.xet_hash and _HEX_64.fullmatch(entry.xet_hash) else None
        size = entry.size if entry.lfs is None else entry.lfs.size
        files.append(RemoteFile(path=entry.path, size=size, oid=entry.oid, sha256=sha256, xet_hash=known))
    return files


def _unusable(endpoint: str, what: str) -> FormatError:
    return FormatError(
        f"{endpoint} gave {what}; is it a Hub, and is there a login page or proxy in between?",
        code="bad_hub_answer",
        format="Hub answer",
    )
