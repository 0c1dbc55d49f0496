"""The settings of the gateway: what a configuration file may hold beside the server's own options.

Plain structs with defaults and bounds; reading files, environment and command line is the business of `settings`.
Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct, field

Scope: TypeAlias = Literal["infer", "load", "admin"]
Priority: TypeAlias = Literal["low", "normal", "high", "critical"]
LogFormat: TypeAlias = Literal["text", "json"]
Name: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0, le=86_400)]
HeaderName: TypeAlias = Annotated[str, Meta(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}\Z")]
_SHA256 = re.compile(r"[0-9a-f]{64}")
HeaderValue: TypeAlias = Annotated[str, Meta(pattern=r"^[\t\x20-\x7e]*\Z", max_length=8192)]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration file: a name that is not known is an error."""


class Upstream(_Table, frozen=True, kw_only=True):
    """One server that answers for a model. `url` has the path up to and with /v1."""

    url: Annotated[str, Meta(max_length=2048)]
    weight: Annotated[int, Meta(ge=0, le=1000)] = 1
    # The key sent as `Authorization: Bearer`: the name of a variable, or a file with one line.
    key_env: str | None = None
    key_file: Path | None = None
    # The model's name there, if it is another.
    model: Name | None = None
    # Asked every `health_interval` if given, such as /health; relative to the address' root.
    health: Annotated[str, Meta(pattern=r"^/")] | None = None
    health_interval: Seconds = 5.0
    http: Literal["1.1", "2"] = "1.1"
    ca_bundle: Path | None = None
    max_connections: Positive = 1024


class Limit(_Table, frozen=True, kw_only=True):
    """How much is allowed; None is without limit. Tokens are those of the prompt and the answer together."""

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    # Requests that may come at once after a pause; None: as many as in one minute.
    burst: Positive | None = None
    concurrency: Positive | None = None


class Model(_Table, frozen=True, kw_only=True):
    """A model that clients may name."""

    name: Name
    aliases: tuple[Name, ...] = ()
    id: Positive | None = None
    upstreams: Annotated[tuple[Upstream, ...], Meta(min_length=1, max_length=64)]
    # Headers of the request to the upstream: set, or left out.
    set_headers: dict[HeaderName, HeaderValue] = field(default_factory=dict)
    remove_headers: tuple[HeaderName, ...] = ()
    # Fields at the root of a JSON body: set whatever the client says, set if it says nothing, left out.
    set: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    # What `num_ctx` in a request may be at most; it is not forwarded.
    context_length: Positive | None = None
    owned_by: str = "xetway"
    description: str = ""
    limit: Limit = Limit()
    # Requests at once at all its upstreams together, and a time for a whole answer; None: as for all.
    concurrency: Positive | None = None
    timeout: Seconds | None = None
    # Tries at other upstreams before the first byte; None: each once.
    retries: Count | None = None


class StaticKey(_Table, frozen=True, kw_only=True):
    """A key that is configured. `key` is the key itself or its SHA-256 in hexadecimal; `settings` keeps the latter."""

    name: Name
    key: Annotated[str, Meta(min_length=8, max_length=512)] | None = None
    key_env: str | None = None
    key_file: Path | None = None
    scopes: tuple[Scope, ...] = ("infer",)
    models: tuple[str, ...] = ("*",)
    priority: Priority = "normal"
    limit: Limit = Limit()

    def __repr__(self) -> str:
        return f"StaticKey(name={self.name!r})"


def digest_of(key: str) -> bytes:
    """The SHA-256 of a key that is given as itself, or as its SHA-256 in lower-case hexadecimal."""
    return bytes.fromhex(key) if _SHA256.fullmatch(key) else hashlib.sha256(key.encode()).digest()


class Auth(_Table, frozen=True, kw_only=True):
    """Who may call."""

    # Whether a key is needed; where it is not set, it is as soon as `keys` are.
    enabled: bool = False
    # Paths that need no key, compared whole.
    public: tuple[str, ...] = ("/health", "/health/live", "/health/ready", "/ready", "/metrics", "/openapi.json")
    keys: tuple[StaticKey, ...] = ()


