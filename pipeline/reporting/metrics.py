"""The server of ``--metrics_port``: ``/metrics`` (Prometheus), ``/healthz`` and ``/readyz``."""

from __future__ import annotations

import contextlib
import http.server
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.reporting.health import not_ready, unhealthy
from pipeline.reporting.lag import Lag
from transforms.errors import ScoringError

CLIENT_TIMEOUT_S = 10.0
"""How long a client may send or take nothing until its connection, and with it a thread, is given up."""

MOST_CLIENTS = 32
"""Connections at a time, each of which has a thread. One more cuts the oldest, which is never a scraper that is served in
milliseconds: a client that sends a byte now and then keeps nobody else out."""

MAKE_ROOM_S = 1.0
"""How long a new client waits for the thread of the one that was cut."""


@contextlib.contextmanager
def serve_metrics(
    port: int,
    rows: Any,
    host: str = "127.0.0.1",
    client_timeout_s: float = CLIENT_TIMEOUT_S,
    lag: Callable[[], Lag | None] = lambda: None,
    model: str = "",
) -> Iterator[int]:
    """Serves ``/metrics``, ``/healthz`` and ``/readyz`` while the context lasts; yields the port.

    Args:
        port: Where to listen; 0 for a free port.
        rows: The workers' rows: see ``pipeline.process.stats``.
        host: The address to listen on.
        client_timeout_s: How long a client may be silent.
        lag: Returns the lag; ``None`` while it is not known.
        model: The model's name.

    Raises:
        ScoringError: The port is taken.
    """
    # Here, not above: a job without --metrics_port does not load the library.
    from prometheus_client.exposition import choose_encoder

    from pipeline.reporting.collector import registry_of

    registry = registry_of(rows, lag, model)

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = client_timeout_s  # of every read and write, which http.server takes from here

        def do_GET(self) -> None:  # the name that http.server calls
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
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Says nothing."""

    try:
        server = _Server((host, port), Handler)
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


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # of five, the default, a crowd leaves none for a scraper, which tries again after 1, 3, 7 s …

    def __init__(self, address: tuple[str, int], handler: type[http.server.BaseHTTPRequestHandler]):
        self._slots = threading.BoundedSemaphore(MOST_CLIENTS)
        self._clients: dict[Any, None] = {}  # the oldest comes first
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a client in a thread of its own, if one is or becomes free."""
        if not self._slots.acquire(blocking=False):
            with contextlib.suppress(StopIteration, RuntimeError, OSError):  # the oldest is leaving by itself
                next(iter(self._clients)).shutdown(socket.SHUT_RDWR)
            if not self._slots.acquire(timeout=MAKE_ROOM_S):
                super().shutdown_request(request)
                return
        self._clients[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Frees the client's place once its connection is closed."""
        super().shutdown_request(request)
        if request in self._clients:
            del self._clients[request]
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that has hung up."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)
