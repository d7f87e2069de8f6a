"""The model URI of Vertex AI's online prediction.

    vertex://PROJECT/REGION/ENDPOINT[?transport=grpc|rest][&dedicated=HOST][&private=URL][&api_endpoint=HOST[:PORT]]
        [&parameters=JSON]
    vertex://PROJECT/REGION/ENDPOINT?raw=json|bytes|multipart[&part=NAME][&content_type=TYPE][&dedicated=HOST]
        [&api_endpoint=HOST[:PORT]]

| parameter | means |
|---|---|
| ``transport`` | ``grpc`` (default) or ``rest`` |
| ``dedicated`` | the endpoint's own host: its ``dedicatedEndpointDns``, or its Private Service Connect address |
| ``private`` | ``predictHttpUri`` of a private endpoint (VPC peering): plain HTTP, REST, sent without credentials |
| ``api_endpoint`` | another host for the regional API: Private Service Connect for Google APIs, a local server |
| ``parameters`` | the field ``parameters`` of every request; JSON, percent-encoded |
| ``raw`` | ``:rawPredict`` over REST: JSON by ``--request``, the record's bytes, or those as a form's ``part`` |

Connections use TLS. To a loopback address they use it only with ``https://HOST``, and credentials are never sent there.
Source: https://cloud.google.com/vertex-ai/docs/predictions/choose-endpoint-type.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from transforms.clients.uri import parameters_of, shown
from transforms.errors import ConfigError
from transforms.hosts import is_authority

if TYPE_CHECKING:
    from transforms.clients.json_bodies.form import Form

FORM = (
    "vertex://PROJECT/REGION/ENDPOINT[?transport=grpc|rest][&dedicated=HOST][&private=URL]"
    "[&api_endpoint=HOST[:PORT]][&parameters=JSON], or …?raw=json|bytes|multipart[&part=NAME][&content_type=TYPE]…"
)

GRPC = "grpc"
REST = "rest"

PUBLIC_LIMIT_BYTES = 1_572_864
"""The size limit of a request to a shared public endpoint: 1.5 MB; the number is that of the service's error message."""

OWN_LIMIT_BYTES = 10_000_000
"""The size limit of a request to a dedicated, Private Service Connect or private endpoint: 10 MB."""

_PARAMETERS = ("transport", "dedicated", "private", "api_endpoint", "parameters", "raw", "part", "content_type")
_RAW = ("json", "bytes", "multipart")
_NAME = {
    "project": re.compile(r"[a-z0-9](?:[a-z0-9.:-]*[a-z0-9])?"),  # an id, perhaps with a domain, or a number
    "region": re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?"),
    "endpoint": re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?"),
}


