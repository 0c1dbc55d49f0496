"""The parts of a Hub, put together: what every route needs."""

from __future__ import annotations

import logging
from collections.abc import Callable

from xetway.cas.signing import XetTokens
from xetway.cas.store import ContentStore
from xetway.hub.access import Access
from xetway.hub.lfs import LfsUrls
from xetway.hub.names import RepoType
from xetway.hub.tokens import TokenStore

logger = logging.getLogger("xetway")


class Hub:
    """The repositories on one data folder.

    Args:
        store: The content store; its database holds the repositories too.
        xet_tokens: Issues the tokens that open the content store's routes.
        open_writes: Whether everyone may write public repositories.
    """

    def __init__(self, store: ContentStore, xet_tokens: XetTokens, *, open_writes: bool = False) -> None:
        self.store = store
        self.db = store.db
        self.xet_tokens = xet_tokens
        self.tokens = TokenStore(store.db)
        self.access = Access(store.db, self.tokens, open_writes=open_writes)
        self.lfs_urls = LfsUrls(store.db)
        # Told of each name that a repository gets: whoever else answers for names may have something to say.
        self.on_name: Callable[[RepoType, str], None] | None = None

    def note_name(self, kind: RepoType, name: str) -> None:
        """Tell that a repository has got a name (``namespace/name``). Blocking.

        Raises nothing, whatever the listener does: the repository is there by now.
        """
        if self.on_name is None:
            return
        try:
            self.on_name(kind, name)
        except Exception:
            logger.exception("%s %s has got its name, and what else is called so is not known", kind, name)
