"""Who may read and write which repository.

* A public repository is open to every reader, whatever token the request has.
* A private one needs a token of ours that matches it. To all others it does not exist: the answer is the
  same 404 as for a name nobody took.
* Writing needs a token with write scope, or a server started with ``--open``. There everyone may write public
  repositories, as ``anonymous``; private ones keep needing a token.
"""

from __future__ import annotations

import base64
import binascii

from xetway.db import Database
from xetway.errors import AuthError, ForbiddenError
from xetway.http.request import Request
from xetway.hub.names import RepoType
from xetway.hub.repos import Repo, find_repo, repo_not_found
from xetway.hub.tokens import TokenInfo, TokenStore

ANONYMOUS = "anonymous"


def bearer(request: Request) -> str | None:
    """Return the token a request brings: as Bearer, or as the password of Basic (git and LFS clients)."""
    scheme, _, value = (request.header("authorization") or "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer":
        return value or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


class Access:
    """Decides what a request may do. Blocking (it looks tokens up)."""

    def __init__(self, db: Database, tokens: TokenStore, *, open_writes: bool) -> None:
        self._db = db
        self._tokens = tokens
        self._open_writes = open_writes

    def principal(self, request: Request) -> TokenInfo | None:
        """Return the token of the request, or None if it has none, or one that means nothing here."""
        token = bearer(request)
        return self._tokens.authenticate(token) if token else None

    def require_principal(self, request: Request) -> TokenInfo:
        """Return the token of the request.

        Raises:
            AuthError: `token_required` or `invalid_token`.
        """
        principal = self.principal(request)
        if principal is None:
            raise _no_token(request)
        return principal

    @staticmethod
    def may_read(principal: TokenInfo | None, repo: Repo) -> bool:
        """Whether someone may read a repository, and know that it exists."""
        return not repo.private or (
            principal is not None and principal.allows("read", repo.type, repo.namespace, repo.name)
        )

    def readable(self, request: Request, kind: RepoType, namespace: str | None, name: str) -> Repo:
        """Return a repository that the request may read.

        Raises:
            NotFoundError: It does not exist, or the request may not know that it does.
        """
        if namespace is None:
            raise repo_not_found()
        with self._db.read() as tx:
            repo = find_repo(tx, kind, namespace, name)
        if repo is not None and not repo.private:
            return repo
        principal = self.principal(request)
        if repo is None or not self.may_read(principal, repo):
            raise repo_not_found(bad_token=principal is None and bearer(request) is not None)
        return repo

    def writable(self, request: Request, kind: RepoType, namespace: str | None, name: str) -> tuple[Repo, str]:
        """Return a repository that the request may write, and who writes.

        Raises:
            NotFoundError: as `readable`.
            AuthError: as `writer`.
        """
        repo = self.readable(request, kind, namespace, name)
        return repo, self.writer(request, kind, repo.namespace, repo.name, private=repo.private)

    def writer(self, request: Request, kind: RepoType, namespace: str, name: str, *, private: bool) -> str:
        """Return the name of the user who may write a repository, which need not exist yet.

        Raises:
            AuthError: 401 `token_required` or `invalid_token`.
            ForbiddenError: 403 `read_only_token` or `wrong_repository`.
        """
        principal = self.principal(request)
        if principal is not None and principal.allows("write", kind, namespace, name):
            return principal.user
        if self._open_writes and not private:
            return ANONYMOUS if principal is None else principal.user
        if principal is None:
            raise _no_token(request)
        if principal.scope != "write":
            raise ForbiddenError("this token can only read", code="read_only_token")
        raise ForbiddenError("this token is for other repositories", code="wrong_repository")

    def default_namespace(self, request: Request) -> str:
        """Return the namespace of a repository that is created without one: the user's own.

        Raises:
            AuthError: as `require_principal`, unless the server is open.
        """
        principal = self.principal(request)
        if principal is not None:
            return principal.user
        if self._open_writes:
            return ANONYMOUS
        raise _no_token(request)


def _no_token(request: Request) -> AuthError:
    # Clients take any 401 without this text for a repository that does not exist.
    if bearer(request) is None:
        return AuthError("this needs a token of this server (made with: xetway token create)", code="token_required")
    return AuthError("Invalid credentials in Authorization header", code="invalid_token")
