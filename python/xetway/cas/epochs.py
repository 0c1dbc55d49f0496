"""The address of the content store, which changes when the store loses something.

Clients note, for each content store address, which xorbs it has, and send none of those again for three weeks. There is
no message that takes a note back. So the address has a number in it, the epoch: when a xorb is found damaged or is
collected, the number goes up, and clients, finding an address they have never used, send what is missing.

What the number is does not matter to the routes: an upload that began under an older one goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from xetway.db import Database

# No repository is called "-", so these paths are nobody else's.
_PREFIX = "/-/cas/"

RouteEntry = tuple[str, str, Any]


def cas_path(db: Database) -> str:
    """The path of the content store's routes, as clients are to use it now. Blocking."""
    with db.read() as tx:
        return f"{_PREFIX}{tx.execute('SELECT epoch FROM cas_epoch').fetchone()[0]}"


def advance(tx: sqlite3.Connection) -> None:
    """Begin the next epoch: something that clients may rely on is gone."""
    tx.execute("UPDATE cas_epoch SET epoch = epoch + 1")


def at_every_epoch(routes: Iterable[RouteEntry]) -> Iterable[RouteEntry]:
    """The routes as they are, for those that know no epoch, and below any epoch."""
    for methods, pattern, handler in routes:
        yield methods, pattern, handler
        yield methods, _PREFIX + "{epoch}" + pattern, handler
