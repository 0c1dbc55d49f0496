"""All routes of the Hub."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from xetway.http.router import Route
from xetway.hub import (
    routes_commit,
    routes_copies,
    routes_lfs,
    routes_misc,
    routes_pages,
    routes_pulls,
    routes_refs,
    routes_repos,
    routes_resolve,
    routes_tree,
)
from xetway.hub.hub import Hub

_MODULES = (
    routes_repos,
    routes_tree,
    routes_refs,
    routes_commit,
    routes_resolve,
    routes_lfs,
    routes_copies,
    routes_misc,
    routes_pages,
    routes_pulls,
)


def routes(hub: Hub) -> Iterable[Route]:
    """Every route of the Hub, as (methods, pattern, handler)."""
    return chain.from_iterable(module.routes(hub) for module in _MODULES)
