"""A small HTTP server for what a running job shows: bounded threads, and no patience with clients that stall."""

from __future__ import annotations

import contextlib
import http.server
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

from transforms.errors import ScoringError

CLIENT_TIMEOUT_S = 10.0
"""How long a client may send or take nothing until its connection, and with it a thread, is given up."""

MOST_CLIENTS = 32
"""Most connections at a time; each has a thread. A further one closes the oldest: a normal client is served in milliseconds,
so the oldest is one that stalls. A client that sends a byte now and then can't keep others out."""

MAKE_ROOM_S = 1.0
"""How long a new client waits for the thread of the one that was cut."""


class QuietHandler(http.server.BaseHTTPRequestHandler):
    """The base of the handlers: sends whole answers, and writes no log. A subclass has ``get``."""

    timeout: ClassVar[float | None] = CLIENT_TIMEOUT_S  # of every read and write, which http.server takes from here

    def do_GET(self) -> None:  # the names that http.server calls
        """Answers a request."""
        self.get()

    def do_HEAD(self) -> None:
        """The same without the body."""
        self.get()

    def get(self) -> None:
        """Answers a request by ``answer``."""
        raise NotImplementedError

    def answer(self, status: int, content_type: str, body: bytes, **headers: str) -> None:
        """Sends a whole answer. Underscores in the names of further headers stand for hyphens."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def listening(flag: str, port: int, host: str, handler: type[QuietHandler]) -> Iterator[int]:
    """Serves while the context lasts, in threads of its own; yields the port.

    Args:
        flag: The flag that the port is from, for messages and the thread's name.
        port: Where to listen; 0 for a free port.
        host: The address to listen on.
        handler: Answers the requests.

    Raises:
        ScoringError: The port is taken, or the address is not one of this machine.
    """
    try:
        server = _Server((host, port), handler)
    except OSError as error:
        raise ScoringError(f"--{flag}={port}: can't listen on {host}: {error.strerror}; choose another port") from error
    thread = threading.Thread(target=server.serve_forever, name=flag, daemon=True)
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
