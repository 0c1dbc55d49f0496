"""Sending spans and metrics over OTLP (HTTP, protobuf), in threads of their own.

What waits is bounded: where the receiver is away or slow, the oldest spans are dropped, and requests never wait. That
nobody takes what is sent is logged once, and once when somebody does again. What OpenTelemetry's own variables say of
time-outs, certificates, batches, sampling and resources holds.

Source: https://opentelemetry.io/docs/specs/otlp/ and /specs/otel/configuration/sdk-environment-variables/.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

from xetway import __version__
from xetway.errors import ConfigError
from xetway.http.errors import describe
from xetway.http.metrics import Source
from xetway.settings.gateway import Telemetry
from xetway.telemetry.points import metrics_of
from xetway.telemetry.spans import RequestTracer

logger = logging.getLogger("xetway")

# How long a server that stops waits for what was not sent yet.
FLUSH_S = 1.0


class _Receiver:
    """Whether somebody takes what is sent, told in the log when it changes."""

    def __init__(self) -> None:
        self._is_away = False
        self._changing = threading.Lock()

    def told(self, *, took: bool) -> None:
        with self._changing:
            if self._is_away is not took:
                return
            self._is_away = not took
        if took:
            logger.info("telemetry.otlp_endpoint takes traces and metrics again")
        else:
            logger.warning("telemetry.otlp_endpoint does not take what is sent; traces that do not fit are dropped")


class _Spans(SpanExporter):
    """Sends spans, and notes whether that worked."""

    def __init__(self, exporter: SpanExporter, receiver: _Receiver) -> None:
        self._exporter = exporter
        self._receiver = receiver

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._receiver.told(took=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Metrics:
    """Sends what the sources tell, again and again, in a thread, and a last time when it is stopped."""

    def __init__(
        self, sources: Sequence[Source], exporter: OTLPMetricExporter, resource: Resource, interval_s: float
    ) -> None:
        self.receiver = _Receiver()
        self._sources = sources
        self._exporter = exporter
        self._resource = resource
        self._interval_s = interval_s
        self._started_ns = time.time_ns()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xetway-metrics", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self._send()
        self._send()

    def _send(self) -> None:
        try:
            self._send_all()
        except Exception as error:  # noqa: BLE001  (a source that fails must not end the thread)
            logger.warning("metrics were not sent: %s", describe(error))

    def _send_all(self) -> None:
        samples = [sample for source in self._sources for sample in source()]
        result = self._exporter.export(metrics_of(samples, self._resource, self._started_ns, time.time_ns()))
        self.receiver.told(took=result is MetricExportResult.SUCCESS)


class Otlp:
    """Traces and metrics of this process.

    Raises:
        ConfigError: `otlp_headers_env` names a variable that is not there.
    """

    def __init__(self, options: Telemetry, sources: Sequence[Source], environment: Mapping[str, str]) -> None:
        # They tell of every failure, and of every span that is dropped.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        assert options.otlp_endpoint is not None
        endpoint = options.otlp_endpoint.rstrip("/")
        headers = _headers(options.otlp_headers_env, environment)
        resource = _resource(options.service_name)
        self.tracer: RequestTracer | None = None
        self._provider: TracerProvider | None = None
        self._metrics: _Metrics | None = None
        if options.metrics:
            where = _where("METRICS", f"{endpoint}/v1/metrics", environment)
            exporter = OTLPMetricExporter(where, headers=headers)
            self._metrics = _Metrics(sources, exporter, resource, options.otlp_interval)
        if options.traces:
            where = _where("TRACES", f"{endpoint}/v1/traces", environment)
            receiver = self._metrics.receiver if self._metrics is not None else _Receiver()
            self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
            spans = _Spans(OTLPSpanExporter(where, headers=headers), receiver)
            self._provider.add_span_processor(BatchSpanProcessor(spans))
            self.tracer = RequestTracer(self._provider)

    async def start(self) -> None:
        """Begin to send metrics."""
        if self._metrics is not None:
            self._metrics.start()

    def close(self) -> None:
        """Send what is left, for FLUSH_S at most. Blocking."""
        steps: list[Callable[[], None]] = []
        if self._provider is not None:
            steps.append(self._provider.shutdown)
        if self._metrics is not None:
            steps.append(self._metrics.stop)
        threads = [threading.Thread(target=step, daemon=True) for step in steps]
        for thread in threads:
            thread.start()
        until = time.monotonic() + FLUSH_S
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))


def _where(signal: str, url: str, environment: Mapping[str, str]) -> str | None:
    """The address for a signal; None if a variable of its own names it, which the exporter reads."""
    return None if environment.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT") else url


def _headers(variable: str | None, environment: Mapping[str, str]) -> dict[str, str] | None:
    if variable is None:
        return None
    text = environment.get(variable, "")
    if not text:
        raise ConfigError(f"telemetry.otlp_headers_env names {variable}, which is not set")
    return dict(parse_env_headers(text, liberal=True))


def _resource(service_name: str | None) -> Resource:
    """Who sends; each process is an instance of its own, so that their sums stay apart."""
    own = {"service.instance.id": str(uuid.uuid4()), "service.version": __version__}
    resource = Resource.create({**own, "service.name": service_name} if service_name else own)
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "xetway"}))
    return resource
