"""Models that run elsewhere: the adapter of `ports.Runtime` for upstreams named in the configuration.

It decides whom to try and in which order; sending is the business of the given `dial`. What an upstream is told besides
the client's request (its key, the model's name there, edits of the body) is prepared once.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

from msgspec import Struct

from xetway.errors import BusyError, ConfigError, TransportError
from xetway.openai import finishing, forms
from xetway.openai.body import Edits
from xetway.policy.breaker import Breaker
from xetway.ports import Answer, Question, RawHeaders
from xetway.settings.gateway import Model, Upstream

# (method, path with query, headers of a client, body, headers of our own) -> answer
Send: TypeAlias = Callable[[str, bytes, RawHeaders, bytes, RawHeaders], Awaitable["Received"]]
# (upstream, headers of every request to it, most seconds for an answer or None) -> send
Dial: TypeAlias = Callable[[Upstream, RawHeaders, float | None], Send]

MAX_KEY_BYTES = 4096


# An upstream that is away, or says so.
_FAULTS = frozenset({502, 503, 504})
_INTERNAL = 500
# Requests that were answered with 500 and are remembered.
_MAX_SUSPECTS = 64


class Received(Answer, Protocol):
    """An answer as it comes from the network."""

    @property
    def until_close(self) -> bool:
        """Whether just the end of the connection ends its body: then nothing proves that it is complete."""
        ...


class RemoteTarget:
    """One upstream of one model."""

    def __init__(self, model: Model, upstream: Upstream, send: Send, breaker: Breaker, name: str | None = None) -> None:
        self.name = name or host_of(upstream)
        self.breaker = breaker
        self.upstream = upstream
        # What its health check said last; True while there is none.
        self.healthy = True
        self.credit = 0
        self._suspects: deque[int] = deque(maxlen=_MAX_SUSPECTS)
        self._send = send
        self._dropped = frozenset(name.lower().encode() for name in model.remove_headers)
        self.edits = Edits(model=upstream.model)

    async def send(self, question: Question) -> Answer:
        """Ask it, and tell the breaker how it went.

        Raises:
            TransportError: There was no answer.
        """
        leave = self.breaker.allow()
        if leave is None:
            raise TransportError(f"{self.name} failed again and again, and is left alone", code="breaker_open")
        headers, own = question.headers, question.own
        if self._dropped:
            headers, own = self._kept(headers), self._kept(own)
        body = self._edited(question) if self.edits else question.body
        try:
            answer = await self._send(question.method, question.path, headers, body, own)
        except TransportError:
            leave.fault()
            raise
        except BaseException:
            leave.neutral()
            raise
        if answer.status in _FAULTS or (answer.status == _INTERNAL and self._is_new_suspect(question)):
            leave.fault()
        elif answer.status >= 400:
            leave.neutral()
        else:
            self._suspects.clear()
            leave.ok()
        return finishing.checked(answer, question.path) if answer.until_close else answer

    def _is_new_suspect(self, question: Question) -> bool:
        """Whether a 500 is the upstream's fault: llama.cpp gives one to some mistakes of clients too, again and again.

        So the same request counts once, until the upstream has answered another as it should.
        """
        suspect = hash((question.path, question.body))
        if suspect in self._suspects:
            return False
        self._suspects.append(suspect)
        return True

    def _kept(self, headers: RawHeaders) -> RawHeaders:
        return [pair for pair in headers if pair[0] not in self._dropped]

    def _edited(self, question: Question) -> bytes:
        if question.is_json:
            return self.edits.apply(question.body)
        content_type = dict(question.own)[b"content-type"].decode("latin-1")
        return forms.renamed(question.body, content_type, self.upstream.model or question.model.name)

    @property
    def available(self) -> bool:
        """Whether it may be tried now."""
        return self.healthy and self.breaker.retry_after_s() == 0


class RemoteLease(Struct, frozen=True):
    """Nothing has to be held for what runs elsewhere."""

    targets: Sequence[RemoteTarget]

    def release(self) -> None:
        """Do nothing."""


class RemoteRuntime:
    """The upstreams of all models."""

    def __init__(
        self,
        models: Iterable[Model],
        dial: Dial,
        breaker: Callable[[Model, Upstream, str], Breaker],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._targets = {
            model.name: tuple(
                RemoteTarget(
                    model,
                    upstream,
                    dial(upstream, _headers(model, upstream, environment), model.timeout),
                    breaker(model, upstream, name),
                    name,
                )
                for name, upstream in zip(_names(model.upstreams), model.upstreams, strict=True)
            )
            for model in models
        }

    @property
    def targets(self) -> Mapping[str, Sequence[RemoteTarget]]:
        """All upstreams by the name of their model."""
        return self._targets

    def follow(self, before: RemoteRuntime) -> None:
        """Take over what another one knew of the health of upstreams that are in both."""
        known = {
            (name, target.upstream): target.healthy for name, targets in before.targets.items() for target in targets
        }
        for name, targets in self._targets.items():
            for target in targets:
                target.healthy = known.get((name, target.upstream), True)

    async def lease(self, model: Model) -> RemoteLease:
        """Order the upstreams of a model by smooth weighted turns, those that may be tried first.

        Raises:
            BusyError: None may be tried; says after which time one may.
        """
        targets = self._targets[model.name]
        if len(targets) == 1 and targets[0].available:
            return RemoteLease(targets)
        usable = [target for target in targets if target.available]
        if not usable:
            waits = [target.breaker.retry_after_s() for target in targets if target.healthy]
            wait_s = max(1, min(waits, default=5))
            raise BusyError(
                f"no upstream of {model.name} is well now",
                code="no_upstream",
                retry_after_s=wait_s,
                headers=(("retry-after", str(wait_s)),),
            )
        return RemoteLease(_turn(usable))


def host_of(upstream: Upstream) -> str:
    """Host and port, as logs and metrics call an upstream; no secret."""
    return urlsplit(upstream.url).netloc.rpartition("@")[2]


def _names(upstreams: Sequence[Upstream]) -> list[str]:
    """Name each by its host, and the second of one host HOST#2."""
    hosts = [host_of(upstream) for upstream in upstreams]
    return [host if (place := hosts[:at].count(host)) == 0 else f"{host}#{place + 1}" for at, host in enumerate(hosts)]


