"""Requests as spans: one for each that comes here, and below it one for each try at an upstream.

Sources: https://www.w3.org/TR/trace-context/ and OpenTelemetry's semantic conventions for HTTP and for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/). Nothing of a body, a query or a header but these two is told.
"""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from xetway import __version__
from xetway.http.errors import log_path
from xetway.http.request import Request

# Asked again and again by who only wants to know whether this server is there.
_UNTOLD = frozenset({b"/health", b"/health/live", b"/health/ready", b"/ready", b"/metrics"})
_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
    "/v1/embeddings": "embeddings",
}
# What is noted of a request, and what it is called in a span.
_NOTES = {
    "model": "gen_ai.request.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "answer_tokens": "gen_ai.usage.output_tokens",
    "key": "xetway.key",
    "cache": "xetway.cache",
    "queue_ms": "xetway.queue_ms",
    "first_byte_ms": "xetway.first_byte_ms",
}
_PROPAGATOR = TraceContextTextMapPropagator()


class UpstreamSpan:
    """Implements `http.tracing.Attempt`."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> bytes:
        """The header, with this span as the parent of what comes."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier["traceparent"].encode()

    def end(self, status: int, error: str | None = None) -> None:
        """End the span."""
        if not self._span.is_recording():
            return
        if status:
            self._span.set_attribute("http.response.status_code", status)
        if error is not None or status >= 400:
            self._span.set_attribute("error.type", error or str(status))
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class RequestSpan:
    """Implements `http.tracing.Trace`."""

    __slots__ = ("_attempts", "_operation", "_span", "_tracer")

    def __init__(self, tracer: trace.Tracer, request: Request) -> None:
        headers = {name: value for name in ("traceparent", "tracestate") if (value := request.header(name)) is not None}
        method, _, path = log_path(request).partition(" ")
        self._operation = _OPERATIONS.get(path)
        self._tracer = tracer
        self._attempts: list[UpstreamSpan] = []
        self._span = tracer.start_span(
            method,
            _PROPAGATOR.extract(headers, Context()),
            SpanKind.SERVER,
            {
                "http.request.method": method,
                "url.path": path,
                "client.address": request.client,
                "xetway.request_id": request.request_id,
            },
        )
        request.notes["trace_id"] = trace.format_trace_id(self._span.get_span_context().trace_id)

    def attempt(self, model: str, upstream: str) -> UpstreamSpan:
        """Begin a span below this one."""
        host, _, port = upstream.partition("#")[0].rpartition(":")
        attributes: dict[str, str | int] = {
            "gen_ai.request.model": model,
            "server.address": host or upstream,
            "xetway.upstream": upstream,
        }
        if host and port.isdigit():
            attributes["server.port"] = int(port)
        if self._operation is not None:
            attributes["gen_ai.operation.name"] = self._operation
        context = trace.set_span_in_context(self._span, Context())
        name = f"{self._operation or 'request'} {model}"
        attempt = UpstreamSpan(self._tracer.start_span(name, context, SpanKind.CLIENT, attributes))
        self._attempts.append(attempt)
        return attempt

    def end(self, request: Request, status: int, *, failed: bool) -> None:
        """End the span, and those below it that have not ended."""
        for attempt in self._attempts:
            attempt.end(0, "abandoned")
        span, notes = self._span, request.notes
        if not span.is_recording():
            return
        if "model" in notes:
            span.update_name(log_path(request))
            if self._operation is not None:
                span.set_attribute("gen_ai.operation.name", self._operation)
        span.set_attributes(_attributes(notes))
        span.set_attribute("http.response.status_code", status)
        if failed or status >= 500:
            span.set_attribute("error.type", str(notes.get("error", status)))
            span.set_status(Status(StatusCode.ERROR))
        elif "error" in notes:
            span.set_attribute("error.type", str(notes["error"]))
        span.end()


class RequestTracer:
    """Begins a span for each request. Implements `http.tracing.Tracer`."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("xetway", __version__)

    def __call__(self, request: Request) -> RequestSpan | None:
        """Begin one, unless it is only asked whether this server is there."""
        return None if request.raw_path in _UNTOLD else RequestSpan(self._tracer, request)


def _attributes(notes: Mapping[str, str | int | float]) -> dict[str, str | int | float]:
    return {_NOTES[name]: value for name, value in notes.items() if name in _NOTES}
