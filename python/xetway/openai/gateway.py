"""A request to a model, from its key to its last byte.

It passes, in this order: the key, the size of its body, the model's name, limits, the cache, then the queue and an
upstream (`asking`). Of the body only what these need is read; it is forwarded as it came but for configured edits.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from msgspec import UNSET
from msgspec.structs import replace

from xetway.errors import ForbiddenError, RequestError, TransportError, XetwayError
from xetway.http.bodies import Bodies
from xetway.http.cors import FOR_PAGES, without_page
from xetway.http.delayed import Delayed
from xetway.http.request import Request
from xetway.http.response import AnyResponse, Piece, Response, StreamResponse
from xetway.http.sending import Watch
from xetway.openai import body as bodies
from xetway.openai import errors, forms
from xetway.openai.asking import Asker
from xetway.openai.usage import TAIL_BYTES, Usage, of_body, of_stream
from xetway.policy import cacheable
from xetway.policy.batching import Asked, Batcher
from xetway.policy.cache import BYPASS, MISS, AnswerCache
from xetway.policy.caller import Caller
from xetway.policy.flights import Kept
from xetway.policy.keys import Keys
from xetway.policy.limits import estimate_tokens
from xetway.ports import Answer, Catalog, Grant, Limiter, Question, RawHeaders
from xetway.settings import gateway as settings

T = TypeVar("T")

# Nobody watches for a client that leaves in the first moments of a request: most are answered by then.
WATCH_AFTER_S = 0.02
_EMBEDDINGS = b"/embeddings"
# Headers that an upstream may answer by.
_VARY = ("accept", "openai-beta", "openai-organization", "openai-project")
# What this server says of itself in every answer.
_OWN_HEADERS = FOR_PAGES | {b"x-request-id", b"server", b"x-content-type-options", b"date", b"content-length"}
_LIMITS = b"x-ratelimit-"
# What is between us and a client is not to keep events.
_NO_CACHE = (b"cache-control", b"no-cache")
_JSON = (b"content-type", b"application/json")
# In a path that was decoded once: with them some servers leave the folder that an upstream's address names.
_AMBIGUOUS = frozenset("\\;%")


class Pace(Protocol):
    """Told of each piece of a stream when it comes."""

    def note(self, piece: bytes) -> None:
        """Take the time."""
        ...


class Meter(Protocol):
    """Told how requests begin and end."""

    def began(self, model: str) -> None:
        """Count one that is within its limits."""
        ...

    def pace(self, model: str) -> Pace:
        """Return what is told of each piece of a stream."""
        ...

    def told(self, error: XetwayError) -> None:
        """Count an error that a request is answered with."""
        ...

    def ended(self, model: str, status: int, duration_s: float, first_byte_s: float, usage: Usage | None) -> None:
        """Count one that began."""
        ...


class Gateway:
    """The endpoints that are answered by models."""

    def __init__(
        self,
        options: settings.Gateway,
        catalog: Catalog,
        asker: Asker,
        keys: Keys,
        limiter: Limiter,
        cache: AnswerCache,
        meter: Meter,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._public = frozenset(path.encode() for path in options.auth.public)
        self._edits = {
            model.name: bodies.Edits(model=model.name, put=model.set, defaults=model.defaults, remove=model.remove)
            for model in catalog.models
        }
        self._always_edited = frozenset(
            model.name for model in catalog.models if model.set or model.defaults or model.remove
        )
        self._catalog = catalog
        self._asker = asker
        self._keys = keys
        self._limiter = limiter
        self._cache = cache
        self._meter = meter
        self._clock = clock
        self._bodies = Bodies(options.http.max_waiting_bytes)
        self._leaving = Delayed(WATCH_AFTER_S)
        self.batcher = Batcher(options.batching, self._ask_batch) if options.batching.enabled else None

    @property
    def auth(self) -> settings.Auth:
        """Who may call."""
        return self._options.auth

    def admit(self, request: Request, scope: settings.Scope = "infer") -> Caller:
        """Say who calls.

        Raises:
            AuthError: Nobody who may.
        """
        request.tell = self.tell
        if scope == "infer" and request.raw_path in self._public:
            return Caller(id=request.client)
        given = (request.raw_header(b"authorization"), request.raw_header(b"x-api-key"))
        if scope == "admin":
            caller = self._keys.check_admin(*given, self._clock())
        else:
            caller = self._keys.check(*given, request.client, self._clock())
        if caller.key_name is not None:
            request.notes["key"] = caller.id
        caller.require(scope)
        return caller

    def tell(self, error: XetwayError) -> Response:
        """Tell an error as clients of model endpoints read it, and count it."""
        self._meter.told(error)
        return errors.response(error)

    async def infer(self, request: Request) -> AnyResponse:
        """Answer a request whose body names a model."""
        caller = self.admit(request)
        if not _AMBIGUOUS.isdisjoint(request.params.get("rest", "")):
            raise RequestError("the path has a character that servers read in several ways", code="bad_path")
        if (request.raw_header(b"content-encoding") or b"identity").lower() != b"identity":
            raise RequestError("the body must not be compressed", code="unsupported_encoding", status=415)
        body = await request.read(self._options.http.max_body_bytes)
        content_type = request.header("content-type") or ""
        is_form = content_type.startswith("multipart/")
        head = forms.read(body, content_type) if is_form else bodies.read(body)
        model = self._catalog.find(head.model)
        request.notes["model"] = model.name
        if not caller.may_use(model.name):
            raise ForbiddenError(f"the key may not use the model {model.name}", code="model_not_allowed")
        if not is_form:
            body = self._edited(body, head, model)
        elif head.model != model.name:
            body = forms.renamed(body, content_type, model.name)
        taking = self._limiter.take(caller, model, estimate_tokens(len(body)) + head.answer_tokens)
        grant = await taking if isinstance(taking, Awaitable) else taking
        path = request.raw_path.removeprefix(b"/v1") + (b"?" + request.raw_query if request.raw_query else b"")
        own = [
            (b"x-request-id", request.request_id.encode()),
            (b"content-type", content_type.encode("latin-1")) if is_form else _JSON,
        ]
        question = Question(
            model,
            request.method,
            path,
            without_page(request),
            body,
            not is_form,
            caller.priority,
            request.notes,
            request.trace,
            own,
        )
        exchange = _Exchange(self._meter, model.name, grant, request.notes)
        try:
            with self._bodies.holding(len(body)):
                return await self._unless_gone(request, self._answer(request, caller, question, exchange))
        except XetwayError as error:
            # Nobody has worked for it, unless its client left.
            exchange.end(error.status, tokens=None if error.status == 499 else 0)
            raise

    async def _unless_gone(self, request: Request, work: Coroutine[object, object, T]) -> T:
        """Wait for `work`; cancel it when the client leaves.

        Raises:
            RequestError: `client_closed`, which nobody reads.
        """
        watch = Watch(request)
        watch.waits = True
        self._leaving.add(watch, watch.begin)
        try:
            return await work
        except asyncio.CancelledError:
            if watch.caught():
                raise RequestError("the client left", code="client_closed", status=499) from None
            raise
        finally:
            self._leaving.drop(watch)
            watch.end()

    async def _answer(self, request: Request, caller: Caller, question: Question, exchange: _Exchange) -> AnyResponse:
        plan = None
        marked: tuple[bytes, bytes] | None = None
        if self._options.cache.enabled and question.is_json:
            vary = tuple(request.header(name) or "" for name in _VARY)
            plan = self._cache.plan(caller.id, question.path, question.model, question.body, vary)
            outcome = await self._cache.find(plan, cacheable.control(request.header("cache-control")))
            request.notes["cache"] = "hit" if isinstance(outcome, Kept) else "bypass" if outcome is None else "miss"
            if isinstance(outcome, Kept):
                exchange.end(200, tokens=0)
                return Response(200, body=outcome.body, raw_headers=[*outcome.headers(), *exchange.limit_headers()])
            marked = BYPASS if outcome is None else MISS
            if plan is not None and outcome is not None:
                answer = await self._cache.fetch(plan, outcome, lambda: self._ask(caller, question))
                return exchange.relay(answer, marked)
        return exchange.relay(await self._ask(caller, question), marked)

    def _edited(self, body: bytes, head: bodies.Head, model: settings.Model) -> bytes:
        wanted = head.num_ctx
        if isinstance(wanted, int) and not 1 <= wanted <= (model.context_length or wanted):
            raise RequestError(
                f"num_ctx is {wanted}; {model.name} takes 1 to {model.context_length or 'any number of'} tokens",
                code="context_length_exceeded",
            )
        if head.model == model.name and wanted is UNSET and model.name not in self._always_edited:
            return body
        return self._edits[model.name].apply(body, remove=() if wanted is UNSET else ("num_ctx",))

    async def _ask(self, caller: Caller, question: Question) -> Answer:
        if self.batcher is not None and question.path == _EMBEDDINGS and question.is_json:
            return await self.batcher.embed(Asked(caller.id, question), question.body)
        return await self._asker.ask(question)

    async def _ask_batch(self, first: Asked, body: bytes) -> Answer:
        return await self._asker.ask(replace(first.question, body=body))


class _Exchange:
    """One request from its limits to its end, which is told once."""

    __slots__ = ("_began", "_first", "_grant", "_meter", "_model", "_notes")

    def __init__(self, meter: Meter, model: str, grant: Grant, notes: dict[str, Any]) -> None:
        self._meter = meter
        self._model = model
        self._grant = grant
        self._notes = notes
        self._began = time.perf_counter()
        self._first = 0.0
        meter.began(model)

    def __del__(self) -> None:
        if self._model:
            self.end(499)

    def limit_headers(self) -> RawHeaders:
        """What the client is told of its limits."""
        return [(name.encode(), value.encode()) for name, value in self._grant.headers()]

    def relay(self, answer: Answer, marked: tuple[bytes, bytes] | None) -> AnyResponse:
        """Pass an answer on; the head of a stream without waiting for its body."""
        given = answer.headers
        headers = [pair for pair in given if pair[0] not in _OWN_HEADERS]
        if limits := self.limit_headers():
            headers = [pair for pair in headers if not pair[0].startswith(_LIMITS)]
            headers += limits
        if marked is not None:
            headers = [pair for pair in headers if pair[0] != marked[0]]
            headers.append(marked)
        is_events = _is_events(answer)
        if is_events and not any(pair[0] == b"cache-control" for pair in given):
            headers.append(_NO_CACHE)
        if answer.body is not None:
            self._note_first()
            usage = of_stream(answer.body[-TAIL_BYTES:]) if is_events else of_body(answer.body)
            self.end(answer.status, usage)
            return Response(answer.status, body=answer.body, raw_headers=headers)
        length = next((int(value) for name, value in given if name == b"content-length"), None)
        pieces = self._pieces(answer, length, is_events=is_events)
        return StreamResponse(answer.status, (), length, pieces, at_once=True, raw_headers=headers)

    async def _pieces(self, answer: Answer, left_bytes: int | None, *, is_events: bool) -> AsyncIterator[Piece]:
        pace = self._meter.pace(self._model) if is_events else None
        tail = b""
        status = 499
        try:
            while piece := await answer.read():
                self._note_first()
                if pace is not None:
                    pace.note(piece)
                tail = (tail + piece)[-TAIL_BYTES:]
                if left_bytes is not None and not (left_bytes := left_bytes - len(piece)):
                    # Who has all of it may go.
                    status = answer.status
                yield [piece]
            status = answer.status
        except TransportError as error:
            status = error.status
            # Not in the middle of another event.
            if is_events and (not tail or tail.endswith((b"\n\n", b"\n\r\n"))):
                yield [errors.event(error)]
            raise
        finally:
            answer.close()
            self.end(status, of_stream(tail))

    def _note_first(self) -> None:
        if not self._first:
            self._first = time.perf_counter()

    def end(self, status: int, usage: Usage | None = None, tokens: int | None = None) -> None:
        """Settle what was taken, and count the request; later calls do nothing."""
        model, self._model = self._model, ""
        if not model:
            return
        self._grant.finish(usage.total if usage is not None else tokens)
        now = time.perf_counter()
        if self._first:
            self._notes["first_byte_ms"] = round((self._first - self._began) * 1000, 3)
        if usage is not None:
            self._notes["prompt_tokens"], self._notes["answer_tokens"] = usage.prompt, usage.answer
        self._meter.ended(model, status, now - self._began, (self._first or now) - self._began, usage)


def _is_events(answer: Answer) -> bool:
    return any(name == b"content-type" and b"event-stream" in value for name, value in answer.headers)
