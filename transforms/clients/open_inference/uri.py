"""The model URIs of the Open Inference Protocol.

    oip+grpc://HOST:PORT/MODEL[/VERSION][?batch=none]                                     oip+grpcs:// for TLS
    oip+http://HOST[:PORT]/MODEL[/VERSION][?batch=none]                                   oip+https:// for TLS
    oip+http://HOST[:PORT][/PREFIX]/v2/models/MODEL[/versions/VERSION][?batch=none]       the URL as servers document it

A version is any text: Triton's are numbers, MLServer's may be ``v1.2``. ``batch=none`` says that the model's shapes have no
batch dimension (``unbatched.py``).
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import quote, unquote, urlsplit

from transforms.clients.uri import mistake, split

GRPC_FORM = "oip+grpc://HOST:PORT/MODEL[/VERSION][?batch=none]"
HTTP_FORM = "oip+http://HOST:PORT/MODEL[/VERSION][?batch=none]"

_NO_BATCH = "batch=none"

_SHORT = re.compile(r"/(?P<model>[^/]+)(/(?P<version>[^/]+))?/?")
_LONG = re.compile(r"(?P<prefix>/.*)?/v2/models/(?P<model>[^/]+)(/versions/(?P<version>[^/]+))?/?")


@dataclasses.dataclass(frozen=True, slots=True)
class OipAddress:
    """The address of a model on a server, parsed from a URI.

    Attributes:
        secure: Whether the URI asks for TLS.
        host: The host's name or address; an IPv6 one without brackets.
        port: The TCP port.
        model: The model's name.
        version: The version, if one is asked for.
        prefix: The path before ``/v2`` (REST behind a gateway), or empty.
        unbatched: Whether the URI says that the model's shapes have no batch dimension.
    """

    secure: bool
    host: str
    port: int
    model: str
    version: str | None = None
    prefix: str = ""
    unbatched: bool = False

    @property
    def target(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def server_url(self) -> str:
        """The REST URL of the server's metadata."""
        return f"{'https' if self.secure else 'http'}://{self.target}{self.prefix}/v2"

    @property
    def model_url(self) -> str:
        """The REST URL of the model, in the version asked for: its metadata."""
        version = "" if self.version is None else f"/versions/{quote(self.version, safe='')}"
        return f"{self.server_url}/models/{quote(self.model, safe='')}{version}"

    @property
    def http_uri(self) -> str:
        """The URI of the same model over HTTP, at this port."""
        return f"{'oip+https' if self.secure else 'oip+http'}://{self.target}{self._path}"

    @property
    def grpc_uri(self) -> str:
        """The URI of the same model over gRPC, at this port."""
        return f"{'oip+grpcs' if self.secure else 'oip+grpc'}://{self.target}{self._path}"

    @property
    def _path(self) -> str:
        version = "" if self.version is None else f"/{quote(self.version, safe='')}"
        return f"/{quote(self.model, safe='')}{version}{f'?{_NO_BATCH}' if self.unbatched else ''}"

    def __str__(self) -> str:
        return f"model {self.model}{'' if self.version is None else f'/{self.version}'} at {self.target}"


def parse_grpc(uri: str) -> OipAddress:
    """Parses ``oip+grpc://`` and ``oip+grpcs://`` URIs.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    address = _parse(uri, GRPC_FORM, None)
    if address.prefix or _LONG.fullmatch(urlsplit(uri).path):
        raise mistake(uri, "the /v2/models form is for oip+http://", GRPC_FORM)
    return address


def parse_http(uri: str) -> OipAddress:
    """Parses ``oip+http://`` and ``oip+https://`` URIs.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return _parse(uri, HTTP_FORM, 443 if uri.startswith("oip+https:") else 80)


def _parse(uri: str, form: str, default_port: int | None) -> OipAddress:
    parts, port = split(uri, form)
    if parts.query not in ("", _NO_BATCH):
        raise mistake(uri, f"only {_NO_BATCH} may follow a ?: this protocol has no signatures to choose from", form)
    port = default_port if port is None else port
    if port is None:
        raise mistake(uri, "the port is missing (8001 for Triton, 8081 for MLServer and KServe)", form)
    matched = _LONG.fullmatch(parts.path) or _SHORT.fullmatch(parts.path)
    if not matched:
        raise mistake(uri, "the path must be a model's name and, if you like, a version", form)
    if "@" in matched["model"]:
        raise mistake(uri, "the version follows a slash, not an @", form)
    fields = matched.groupdict()
    version = fields["version"]
    return OipAddress(
        parts.scheme in ("oip+grpcs", "oip+https"),
        parts.hostname or "",
        port,
        unquote(fields["model"]),
        None if version is None else unquote(version),
        fields.get("prefix") or "",
        parts.query == _NO_BATCH,
    )
