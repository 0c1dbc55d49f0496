"""What is addressed at the upstream: repositories and revisions, as clients spell them."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from xetway.errors import RequestError
from xetway.http.request import Request
from xetway.hub.names import PLURALS, PREFIXES, RepoType, is_name, is_oid
from xetway.hub.repos import repo_not_found

# As the first part of a repository without a prefix, these would make it an address of something else.
_NOT_NAMESPACES = frozenset({"api", "buckets", *PLURALS.values()})


class RepoKey(msgspec.Struct, frozen=True):
    """A repository of the upstream. `name` is ``namespace/name``, or a name alone."""

    kind: RepoType
    name: str

    @property
    def text(self) -> str:
        """One word for it in the database and in messages: ``models/namespace/name``."""
        return f"{PLURALS[self.kind]}/{self.name}"

    @property
    def api(self) -> str:
        """Where its API is, below the address of a Hub."""
        return f"/api/{PLURALS[self.kind]}/{quote(self.name)}"

    @property
    def page(self) -> str:
        """Where its files are, below the address of a Hub."""
        return f"/{PREFIXES[self.kind]}{quote(self.name)}"


def repo_of(request: Request, kind: RepoType) -> RepoKey:
    """The repository in the path of a request; raises as `repo_named`."""
    namespace, name = request.params.get("namespace"), request.params["name"]
    return repo_named(kind, *((name,) if namespace is None else (namespace, name)))


def repo_named(kind: RepoType, *parts: str) -> RepoKey:
    """The repository called so.

    Raises:
        NotFoundError: `repo_not_found`: nothing can be called so, and the upstream is not asked for it.
    """
    if len(parts) not in {1, 2} or not all(map(is_name, parts)) or parts[0].lower() in _NOT_NAMESPACES:
        raise repo_not_found()
    return RepoKey(kind, "/".join(parts))


def revision_named(text: str) -> str:
    """The revision called so, where it does not come from a path, whose parts were looked at.

    Raises:
        RequestError: `bad_revision`: as a part of an address it would lead elsewhere.
    """
    if any(part in {"", ".", ".."} for part in text.split("/")):
        raise RequestError("the revision has an empty, '.' or '..' part", code="bad_revision")
    return text


def segment(text: str) -> str:
    """Quote a revision as one segment of a path, as clients do."""
    return quote(text, safe="")


def is_commit(revision: str) -> bool:
    """Whether a revision can never mean anything else."""
    return is_oid(revision)
