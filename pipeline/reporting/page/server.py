"""The server of ``--status_port``: the page, its state as JSON, and the images that it shows.

Other sites in the same browser can send requests to this server, too. So the ``Host`` of a request must name this machine:
otherwise a site could read the state by a domain of its own that resolves to this address (DNS rebinding). The headers of
each answer forbid scripts of any other source, frames, and use by other origins.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import ipaddress
import re
import socket
import urllib.parse
from collections.abc import Iterator

import orjson

from pipeline.reporting.listening import CLIENT_TIMEOUT_S, QuietHandler, listening
from pipeline.reporting.page.inputs import Inputs
from pipeline.reporting.page.state import PageState

FLAG = "status_port"

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/charts.js": ("charts.js", "text/javascript; charset=utf-8"),
    "/tables.js": ("tables.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}

NOT_OURS = b"ask by this machine's address, or as localhost: another name may be another site's that leads here\n"

HEADERS = {
    "Content_Security_Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X_Content_Type_Options": "nosniff",
    "Referrer_Policy": "no-referrer",
    "Cross_Origin_Resource_Policy": "same-origin",
    "Cross_Origin_Opener_Policy": "same-origin",
    "Cache_Control": "no-store",
}

_PICTURE = re.compile(r"/picture/([\w.-]+)/(\d{1,10})/(\d{1,19})", re.ASCII)
_TEXT = "text/plain; charset=utf-8"


@contextlib.contextmanager
def serve_page(
    port: int, state: PageState, inputs: Inputs, host: str = "127.0.0.1", client_timeout_s: float = CLIENT_TIMEOUT_S
) -> Iterator[str]:
    """Serves the page while the context lasts; yields its URL.

    Args:
        port: Where to listen; 0 for a free port.
        state: Makes what it shows.
        inputs: Has the images.
        host: The address to listen on.
        client_timeout_s: How long a client may be silent.

    Raises:
        ScoringError: The port is taken.
    """

    class Handler(QuietHandler):
        timeout = client_timeout_s

        def get(self) -> None:
            """Answers the files, the state and the images."""
            if not is_ours(self.headers.get("Host", ""), host):
                self.answer(421, _TEXT, NOT_OURS, **HEADERS)
            elif self.path in FILES:
                name, content_type = FILES[self.path]
                self.answer(200, content_type, _file(name), **HEADERS)
            elif self.path == "/state.json":
                self.answer(200, "application/json", orjson.dumps(state.now()), **HEADERS)
            elif (match := _PICTURE.fullmatch(self.path)) and (
                found := inputs.picture((match[1], int(match[2]), int(match[3])))
            ):
                self.answer(200, found.content_type, found.content, **HEADERS)
            else:
                self.answer(404, _TEXT, b"see /\n", **HEADERS)

    with listening(FLAG, port, host, Handler) as listening_on:
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else host  # noqa: S104  # the user's wish
        yield f"http://{shown}:{listening_on}/"


def is_ours(asked: str, host: str) -> bool:
    """Whether a request's ``Host`` names this machine: by an address, which no other site can own, or by its own name.

    Args:
        asked: The header's value.
        host: What ``--status_host`` is.
    """
    try:
        name = urllib.parse.urlsplit(f"//{asked}").hostname
    except ValueError:
        return False
    if name is None:
        return False
    own = {"localhost", host.lower()}
    if not _is_loopback(host):
        own.add(socket.gethostname().lower())
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return True
    return name in own or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@functools.cache
def _file(name: str) -> bytes:
    return importlib.resources.files(__package__).joinpath("static", name).read_bytes()