class Limits(_Table, frozen=True, kw_only=True):
    """Limits for keys that have none of their own, and for callers without a key, by their address."""

    enabled: bool = False
    key: Limit = Limit(requests_per_minute=1000, burst=100)
    anonymous: Limit = Limit(requests_per_minute=1000, burst=100)
    # Valkey or Redis, such as redis://127.0.0.1:6379/0; None: this machine's workers only.
    url: str | None = None


class Queue(_Table, frozen=True, kw_only=True):
    """Waiting for a slot. Without `concurrency` nothing waits here."""

    enabled: bool = True
    max_size: Count = 100
    timeout: Seconds = 30.0
    # Requests answered at once in all, and for each model that does not say.
    concurrency: Positive | None = None
    model_concurrency: Positive | None = None
    # Who waits this long counts as one priority higher.
    ageing: Seconds = 5.0


class Breaker(_Table, frozen=True, kw_only=True):
    """When an upstream that fails is left alone."""

    enabled: bool = True
    failures: Positive = 5
    open_for: Seconds = 60.0
    successes: Positive = 2


class Cache(_Table, frozen=True, kw_only=True):
    """Answers kept and given again."""

    enabled: bool = False
    # Also of requests that are not deterministic.
    all: bool = False
    max_bytes: Positive = 64 * 1024 * 1024
    max_answer_bytes: Positive = 1024 * 1024
    ttl: Seconds = 3600.0
    url: str | None = None


class Batching(_Table, frozen=True, kw_only=True):
    """Embeddings requests of one shape sent upstream as one."""

    enabled: bool = False
    # Inputs, and bytes of request bodies, that are sent at once at most.
    max_size: Positive = 32
    max_bytes: Positive = 256 * 1024
    window: Annotated[float, Meta(ge=0, le=1)] = 0.005


class Http(_Table, frozen=True, kw_only=True):
    """What a request may cost."""

    max_body_bytes: Positive = 10 * 1024 * 1024
    max_header_bytes: Positive = 64 * 1024
    # Bodies of all requests of a worker that wait for the beginning of their answers.
    max_waiting_bytes: Positive = 512 * 1024 * 1024
    # Paths that are forwarded by the model in the body, besides OpenAI's; a last part `*` stands for any.
    paths: tuple[Annotated[str, Meta(pattern=r"^/v1(?:/[\w.~-]+)+(?:/\*)?\Z", max_length=256)], ...] = ()
    # A whole answer; the time to its first byte, and between two pieces of it; and to connect upstream.
    timeout: Seconds = 600.0
    idle_timeout: Seconds = 120.0
    connect_timeout: Seconds = 5.0
    # The head of a request, from the end of the one before: idle connections are closed then.
    header_timeout: Seconds = 30.0
    # A client's body: between two pieces of it.
    body_timeout: Seconds = 30.0
    # Of each worker.
    max_connections: Positive = 4096
    drain: Seconds = 30.0


class Tls(_Table, frozen=True, kw_only=True):
    """HTTPS for clients, read again when the files change."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class Cors(_Table, frozen=True, kw_only=True):
    """Pages of which origins may call from a browser; none by default."""

    origins: tuple[str, ...] = ()
    # Seconds for which a browser need not ask again.
    max_age: Count = 600


class Telemetry(_Table, frozen=True, kw_only=True):
    """What is told about requests, never their content."""

    log_format: LogFormat = "text"
    metrics: bool = True
    # Whether traces are sent to `otlp_endpoint`, and where there is none, nowhere.
    traces: bool = True
    # Where OTLP is received over HTTP, without /v1/traces; the variable with headers for it, as in
    # OTEL_EXPORTER_OTLP_HEADERS, which is read too; how often metrics are sent; what this server is called there.
    otlp_endpoint: str | None = None
    otlp_headers_env: str | None = None
    otlp_interval: Seconds = 60.0
    service_name: str | None = None


class Gateway(_Table, frozen=True, kw_only=True):
    """The whole of it."""

    models: tuple[Model, ...] = ()
    auth: Auth = Auth()
    limits: Limits = Limits()
    queue: Queue = Queue()
    breaker: Breaker = Breaker()
    cache: Cache = Cache()
    batching: Batching = Batching()
    http: Http = Http()
    tls: Tls | None = None
    cors: Cors = Cors()
    telemetry: Telemetry = Telemetry()