def _turn(targets: list[RemoteTarget]) -> list[RemoteTarget]:
    # nginx' smooth weighted round robin: everyone earns its weight, the richest goes first and pays for all.
    total = 0
    for target in targets:
        target.credit += target.upstream.weight
        total += target.upstream.weight
    ordered = sorted(targets, key=lambda target: -target.credit)
    ordered[0].credit -= total
    return ordered


def _headers(model: Model, upstream: Upstream, environment: Mapping[str, str]) -> RawHeaders:
    headers = [(name.lower().encode(), value.encode()) for name, value in model.set_headers.items()]
    key = read_key(upstream, environment)
    if key is not None:
        headers.append((b"authorization", b"Bearer " + key.encode("ascii")))
    return headers


def read_key(upstream: Upstream, environment: Mapping[str, str]) -> str | None:
    """Return the key that the upstream is sent.

    Raises:
        ConfigError: It is named and cannot be had.
    """
    if upstream.key_env is not None:
        key, source = environment.get(upstream.key_env, ""), f"the variable {upstream.key_env}"
    elif upstream.key_file is not None:
        key, source = _read(upstream.key_file), f"the file {upstream.key_file}"
    else:
        return None
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable() or len(key) > MAX_KEY_BYTES:
        raise ConfigError(f"the key of the upstream {upstream.url} is not in {source}, or is no key")
    return key


def _read(path: Path) -> str:
    try:
        return path.expanduser().read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
