"""The server of ``--metrics_port``: ``/metrics`` (Prometheus), ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.reporting.health import not_ready, unhealthy
from pipeline.reporting.lag import Lag
from pipeline.reporting.listening import CLIENT_TIMEOUT_S, QuietHandler, listening


@contextlib.contextmanager
def serve_metrics(
    port: int,
    rows: Any,
    host: str = "127.0.0.1",
    client_timeout_s: float = CLIENT_TIMEOUT_S,
    lag: Callable[[], Lag | None] = lambda: None,
    model: str = "",
    model_uri: str = "",
) -> Iterator[int]:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` while the context lasts; yields the port.

    Args:
        port: Where to listen; 0 for a free port.
        rows: The workers' rows: see ``pipeline.process.stats``.
        host: The address to listen on.
        client_timeout_s: How long a client may be silent.
        lag: Returns the lag; ``None`` while it is not known.
        model: The model's name.
        model_uri: Its URI, which says whether it is a language model.

    Raises:
        ScoringError: The port is taken.
    """
    # Here, not above: a job without --metrics_port does not load the library.
    from prometheus_client.exposition import choose_encoder

    from pipeline.reporting.collector import registry_of
    from pipeline.telemetry.gen_ai import gen_ai_of

    registry = registry_of(rows, lag, model, gen_ai_of(model_uri))

    class Handler(QuietHandler):
        timeout = client_timeout_s

        def get(self) -> None:
            """Answers the three paths."""
            content_type = "text/plain; charset=utf-8"
            if self.path == "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                status, body = 200, encode(registry)
            elif self.path in ("/healthz", "/readyz"):
                problem = unhealthy(rows, time.monotonic()) or (not_ready(rows) if self.path == "/readyz" else None)
                status, body = (503, f"{problem}\n".encode()) if problem else (200, b"ok\n")
            else:
                status, body = 404, b"see /metrics, /healthz and /readyz\n"
            self.answer(status, content_type, body)

    with listening("metrics_port", port, host, Handler) as listening_on:
        yield listening_on
