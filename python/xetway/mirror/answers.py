"""The upstream's answers to questions about repositories, kept and asked for again as little as they allow.

* What a commit (40 hex digits) is asked about never changes. For repositories that not everybody may read, the
  upstream is still asked every five minutes whether the caller may.
* All else is asked for each time, with the ETag of what is kept, so that the upstream can say "unchanged".
* When the upstream cannot be reached, is in trouble, or has enough of us (429), what is kept is served, up to
  `max_stale_s` after it was last confirmed. Offline, it is served however old.
* Refusals are passed on and not kept; those that end a caller's access also end what was kept for it.

Answers are whole, in memory, and at most 64 MiB.
"""

from __future__ import annotations

import logging
from typing import Any, Literal, TypeAlias

import msgspec

from xetway.http.threads import run
from xetway.mirror.callers import PUBLIC, Caller
from xetway.mirror.counters import Counters
from xetway.mirror.file_table import FileTable
from xetway.mirror.flights import Flights
from xetway.mirror.listings import About, files_of, is_sound, without_stars
from xetway.mirror.names import RepoKey, is_commit
from xetway.mirror.refusals import Refused
from xetway.mirror.storage import Kept, Storage, answer_key
from xetway.mirror.upstream import TROUBLE, Answer, Upstream, bad_answer, not_cached
from xetway.mirror.visibility import RECHECK_S, Visibility

logger = logging.getLogger("xetway")

CacheWord: TypeAlias = Literal["hit", "miss", "revalidated", "stale"]
_KEPT_HEADERS = ("content-type", "etag", "x-repo-commit", "link", "x-total-count")


class Question(msgspec.Struct, frozen=True):
    """What to ask the upstream.

    `target` is a path and query below its address. `about` says what the answer is read for besides being passed on:
    a repository's description, or a listing of the files of `revision`, which is all of them if `lists_all`.
    """

    target: str
    repo: RepoKey | None = None
    revision: str | None = None
    about: About = "nothing"
    method: Literal["GET", "POST"] = "GET"
    body: bytes = b""
    content_type: str = ""
    lists_all: bool = False
    varies: bool = False

    @property
    def is_immutable(self) -> bool:
        """Whether the answer can never change."""
        return self.revision is not None and is_commit(self.revision) and not self.varies

    def key(self, audience: str) -> bytes:
        """What its answer for an audience is kept under: all that the upstream is sent."""
        body = self.body if self.method == "GET" else self.content_type.encode() + b"\n" + self.body
        return answer_key(audience, self.method, self.target, body)


class Answered(msgspec.Struct, frozen=True):
    """An answer, where it came from, and how long ago the upstream confirmed it."""

    headers: dict[str, str]
    body: bytes
    cache: CacheWord
    age_s: int
    audience: str


