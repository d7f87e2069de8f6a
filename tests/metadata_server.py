"""Stands for the metadata server of a machine on Google Cloud, from which google-auth has a worker's identity and tokens.

Each token is another one, and the one before is worth nothing from then on. Nothing of google-auth is replaced: it finds
this server by the variables in ``environ``.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path

ACCOUNT = "worker@demo-project.iam.gserviceaccount.com"
PROJECT = "demo-project"
SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_ROOT = "/computeMetadata/v1/"


class MetadataServer:
    """What is asked of it, and what it gives out.

    Attributes:
        lives_s: How long a token is valid, in seconds.
        away: Whether it hangs up on everybody.
        given: Every token that it gave out.
        refused: How many it has hung up on.
        on_token: Called with each token before it is given out.
        make: Returns the token with the number that it gets.
    """

    def __init__(self, address: str):
        self.address = address
        self.lives_s = 3600
        self.away = False
        self.given: list[str] = []
        self.refused = 0
        self.on_token: Callable[[str], None] = lambda _: None
        self.make: Callable[[int], str] = "token-{}".format

    def environ(self, home: Path) -> dict[str, str]:
        """The environment of a worker that has this server and nothing else.

        Args:
            home: An empty folder.
        """
        return {
            "GCE_METADATA_HOST": self.address,
            "GCE_METADATA_IP": self.address,
            "GOOGLE_APPLICATION_CREDENTIALS": "",
            "CLOUDSDK_CONFIG": str(home),
            "NO_GCE_CHECK": "false",
            # google-auth looks up at Google where an account may be used, and does without; nothing leaves this machine.
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1,localhost",
        }

    def answer(self, path: str) -> object:
        """Returns the answer to a GET; ``None`` if there is nothing of that name."""
        name = urllib.parse.urlsplit(path).path.removeprefix(_ROOT).strip("/")
        if name in ("instance/service-accounts/default/token", f"instance/service-accounts/{ACCOUNT}/token"):
            self.given.append(self.make(len(self.given) + 1))
            self.on_token(self.given[-1])
            return {"access_token": self.given[-1], "expires_in": self.lives_s, "token_type": "Bearer"}
        if name in ("instance/service-accounts/default", f"instance/service-accounts/{ACCOUNT}"):
            return {"aliases": ["default"], "email": ACCOUNT, "scopes": list(SCOPES)}
        return {"project/project-id": PROJECT, "universe/universe-domain": "googleapis.com", "": "instance/"}.get(name)


@contextlib.contextmanager
def metadata_server() -> Iterator[MetadataServer]:
    """Runs one while the block runs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if here.away:
                here.refused += 1
                self.close_connection = True
                return
            flavored = self.headers.get("Metadata-Flavor") == "Google"  # who does not say so is not answered
            found = here.answer("" if self.path == "/" else self.path) if flavored else None
            self.send_response(404 if found is None else 200)
            self.send_header("Metadata-Flavor", "Google")
            self.send_header("Content-Type", "text/plain" if isinstance(found, str) else "application/json")
            self.end_headers()
            self.wfile.write((found if isinstance(found, str) else json.dumps(found)).encode())

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here = MetadataServer(f"127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield here
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
