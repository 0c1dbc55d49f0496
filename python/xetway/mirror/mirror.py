"""The parts of the mirror, put together: what its routes need."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from xetway.cas.signing import UrlSigner, installation_key
from xetway.db import Database
from xetway.mirror.answers import Answers
from xetway.mirror.callers import Callers
from xetway.mirror.counters import Counters
from xetway.mirror.file_table import FileTable
from xetway.mirror.finder import Finder
from xetway.mirror.ports import Native
from xetway.mirror.storage import Storage
from xetway.mirror.tokens import MirrorTokens
from xetway.mirror.upstream import Upstream
from xetway.mirror.visibility import Visibility


class MirrorSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What can be set. `url` has no slash at its end."""

    url: str
    offline: bool = False
    max_stale_s: int = 7 * 24 * 3600


class Mirror:
    """The mirror of one upstream. Blocking to make.

    Args:
        settings: What to mirror, and how.
        folder: Where answers are kept; the compiled part keeps content beside them.
        db: The installation's database, for its keys.
        native: The compiled part.
        fallback: The token for callers without one.
    """

    def __init__(
        self,
        settings: MirrorSettings,
        folder: Path,
        db: Database,
        native: Native,
        *,
        fallback: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        stale_s = settings.max_stale_s
        self.settings = settings
        self.native = native
        self.content = native.content
        self.counters = Counters()
        self.callers = Callers(installation_key(db, "mirror-callers"), fallback)
        self.upstream = Upstream(native.http, settings.url, offline=settings.offline, counters=self.counters)
        self.storage = Storage(folder, now)
        self.files = FileTable(self.storage)
        self.visibility = Visibility(self.upstream, self.storage, stale_s)
        shared = (self.upstream, self.storage, self.files, self.visibility, self.counters, stale_s)
        self.answers = Answers(*shared)
        self.finder = Finder(*shared)
        key = installation_key(db, "mirror-token")
        self.tokens = MirrorTokens(self.upstream, native.credentials, key, native.seal, native.unseal, now)
        self.signer = UrlSigner(db, now)