@dataclasses.dataclass(frozen=True, slots=True)
class VertexAddress:
    """The address of an endpoint, parsed from a URI.

    Attributes:
        project: The id or number of the project.
        region: The region, such as ``europe-west4``.
        endpoint: The id of the endpoint.
        transport: ``grpc`` or ``rest``.
        host: The host's name or address; an IPv6 address without brackets.
        port: The TCP port.
        secure: Whether to use TLS.
        own_host: Whether the host serves this endpoint alone, instead of the region's API.
        private_url: The whole ``:predict`` URL of a private endpoint; ``None`` for others.
        parameters: The JSON text of the requests' ``parameters``; ``None`` for none.
        raw: The form of the bodies that the model's container itself takes, by ``:rawPredict``; ``None`` for ``:predict``.
    """

    project: str
    region: str
    endpoint: str
    transport: str
    host: str
    port: int
    secure: bool
    own_host: bool = False
    private_url: str | None = None
    parameters: str | None = None
    raw: Form | None = None

    @property
    def name(self) -> str:
        """The endpoint's resource name."""
        return f"projects/{self.project}/locations/{self.region}/endpoints/{self.endpoint}"

    @property
    def target(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def predict_url(self) -> str:
        """The URL of REST requests."""
        call = "predict" if self.raw is None else "rawPredict"
        return self.private_url or f"{'https' if self.secure else 'http'}://{self.target}/v1/{self.name}:{call}"

    @property
    def anonymous(self) -> bool:
        """Whether requests carry no credentials: without TLS they could be read, and a local server needs none."""
        return not self.secure or is_loopback(self.host)

    @property
    def max_request_bytes(self) -> int:
        """The size limit of a request, in bytes."""
        return OWN_LIMIT_BYTES if self.own_host else PUBLIC_LIMIT_BYTES

    def __str__(self) -> str:
        return f"endpoint {self.endpoint} at {self.target}"


def is_loopback(host: str) -> bool:
    """Returns whether a host is a loopback address or ``localhost``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def parse(uri: str) -> VertexAddress:
    """Parses a ``vertex://`` URI.

    Raises:
        ConfigError: The URI is wrong; the messages name all mistakes, and the correct form.
    """
    path, _, query = uri.removeprefix("vertex://").partition("?")
    mistakes: list[str] = []
    given = parameters_of(query, _PARAMETERS, mistakes)
    parts = path.split("/")
    if len(parts) != len(_NAME):
        mistakes.append(f"{len(parts)} names where PROJECT/REGION/ENDPOINT are expected")
    for (what, pattern), part in zip(_NAME.items(), parts, strict=False):
        if not pattern.fullmatch(part):
            mistakes.append(f"{part or 'nothing'} can't be the {what}")
    transport = given.get("transport", REST if given.keys() & {"private", "raw"} else GRPC)
    if transport not in (GRPC, REST):
        mistakes.append(f"transport={transport} is neither grpc nor rest")
    hosts = [name for name in ("dedicated", "private", "api_endpoint") if name in given]
    if len(hosts) > 1:
        mistakes.append(f"{' and '.join(hosts)} exclude each other")
    region = parts[1] if len(parts) > 1 else ""
    host, port, secure = f"{region}-aiplatform.googleapis.com", 443, True
    if "private" in given:
        if transport == GRPC:
            mistakes.append("a private endpoint is called over REST; leave out transport=grpc")
        host, port, secure = _private(given["private"], mistakes)
    elif hosts:
        host, port, secure = _host(hosts[0], given[hosts[0]], mistakes)
    parameters = _json(given["parameters"], mistakes) if "parameters" in given else None
    raw = _raw(given, mistakes)
    if mistakes:
        raise ConfigError([f"--model={shown(uri)}: {mistake}; the form is {FORM}" for mistake in mistakes])
    own_host = "dedicated" in given or "private" in given
    project, region, endpoint = parts
    return VertexAddress(
        project, region, endpoint, transport, host, port, secure, own_host, given.get("private"), parameters, raw
    )


def _raw(given: dict[str, str], mistakes: list[str]) -> Form | None:
    """Returns what ``raw``, ``part`` and ``content_type`` ask for; ``None`` for ``:predict``."""
    if "raw" not in given:
        mistakes += [
            f"{name} is for raw=json, raw=bytes or raw=multipart" for name in ("part", "content_type") if name in given
        ]
        return None
    if given["raw"] not in _RAW:
        mistakes.append(f"raw={given['raw']} is none of {', '.join(_RAW)}")
    if given.get("transport") == GRPC:
        mistakes.append("raw requests are sent over REST; leave out transport=grpc")
    if "private" in given:
        mistakes.append("a private endpoint has no :rawPredict; call its container by json+http://HOST/PATH")
    if "parameters" in given:
        mistakes.append("parameters is a field of :predict; with raw, write it into the template of --request")
    from transforms.clients.json_bodies.form import form_of  # here: it loads aiohttp, which gRPC does not need

    try:
        return form_of(None if given["raw"] == _RAW[0] else given["raw"], given.get("part"), given.get("content_type"))
    except ValueError as error:
        mistakes.append(str(error))
        return None


def _authority(text: str) -> tuple[SplitResult, str, int | None]:
    """Returns the parts of ``[SCHEME:]//HOST[:PORT]…``, with the host, or ``""`` if it can't be called, and the port."""
    try:
        split = urlsplit(text)
        if split.port != 0 and "@" not in split.netloc and is_authority(split.netloc):
            return split, split.hostname or "", split.port
    except ValueError:
        pass
    return urlsplit(""), "", None


def _host(name: str, text: str, mistakes: list[str]) -> tuple[str, int, bool]:
    """Reads ``[http[s]://]HOST[:PORT]``. Connections without TLS are allowed to this machine only."""
    scheme, separator, rest = text.rpartition("://")
    split, host, port = _authority(f"//{rest}")
    if not host or scheme not in ("", "http", "https") or split.path not in ("", "/"):
        mistakes.append(f"{name} must be HOST or HOST:PORT")
        return "", 0, True
    secure = scheme == "https" if separator else not is_loopback(host)
    if not secure and not is_loopback(host):
        mistakes.append(f"{name}={text}: requests carry credentials, and plain text is for this machine only; use https://")
    return host, port or (443 if secure else 80), secure


def _private(url: str, mistakes: list[str]) -> tuple[str, int, bool]:
    split, host, port = _authority(url)
    if not host or split.scheme not in ("http", "https") or not split.path.endswith(":predict"):
        mistakes.append("private must be the endpoint's predictHttpUri, http://…:predict")
    secure = split.scheme == "https"
    return host, port or (443 if secure else 80), secure


def _json(text: str, mistakes: list[str]) -> str | None:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.dumps(json.loads(text, parse_constant=refuse))
    except (ValueError, RecursionError) as error:
        mistakes.append(f"parameters is no JSON ({error}), or not percent-encoded")
        return None
