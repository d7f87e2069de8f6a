"""``--metrics_port``: ``/metrics`` (Prometheus' text format, exposition format 0.0.4), ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

from pipeline.process.stats import Totals
from transforms.errors import ScoringError

STUCK_S = 120.0
"""A worker that has not polled Kafka for so long is taken for stuck: far longer than a bundle or its commit takes."""

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


def unhealthy(rows: Any, now: float) -> str | None:
    """What a restart may cure, for a liveness probe: a worker that has not started to read, or is stuck.

    A worker polls Kafka all the time: also while nothing comes, while the broker is away, and while it waits for the model
    server (``on_unavailable=hold``). Restarting it would help with none of these, so they are no reason.

    Args:
        rows: The workers'.
        now: Seconds since the epoch.
    """
    for worker, polled_at in enumerate(rows["polled_at"]):
        if not polled_at:
            return f"worker {worker} has not asked Kafka for records yet"
        if now - polled_at > STUCK_S:
            return f"worker {worker} has not asked Kafka for records for {now - polled_at:.0f} s"
    return None


def not_ready(rows: Any) -> str | None:
    """What keeps records from being answered now, besides, for a readiness probe or an alert."""
    holding = Totals(rows).holding
    return f"waiting for {holding}" if holding else None


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


@contextlib.contextmanager
def serve_metrics(port: int, rows: Any, host: str = "127.0.0.1") -> Iterator[int]:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` while the context lasts; yields the port.

    Raises:
        ScoringError: The port is taken.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            """Answers the three paths."""
            if self.path == "/metrics":
                status, text = 200, render(Totals(rows))
            elif self.path in ("/healthz", "/readyz"):
                problem = unhealthy(rows, time.time()) or (not_ready(rows) if self.path == "/readyz" else None)
                status, text = (503, f"{problem}\n") if problem else (200, "ok\n")
            else:
                status, text = 404, "see /metrics, /healthz and /readyz\n"
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    try:
        server = http.server.ThreadingHTTPServer((host, port), Handler)
    except OSError as error:
        raise ScoringError(
            f"--metrics_port={port}: can't listen on {host}: {error.strerror}; choose another port"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
