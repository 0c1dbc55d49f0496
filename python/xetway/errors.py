"""The one error tree of xetway.

Every error has a stable ``code`` (snake_case, part of the public interface) and an HTTP
``status`` hint that the server uses for its error bodies. The native extension imports these
classes and raises them; it defines none of its own.

The message is the only positional argument; structured fields are keywords and become
attributes. Messages say what, where, wanted and got, and never hold a secret or a local path.
"""

from __future__ import annotations

from typing import Any, ClassVar


def _rebuild(cls: type[XetwayError], message: str, fields: dict[str, Any]) -> XetwayError:
    return cls(message, **fields)


class XetwayError(Exception):
    """Root of every error that xetway raises on purpose."""

    code: str = "internal_error"
    status: int = 500
    _fields: ClassVar[tuple[str, ...]] = ("code", "status")

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        for name, value in fields.items():
            if name not in self._all_fields():
                raise TypeError(f"{type(self).__name__} has no field {name!r}")
            setattr(self, name, value)

    @classmethod
    def _all_fields(cls) -> frozenset[str]:
        return frozenset(name for base in cls.__mro__ for name in getattr(base, "_fields", ()))

    @property
    def message(self) -> str:
        """The text the error was raised with."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class FormatError(XetwayError, ValueError):
    """Bytes that are not what their format says: ``format`` names it, ``offset`` is in bytes."""

    code = "malformed"
    status = 400
    _fields = ("format", "offset")
    format: str | None = None
    offset: int | None = None


class TruncatedError(FormatError):
    """The bytes end before the format does."""

    code = "truncated"


class IntegrityError(FormatError):
    """Content that does not have the hash or length claimed for it."""

    code = "hash_mismatch"
    _fields = ("expected", "actual")
    expected: str | None = None
    actual: str | None = None


class StoreCorruptionError(IntegrityError):
    """Stored bytes that no longer match their hash. ``xorb`` and ``chunk`` say where."""

    code = "stored_data_corrupt"
    status = 500
    _fields = ("xorb", "chunk")
    xorb: str | None = None
    chunk: int | None = None


class RequestError(XetwayError, ValueError):
    """A request the server refuses. ``hub_code`` is sent as X-Error-Code where clients need it."""

    code = "bad_request"
    status = 400
    _fields: ClassVar[tuple[str, ...]] = ("hub_code", "headers")
    hub_code: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class NotFoundError(RequestError, LookupError):
    """The thing named does not exist, or the caller may not know that it does."""

    code = "not_found"
    status = 404


class ConflictError(RequestError):
    """The request contradicts what is there already."""

    code = "conflict"
    status = 409


class AuthError(RequestError):
    """No token, a token nobody knows, or one that does not allow this."""

    code = "unauthorized"
    status = 401


class ForbiddenError(AuthError):
    """The token is known and does not allow this."""

    code = "forbidden"
    status = 403


class BusyError(RequestError):
    """There is no room for the request now. ``retry_after_s`` is how long to wait; ``headers`` say it as well."""

    code = "queue_full"
    status = 503
    _fields = ("retry_after_s",)
    retry_after_s: int | None = None


class LimitedError(RequestError):
    """More was asked for than a limit allows; ``kind`` is what of, `requests` or `tokens`.

    ``retry_after_s`` is how long to wait, None if that does not help; ``headers`` say it as well. ``at_once`` tells
    that it is about requests at the same time.
    """

    code = "rate_limit_exceeded"
    status = 429
    _fields = ("retry_after_s", "kind", "at_once")
    retry_after_s: int | None = None
    kind: str = "requests"
    at_once: bool = False


class ConfigError(XetwayError, ValueError):
    """A setting or command line value that cannot be used; names it and the valid range."""

    code = "bad_config"
    status = 500


class StateError(XetwayError, RuntimeError):
    """An object used after it was finished, aborted or closed."""

    code = "bad_state"
    status = 500


class RemoteError(XetwayError):
    """Another server refused or failed. ``remote_status`` is its status, ``hub_code`` its X-Error-Code.

    ``status`` is what a server in the middle answers: the same where it concerns the caller, else 502.
    """

    code = "upstream_status"
    status = 502
    _fields: ClassVar[tuple[str, ...]] = ("remote_status", "request_id", "retryable", "hub_code")
    remote_status: int | None = None
    request_id: str | None = None
    retryable: bool = False
    hub_code: str | None = None


class RateLimitedError(RemoteError):
    """Another server wants fewer requests. ``retry_after_s`` is how long to wait, if it said so."""

    code = "rate_limited"
    status = 429
    _fields = ("retry_after_s",)
    retry_after_s: int | None = None
    retryable = True


class TransportError(XetwayError, ConnectionError):
    """The network failed. ``host`` names the other side; ``retryable`` if a later try may succeed."""

    code = "connect_failed"
    status = 502
    _fields = ("host", "retryable")
    host: str | None = None
    retryable: bool = True


class TransportTimeoutError(TransportError, TimeoutError):
    """The other side did not answer in time, or its answer came to a halt."""

    code = "timed_out"
    status = 504


class UpstreamIntegrityError(IntegrityError):
    """Another server sent content that does not have the hash it must have."""

    code = "upstream_integrity"
    status = 502


class ContentChangedError(XetwayError):
    """What a mirror sent of a file was found to be wrong: the transfer has to begin anew."""

    code = "mirror_content_changed"
    status = 410


class NotCachedError(XetwayError, LookupError):
    """A mirror does not hold the content and may not, or cannot, ask for it."""

    code = "not_cached"
    status = 504
    _fields = ("hub_code",)
    hub_code: str | None = "NotCached"


class PlanLostError(XetwayError):
    """A mirror no longer knows where the content comes from: ask for the reconstruction again."""

    code = "plan_lost"
    status = 403


class StorageFullError(XetwayError):
    """The disk or the limit of a cache leaves no room."""

    code = "storage_full"
    status = 507
