"""An OTLP/HTTP receiver for tests: keeps the spans and metrics that are sent to it."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Callable, Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.http_server import answering


class Receiver:
    """What came.

    Attributes:
        url: The base URL.
        paths: The path of each request.
        resources: The resource attributes of each request.
        spans: All spans.
        exports: The metrics of each export, by name.
        status: What is answered.
        before: Called before a request is read, to keep it waiting.
    """

    def __init__(self) -> None:
        self.url = ""
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.resources: list[dict[str, Any]] = []
        self.spans: list[Span] = []
        self.exports: list[dict[str, Metric]] = []
        self.status = 200
        self.before: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    def named(self, start: str) -> list[Span]:
        """The spans whose name begins so."""
        return [span for span in self.spans if span.name.startswith(start)]

    def take(self, request: http.server.BaseHTTPRequestHandler) -> None:
        """Answers one request."""
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.before()
        with self._lock:
            self.paths.append(request.path)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            if self.status == 200:
                self._keep(
                    request.path, gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
                )
        request.send_response(self.status)
        request.send_header("Content-Length", "0")
        request.end_headers()

    def _keep(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for traced in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(traced.resource.attributes))
                self.spans += [span for scope in traced.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(plain(measured.resource.attributes))
                self.exports.append({metric.name: metric for scope in measured.scope_metrics for metric in scope.metrics})


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on 127.0.0.1."""
    receiver = Receiver()
    with answering(receiver.take) as receiver.url:
        yield receiver


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as Python values."""
    found: list[KeyValue] = list(attributes)
    return {it.key: getattr(it.value, it.value.WhichOneof("value") or "string_value") for it in found}