class Answers:
    """Asks, keeps, and finds again."""

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
        self._flights: Flights[Answered] = Flights()

    async def get(self, question: Question, caller: Caller) -> Answered:
        """Return the answer to a question as `caller` may have it.

        Raises:
            Refused: the upstream's no.
            RequestError: `not_cached` (504) when offline.
            ConnectionError: the upstream cannot be reached and nothing is kept; or TimeoutError.
        """
        return await self._flights.run((question, caller.audience), lambda: self._get(question, caller))

    async def _get(self, question: Question, caller: Caller) -> Answered:
        repo = question.repo
        if repo is not None and question.about == "description":
            # The answer itself says who may have it.
            audience, holds = await self._visibility.guess(repo, caller)
        else:
            audience, holds = await self._visibility.audience(repo, caller), True
        key = question.key(audience)
        kept = await run(self._storage.answer, key)
        if kept is not None and holds and self._is_fresh(question, kept, caller, audience):
            return self._served(kept, "hit", audience)
        if kept is not None and self._upstream.offline:
            return self._served(kept, "stale", audience)
        if self._upstream.offline:
            self._counters.add("answers", "not_cached")
            raise not_cached(f"{question.method} {question.target.partition('?')[0]}")
        if kept is not None and self._upstream.is_down and self._is_usable(kept):
            return self._served(kept, "stale", audience)
        return await self._ask(question, caller, key, kept, audience)

    async def _ask(self, question: Question, caller: Caller, key: bytes, kept: Kept | None, audience: str) -> Answered:
        headers = [("content-type", question.content_type)] if question.content_type else []
        if kept is not None and kept.etag is not None:
            headers.append(("if-none-match", kept.etag))
        try:
            answer = await self._upstream.ask(
                caller,
                question.method,
                question.target,
                body=question.body,
                headers=tuple(headers),
                has_kept=kept is not None,
            )
        except (ConnectionError, TimeoutError) as error:
            if kept is None or not self._is_usable(kept):
                raise
            logger.warning("the upstream cannot be reached, serving what is kept: %s", error)
            return self._served(kept, "stale", audience)
        if answer.status == 304 and kept is not None:
            await run(self._storage.confirm, key)
            if question.repo is not None and question.about == "description":
                await self._visibility.learn(question.repo, kept.body)
            now = msgspec.structs.replace(kept, checked_at=self._storage.now_s())
            return self._served(now, "revalidated", audience)
        if answer.status != 200:
            return await self._other(question, caller, kept, audience, answer)
        is_read = question.about != "nothing" or question.is_immutable
        if is_read and not await run(is_sound, question.about, answer.body):
            if kept is None or not self._is_usable(kept):
                raise bad_answer(f"what it gave for {question.target.partition('?')[0]} is not a Hub's")
            logger.warning("the upstream's answer cannot be used, serving what is kept")
            return self._served(kept, "stale", audience)
        return await self._keep(question, caller, audience, answer)

    async def _other(
        self, question: Question, caller: Caller, kept: Kept | None, audience: str, answer: Answer
    ) -> Answered:
        if answer.status in TROUBLE and kept is not None and self._is_usable(kept):
            logger.warning("the upstream answered %d, serving what is kept", answer.status)
            return self._served(kept, "stale", audience)
        if answer.status < 400:
            raise bad_answer(f"a {answer.status} leads elsewhere")
        refused = Refused(answer)
        self._counters.add("answers", "refused")
        if question.repo is not None and refused.loses_access(is_description=question.about == "description"):
            await self._visibility.refused(question.repo, caller, answer.status)
            await run(self._storage.forget, caller.audience, question.repo)
        raise refused

    async def _keep(self, question: Question, caller: Caller, audience: str, answer: Answer) -> Answered:
        body, repo = answer.body, question.repo
        if question.about == "description" and repo is not None and await self._visibility.learn(repo, body):
            audience, _ = await self._visibility.guess(repo, caller)
        elif repo is not None and audience == PUBLIC:
            audience = await self._visibility.audience_of_news(repo, caller)
        if question.about == "listing":
            body = await run(without_stars, body)
        headers = {name: answer.headers[name] for name in _KEPT_HEADERS if name in answer.headers}
        kept = Kept(headers, body, answer.headers.get("etag"), self._storage.now_s())
        key = question.key(audience)
        await run(self._store, question, key, audience, kept)
        return self._served(kept, "miss", audience)

    def _store(self, question: Question, key: bytes, audience: str, kept: Kept) -> None:
        self._storage.keep(key, audience, question.repo, kept)
        if question.repo is None:
            return
        commit = kept.headers.get("x-repo-commit", "")
        if question.about == "description":
            commit = _described_commit(kept.body)
        elif question.revision is not None and is_commit(question.revision):
            commit = question.revision
        if not is_commit(commit):
            return
        if question.about != "nothing" and not is_commit(question.revision or "main"):
            self._files.keep_ref(audience, question.repo, question.revision or "main", commit)
        if question.about == "listing":
            is_public = audience == PUBLIC
            is_all = is_public and question.lists_all and "link" not in kept.headers
            found = files_of(kept.body, commit, kept.checked_at, is_public=is_public)
            self._files.keep(audience, question.repo, "resolve", found, commit if is_all else None)

    def _served(self, kept: Kept, word: CacheWord, audience: str) -> Answered:
        self._counters.add("answers", word)
        return Answered(kept.headers, kept.body, word, max(0, self._storage.now_s() - kept.checked_at), audience)

    def _is_fresh(self, question: Question, kept: Kept, caller: Caller, audience: str) -> bool:
        if not question.is_immutable:
            return False
        # The visibility of public repositories was looked at on the way here.
        return audience != caller.audience or self._storage.now_s() - kept.checked_at < RECHECK_S

    def _is_usable(self, kept: Kept) -> bool:
        return self._storage.now_s() - kept.checked_at <= self._max_stale_s


def _described_commit(body: bytes) -> str:
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    commit = value.get("sha") if isinstance(value, dict) else None
    return commit if isinstance(commit, str) else ""
