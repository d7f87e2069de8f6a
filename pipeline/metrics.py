"""``--metrics_port``: the totals in Prometheus' text format (exposition format 0.0.4), on 127.0.0.1."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any

from pipeline.stats import Totals
from transforms.errors import ScoringError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(totals: Totals) -> str:
    """Writes the totals as Prometheus metrics; every counter only grows, across restarts of workers too."""
    lines = []

    def metric(name: str, kind: str, text: str, *samples: tuple[str, float]) -> None:
        lines.append(f"# HELP scoring_{name} {text}")
        lines.append(f"# TYPE scoring_{name} {kind}")
        lines.extend(f"scoring_{name}{labels} {value}" for labels, value in samples)

    metric("predictions_total", "counter", "Records answered by the model.", ("", totals.predictions))
    metric(
        "dead_letters_total",
        "counter",
        "Records without a prediction, by error class.",
        *((f'{{class="{_escape(name)}"}}', count) for name, count in sorted(totals.reasons.items())),
    )
    metric("bundles_total", "counter", "Bundles committed.", ("", totals.bundles))
    metric("requests_total", "counter", "Requests that the model server answered.", ("", totals.batches))
    metric("request_rows_total", "counter", "Records in those requests.", ("", totals.batched_rows))
    metric("retries_total", "counter", "Requests sent again.", ("", totals.retries))
    metric("rollbacks_total", "counter", "Bundles not committed, and read again.", ("", totals.rollbacks))
    metric("partitions", "gauge", "Partitions read now.", ("", totals.partitions))
    metric("holding", "gauge", "1 while model server or schema registry does not answer.", ("", int(bool(totals.holding))))
    metric(
        "latency_ms",
        "gauge",
        "Milliseconds from a record's being read to its answer's commit, since the start.",
        *((f'{{quantile="{quantile}"}}', totals.latency_ms(quantile)) for quantile in (0.5, 0.9, 0.99)),
    )
    return "\n".join(lines) + "\n"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@contextlib.contextmanager
def serve_metrics(port: int, rows: Any) -> Iterator[int]:
    """Serves ``/metrics`` while the context lasts; yields the port.

    Raises:
        ScoringError: The port is taken.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            """Answers any path with the metrics, except that others than /metrics and /healthz are 404."""
            known = self.path in ("/metrics", "/healthz")
            body = (render(Totals(rows)) if self.path == "/metrics" else "ok\n" if known else "see /metrics\n").encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise ScoringError(f"--metrics_port={port}: can't listen: {error.strerror}; choose another port") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
