"""The model URI of multi-model-server and TorchServe.

    mms+http://HOST:PORT/MODEL[/VERSION][?management=HOST:PORT][&body=json|bytes|multipart]      mms+https:// for TLS

VERSION is text, such as ``1.0``. ``management`` is the address of the management API, whose default port is 8081; without
it, the management API is expected at HOST:PORT itself. ``body`` is the form in which a row is sent (``wire/row_body.py``).
"""

from __future__ import annotations

import dataclasses
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import yarl

from transforms.clients.uri import mistake, split
from transforms.clients.wire.row_body import BODIES
from transforms.errors import ConfigError
from transforms.hosts import is_authority

FORM = "mms+http://HOST:PORT/MODEL[/VERSION][?management=HOST:PORT][&body=json|bytes|multipart]"

_PARAMETERS = ("management", "body")


@dataclasses.dataclass(frozen=True, slots=True)
class MmsAddress:
    """The address of a model on a server, parsed from a URI.

    Attributes:
        secure: Whether the URI asks for TLS.
        target: ``HOST:PORT`` of the inference API, an IPv6 address in brackets.
        model: The model's name.
        version: The version, if one is asked for.
        management: ``HOST:PORT`` of the management API, if the URI names it.
        body: ``json``, ``bytes`` or ``multipart``, if the URI names one.
    """

    secure: bool
    target: str
    model: str
    version: str | None = None
    management: str | None = None
    body: str | None = None

    @property
    def ping_url(self) -> yarl.URL:
        """The URL that says whether the server is up."""
        return self._url(self.target, "ping")

    @property
    def predictions_url(self) -> yarl.URL:
        """The URL of predictions, in the version asked for."""
        version = () if self.version is None else (self.version,)
        return self._url(self.target, "predictions", self.model, *version)

    @property
    def model_url(self) -> yarl.URL:
        """The URL of the management API's description of the default version."""
        return self._url(self.management or self.target, "models", self.model)

    @property
    def versions_url(self) -> yarl.URL:
        """The URL of TorchServe's description of all versions; multi-model-server has no such URL."""
        return self._url(self.management or self.target, "models", self.model, "all")

    def _url(self, target: str, *path: str) -> yarl.URL:
        scheme = "https" if self.secure else "http"
        return yarl.URL("/".join((f"{scheme}:/", target, *(quote(part, safe="") for part in path))), encoded=True)

    def __str__(self) -> str:
        return f"model {self.model}{f'@{self.version}' if self.version is not None else ''} at {self.target}"


def parse(uri: str) -> MmsAddress:
    """Parses an ``mms+http://`` or ``mms+https://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    parts, port = split(uri, FORM)
    if port is None:
        raise mistake(uri, "the port is missing (the inference API's is 8080 unless the server is told otherwise)", FORM)
    path = [unquote(part) for part in parts.path.removeprefix("/").removesuffix("/").split("/")]
    if path[0] == "predictions" and len(path) > 1:
        raise mistake(uri, "leave out /predictions", FORM)
    if not 1 <= len(path) <= 2 or not all(path):
        raise mistake(uri, "the path must be a model name, and a version if one is meant", FORM)
    asked = _parameters(uri, parts)
    management, body = asked.get("management"), asked.get("body")
    if management is not None and "@" in management:
        # The message does not repeat the URI: it holds a secret.
        raise ConfigError([f"--model: management must be HOST:PORT, without a user name or password; the form is {FORM}"])
    if management is not None and not _is_address(management):
        raise mistake(uri, f"management={management}: must be HOST:PORT", FORM)
    if body is not None and body not in BODIES:
        raise mistake(uri, f"body={body}: must be one of {', '.join(BODIES)}", FORM)
    host = parts.hostname or ""
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return MmsAddress(parts.scheme == "mms+https", target, path[0], path[1] if path[1:] else None, management, body)


def _parameters(uri: str, parts: SplitResult) -> dict[str, str]:
    asked = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in asked:
        if name not in _PARAMETERS:
            raise mistake(uri, f"unknown parameter {name}", FORM)
        if not value or len([other for other, _ in asked if other == name]) > 1:
            raise mistake(uri, f"{name} takes one value", FORM)
    return dict(asked)


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(f"//{text}")
        return bool(parts.hostname and parts.port) and parts.netloc == text and is_authority(text)
    except ValueError:
        return False
