"""Who a request is from, once its key was checked."""

from __future__ import annotations

from fnmatch import fnmatchcase

from msgspec import Struct

from xetway.errors import ForbiddenError
from xetway.settings.gateway import Limit, Priority, Scope


class Caller(Struct, frozen=True, kw_only=True):
    """`id` names the key in logs, metrics and limits; without a key it is the client's address."""

    id: str
    # None: no key was needed and none was given.
    key_name: str | None = None
    scopes: frozenset[Scope] = frozenset({"infer"})
    models: tuple[str, ...] = ("*",)
    priority: Priority = "normal"
    # None: the limit that all have.
    limit: Limit | None = None

    def may_use(self, model: str) -> bool:
        """Whether one of the key's patterns names the model."""
        return "*" in self.models or any(fnmatchcase(model, pattern) for pattern in self.models)

    def require(self, scope: Scope) -> None:
        """See to it that the key is for this.

        Raises:
            ForbiddenError: `insufficient_scope`.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"the API key has not the scope {scope!r}", code="insufficient_scope")
