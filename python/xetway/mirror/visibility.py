"""Which repositories of the upstream everybody may read, and so under whose name answers are kept.

Answers about those that the upstream calls neither private nor gated are shared by all callers (audience `public`);
all others are kept for the caller's token alone. What the upstream said holds for five minutes, and longer while it is
away. So nothing new is kept for everybody unless the upstream said just now that everybody may read it: it could be of
a repository that was hidden within those minutes, asked for with the token of one who may still read it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from xetway.errors import XetwayError
from xetway.http.threads import run
from xetway.mirror.callers import ANONYMOUS, PUBLIC, Caller
from xetway.mirror.flights import Flights
from xetway.mirror.names import RepoKey
from xetway.mirror.storage import RepoState, Storage
from xetway.mirror.upstream import TROUBLE, Upstream

# How long the upstream's word on who may read something holds.
RECHECK_S = 300
# The same for what is new; not less, because many files are looked up at a time.
_NEWS_RECHECK_S = 10
_MOST_REMEMBERED = 10_000


class Visibility:
    """Finds the audience of answers. Methods that ask the upstream wait at most as long as `Upstream.ask`."""

    def __init__(self, upstream: Upstream, storage: Storage, max_stale_s: int) -> None:
        self._upstream = upstream
        self._storage = storage
        self._max_stale_s = max_stale_s
        self._flights: Flights[None] = Flights()
        self._remembered: dict[RepoKey, RepoState] = {}

    async def audience(self, repo: RepoKey | None, caller: Caller) -> str:
        """Return the name that answers about a repository are kept under for this caller."""
        if repo is None:
            return caller.audience
        state = await self.state(repo)
        if state is None or not self._holds(state):
            try:
                await self._flights.run((repo, caller.audience), lambda: self._ask(repo, caller))
            except (ConnectionError, TimeoutError, XetwayError):
                # Its trouble shows in the question itself too. Until then what was known goes on to hold.
                return self._under(state, caller)
            state = await self.state(repo)
            if state is None or not self._holds(state):
                # It answered, and did not say that everybody may read it: a wrong token, perhaps.
                return caller.audience
        return self._under(state, caller)

    async def audience_of_news(self, repo: RepoKey, caller: Caller) -> str:
        """Return the name to keep under what the upstream has just told this caller for the first time."""
        state = await self.state(repo)
        if state is None or not self._holds(state, _NEWS_RECHECK_S):
            try:
                await self._flights.run((repo, caller.audience), lambda: self._ask(repo, caller))
            except (ConnectionError, TimeoutError, XetwayError):
                return caller.audience
            state = await self.state(repo)
        is_public = state is not None and state.is_public and self._holds(state, _NEWS_RECHECK_S)
        return PUBLIC if is_public else caller.audience

    async def state(self, repo: RepoKey) -> RepoState | None:
        """What is known of a repository, however old."""
        state = self._remembered.get(repo)
        if state is None:
            state = await run(self._storage.repo, repo)
            if state is not None:
                self._remember(repo, state)
        return state

    async def guess(self, repo: RepoKey, caller: Caller) -> tuple[str, bool]:
        """Return the audience as it was last known, without asking, and whether that still holds."""
        state = await self.state(repo)
        holds = state is not None and self._holds(state)
        return self._under(state, caller), holds or self._upstream.offline

    async def learn(self, repo: RepoKey, body: bytes) -> bool:
        """Take a repository's visibility from its description, if that has it; returns whether it has."""
        is_public = described_as_public(repo, body)
        if is_public is None:
            return False
        self._remember(repo, RepoState(is_public, self._storage.now_s()))
        await run(lambda: self._storage.keep_repo(repo, is_public=is_public))
        return True

    async def refused(self, repo: RepoKey, caller: Caller, status: int) -> None:
        """Note that the upstream refused a caller: a repository that is refused to anybody at all is not public.

        A refusal of a wrong token (401) says nothing about the repository.
        """
        if status == 401 and caller.audience != ANONYMOUS:
            return
        self._remembered.pop(repo, None)
        await run(self._storage.hide_repo, repo)

    def _holds(self, state: RepoState, limit_s: int = RECHECK_S) -> bool:
        return self._upstream.offline or self._storage.now_s() - state.checked_at < limit_s

    def _under(self, state: RepoState | None, caller: Caller) -> str:
        usable = state is not None and state.is_public and self._holds(state, self._max_stale_s)
        return PUBLIC if usable else caller.audience

    def _remember(self, repo: RepoKey, state: RepoState) -> None:
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[repo] = state

    async def _ask(self, repo: RepoKey, caller: Caller) -> None:
        # Spaces and kernels have no gates, and refuse to be asked for one.
        query = "?expand=private&expand=gated" if repo.kind in {"model", "dataset"} else ""
        answer = await self._upstream.ask(caller, "GET", repo.api + query, has_kept=True)
        if answer.status == 400 and query:
            answer = await self._upstream.ask(caller, "GET", repo.api, has_kept=True)
        if answer.status == 200:
            await self.learn(repo, answer.body)
        elif answer.status in {401, 403, 404}:
            await self.refused(repo, caller, answer.status)
        elif answer.status in TROUBLE:
            raise ConnectionError(f"the upstream answered {answer.status}")


def described_as_public(repo: RepoKey, body: bytes) -> bool | None:
    """Read whether a description calls its repository public; None if it does not say."""
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("private"), bool):
        return None
    gated = value.get("gated", None if repo.kind in {"model", "dataset"} else False)
    if gated is None:
        return None
    return value["private"] is False and gated is False and value.get("disabled") is not True
