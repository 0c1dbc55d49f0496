"""Finds files of the upstream: which commit, which content, how large. Content itself is `content_source`.

What is known of a commit's file never changes, so it is asked for once. For repositories that not everybody may read
the upstream is asked again after five minutes. What a branch means is asked for each time, except that the parts of
one file read by ranges may rely on an answer some seconds old.

While the upstream is away, a branch means what it last meant, and a path that no listing has is known to be missing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from xetway.errors import NotFoundError
from xetway.http.threads import run
from xetway.hub.names import is_oid, is_sha256
from xetway.mirror.answers import CacheWord
from xetway.mirror.callers import PUBLIC, Caller
from xetway.mirror.counters import Counters
from xetway.mirror.file_table import FileInfo, FileTable, View
from xetway.mirror.flights import Flights
from xetway.mirror.listings import xet_of
from xetway.mirror.names import RepoKey, is_commit, segment
from xetway.mirror.refusals import Refused
from xetway.mirror.storage import Storage
from xetway.mirror.upstream import MAX_REDIRECTS, REDIRECTS, TROUBLE, Answer, Upstream, bad_answer, not_cached
from xetway.mirror.visibility import RECHECK_S, Visibility

# The git blob id and the SHA-256 of nothing: content of no bytes is not looked at again.
_EMPTY = {
    "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
_ETAG = re.compile(r'\s*(?:W/)?"?([^"]*)"?\s*')


class Found(msgspec.Struct, frozen=True):
    """A file, under whose name it was found, and how fresh that is."""

    info: FileInfo
    repo: RepoKey
    view: View
    audience: str
    cache: CacheWord
    age_s: int

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.info.size or 0


class Finder:
    """Finds files."""

    def __init__(
        self,
        upstream: Upstream,
        storage: Storage,
        files: FileTable,
        visibility: Visibility,
        counters: Counters,
        max_stale_s: int,
    ) -> None:
        self._upstream = upstream
        self._storage = storage
        self._files = files
        self._visibility = visibility
        self._counters = counters
        self._max_stale_s = max_stale_s
        self._flights: Flights[Found] = Flights()

    async def find(
        self, caller: Caller, repo: RepoKey, revision: str, path: str, view: View = "resolve", fresh_s: int = 0
    ) -> Found:
        """Find a file that the caller may read. `fresh_s` is how old the meaning of a branch may be.

        Raises:
            Refused: the upstream's no.
            NotFoundError: `entry_not_found`, known without the upstream.
            RequestError: `not_cached` (504) when offline; `bad_upstream_answer` (502).
            ConnectionError: the upstream cannot be reached and nothing is known; or TimeoutError.
        """
        key = (repo, revision, path, view, fresh_s, caller.audience)
        return await self._flights.run(key, lambda: self._find(caller, repo, revision, path, view, fresh_s))

    async def _find(self, caller: Caller, repo: RepoKey, revision: str, path: str, view: View, fresh_s: int) -> Found:
        audience, holds = await self._visibility.guess(repo, caller)
        if not holds and is_commit(revision):
            audience, holds = await self._visibility.audience(repo, caller), True
        known = await self._known(audience, repo, revision, path, view, fresh_s if holds else -1)
        if known is not None and known.cache == "hit" and known.info.size is not None:
            self._counters.add("files", "hit")
            return known
        if self._upstream.offline:
            if known is None:
                self._counters.add("files", "not_cached")
                raise not_cached(f"{path} of {repo.text} at {revision}")
            return self._settled(known)
        if known is not None and self._upstream.is_down and self._is_usable(known):
            return self._settled(msgspec.structs.replace(known, cache="stale"))
        return await self._ask(caller, repo, revision, path, view, known)

    async def _known(
        self, audience: str, repo: RepoKey, revision: str, path: str, view: View, fresh_s: int
    ) -> Found | None:
        """What is known already: a `hit` if that is fresh enough, otherwise `stale`."""

        def look() -> Found | None:
            commit, checked_at = (revision, 0) if is_commit(revision) else ("", 0)
            if not commit:
                ref = self._files.ref(audience, repo, revision)
                if ref is None:
                    return None
                commit, checked_at = ref
            info = self._files.find(audience, repo, commit, view, path)
            if info is None:
                return None
            now = self._storage.now_s()
            fresh = (bool(checked_at) and now - checked_at < fresh_s) or (is_commit(revision) and fresh_s >= 0)
            if audience != PUBLIC:
                fresh = fresh and now - info.checked_at < RECHECK_S
            last = checked_at or info.checked_at
            word: CacheWord = "hit" if fresh else "stale"
            return Found(info, repo, view, audience, word, max(0, now - last) if last else 0)

        return await run(look)

    async def _ask(
        self, caller: Caller, repo: RepoKey, revision: str, path: str, view: View, known: Found | None
    ) -> Found:
        target = f"{repo.page}/{view}/{segment(revision)}/{quote(path)}"
        try:
            audience, (answer, headers) = await asyncio.gather(
                self._visibility.audience(repo, caller), self._head(caller, target, has_kept=known is not None)
            )
        except (ConnectionError, TimeoutError):
            if known is None or not self._is_usable(known):
                raise
            return self._settled(msgspec.structs.replace(known, cache="stale"))
        if answer.status in TROUBLE and known is not None and self._is_usable(known):
            return self._settled(msgspec.structs.replace(known, cache="stale"))
        commit = headers.get("x-repo-commit") or (revision if is_commit(revision) else "")
        if answer.status >= 400:
            refused = Refused(answer)
            self._counters.add("files", "refused")
            if refused.loses_access(is_description=False):
                await self._visibility.refused(repo, caller, answer.status)
                await run(self._storage.forget, caller.audience, repo)
            elif refused.hub_code == "EntryNotFound" and is_oid(commit):
                await self._keep_missing(caller, audience, repo, revision, commit, path, view)
            raise refused
        info = await self._read(commit, path, answer, headers)
        if audience == PUBLIC and _is_news(known, info):
            audience = await self._visibility.audience_of_news(repo, caller)
        # An answer that names no commit, or no content, may be of something in between: it is not kept.
        if info.etag and is_oid(headers.get("x-repo-commit", "")):
            await run(self._keep, audience, repo, revision, view, info)
        self._counters.add("files", "miss")
        return Found(info, repo, view, audience, "miss", 0)

    async def _keep_missing(
        self, caller: Caller, audience: str, repo: RepoKey, revision: str, commit: str, path: str, view: View
    ) -> None:
        if audience == PUBLIC:
            audience = await self._visibility.audience_of_news(repo, caller)
        await run(self._files.keep_missing, audience, repo, view, commit, path)
        if not is_commit(revision):
            await run(self._files.keep_ref, audience, repo, revision, commit)

    def _keep(self, audience: str, repo: RepoKey, revision: str, view: View, info: FileInfo) -> None:
        self._files.keep(audience, repo, view, [info])
        if not is_commit(revision):
            self._files.keep_ref(audience, repo, revision, info.commit)

    async def _head(self, caller: Caller, target: str, *, has_kept: bool) -> tuple[Answer, Mapping[str, str]]:
        """Ask for a file's headers; those of redirects count too, and one to another host is the answer itself."""
        headers: dict[str, str] = {}
        for _ in range(MAX_REDIRECTS):
            answer = await self._upstream.ask(caller, "HEAD", target, has_kept=has_kept, follow=False)
            for name, value in answer.headers.items():
                if value and (name.startswith("x-") or answer.status not in REDIRECTS or name not in headers):
                    headers[name] = value
            inside = None
            if answer.status in REDIRECTS:
                inside = self._upstream.below(answer.headers.get("location", ""), answer.url)
            if inside is None:
                return answer, headers
            target = inside
        raise bad_answer("too many redirects")

    async def _read(self, commit: str, path: str, answer: Answer, headers: Mapping[str, str]) -> FileInfo:
        linked = headers.get("x-linked-etag")
        etag = _tag(linked or headers.get("etag", ""))
        if not etag and "x-repo-commit" not in headers:
            raise bad_answer(f"neither a commit nor an ETag for {path}")
        size_text = headers.get("x-linked-size")
        if size_text is None and answer.status in REDIRECTS and "location" in answer.headers:
            # The file is on another host, which alone knows its size. It gets no token.
            there = await self._upstream.ask_elsewhere(
                "HEAD", answer.headers["location"], (("accept-encoding", "identity"),), base=answer.url
            )
            size_text = there.headers.get("content-length") if there.status == 200 else None
        elif size_text is None:
            size_text = headers.get("content-length")
        if size_text is None or not (size_text.isascii() and size_text.isdigit() and len(size_text) < 19):
            raise bad_answer(f"no size for {path}")
        size = int(size_text)
        if size == 0 and (is_oid(etag) or is_sha256(etag)) and etag not in _EMPTY:
            # Some who stand between leave nothing of the length of an answer without a body.
            raise bad_answer(f"an empty {path} with the digest of another")
        return FileInfo(
            commit,
            path,
            size,
            etag,
            is_linked=linked is not None or "x-linked-size" in headers,
            xet=xet_of(headers.get("x-xet-hash")),
            checked_at=self._storage.now_s(),
        )

    def _settled(self, known: Found) -> Found:
        self._counters.add("files", known.cache)
        if known.info.size is None:
            raise NotFoundError(
                f"Entry not found: {known.info.path} at {known.info.commit}",
                code="entry_not_found",
                hub_code="EntryNotFound",
                headers=(("x-repo-commit", known.info.commit),),
            )
        return known

    def _is_usable(self, known: Found) -> bool:
        return known.age_s <= self._max_stale_s


def _tag(header: str) -> str:
    match = _ETAG.fullmatch(header)
    return "" if match is None else match[1].strip()


def _is_news(known: Found | None, info: FileInfo) -> bool:
    """Whether more is told of a file than everybody was told before."""
    if known is None or known.audience != PUBLIC:
        return True
    return msgspec.structs.replace(known.info, checked_at=info.checked_at) != info
