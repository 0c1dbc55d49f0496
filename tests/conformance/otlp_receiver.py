"""Receives OTLP over HTTP, and decodes it with the protocol's own messages."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_MESSAGES: dict[str, Callable[[], Any]] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
}


class Receiver:
    """A context manager. It answers nothing until `open` is set, and then with `status`."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()
        self.status = 200
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self.raw = b""
        # One for each request that came.
        self.asked = threading.Semaphore(0)

    def __enter__(self) -> Self:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                receiver.asked.release()
                if not receiver.open.wait(30):
                    return
                if receiver.status == 200:
                    message = _MESSAGES[self.path]()
                    message.ParseFromString(body)
                    receiver.raw += body
                    receiver.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, message))
                self.send_response(receiver.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> Iterator[Any]:
        """All spans so far."""
        for path, _, message in list(self.got):
            if path == "/v1/traces":
                for resource in message.resource_spans:
                    for scope in resource.scope_spans:
                        yield from scope.spans

    def metrics(self) -> dict[str, Any]:
        """All metrics of the only process that came last, by name."""
        return next(iter(self.by_instance().values()), {})

    def by_instance(self) -> dict[str, dict[str, Any]]:
        """All metrics of each process that came last, by name."""
        return {
            attributes(resource.resource.attributes)["service.instance.id"]: {
                metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics
            }
            for path, _, message in list(self.got)
            if path == "/v1/metrics"
            for resource in message.resource_metrics
        }

    def wait_for(self, what: Callable[[], bool]) -> None:
        """Wait until it is so."""
        deadline = time.monotonic() + 30
        while not what():
            assert time.monotonic() < deadline, self.got
            self.asked.acquire(timeout=0.05)


def attributes(found: Any) -> dict[str, Any]:
    """Attributes as plain values."""
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in found}
