"""The model URIs of TensorFlow Serving's two protocols.

    grpc://HOST:PORT/MODEL[@VERSION][?signature=NAME]                          grpcs:// for TLS
    http://HOST[:PORT]/v1/models/MODEL[/versions/N|/labels/LABEL][?signature=NAME]   https:// for TLS

VERSION is a number or, if it is not all digits, a version label.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import SplitResult, parse_qsl, quote, unquote

from transforms.clients.uri import mistake, split

GRPC_FORM = "grpc://HOST:PORT/MODEL[@VERSION][?signature=NAME]"
REST_FORM = "http://HOST:PORT/v1/models/MODEL[/versions/N|/labels/LABEL][?signature=NAME]"

_REST_PATH = re.compile(
    r"(?P<prefix>/.*)?/v1/models/(?P<model>[^/:]+)(/versions/(?P<version>[^/]+)|/labels/(?P<label>[^/]+))?/?"
)
_MAX_VERSION = 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class ModelAddress:
    """The address of a model on a server, parsed from a URI.

    Attributes:
        secure: Whether the URI asks for TLS.
        host: The host's name or address; an IPv6 one without brackets.
        port: The TCP port.
        model: The model's name.
        version: The version's number, if one is asked for.
        label: The version label, if one is asked for.
        signature: The signature's name, if one is asked for.
        prefix: The path before ``/v1/models`` (REST behind a gateway), or empty.
    """

    secure: bool
    host: str
    port: int
    model: str
    version: int | None = None
    label: str | None = None
    signature: str | None = None
    prefix: str = ""

    @property
    def target(self) -> str:
        """``HOST:PORT``, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        """The REST URL of the model, in the version asked for: its status."""
        url = self.model_url
        if self.version is not None:
            return f"{url}/versions/{self.version}"
        return f"{url}/labels/{quote(self.label, safe='')}" if self.label is not None else url

    @property
    def model_url(self) -> str:
        """The REST URL of the model, in no particular version."""
        scheme = "https" if self.secure else "http"
        return f"{scheme}://{self.target}{self.prefix}/v1/models/{quote(self.model, safe='')}"

    @property
    def rest_uri(self) -> str:
        """The URI of the same model over REST, at this port."""
        return self.base_url + self._query

    @property
    def grpc_uri(self) -> str:
        """The URI of the same model over gRPC, at this port."""
        asked = self.version if self.version is not None else self.label
        version = "" if asked is None else f"@{quote(str(asked), safe='')}"
        return f"{'grpcs' if self.secure else 'grpc'}://{self.target}/{quote(self.model, safe='')}{version}{self._query}"

    @property
    def _query(self) -> str:
        return "" if self.signature is None else f"?signature={quote(self.signature, safe='')}"

    def __str__(self) -> str:
        version = self.version if self.version is not None else self.label
        return f"model {self.model}{f'@{version}' if version is not None else ''} at {self.target}"


def parse_grpc(uri: str) -> ModelAddress:
    """Parses ``grpc://`` and ``grpcs://`` URIs.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    parts, port = split(uri, GRPC_FORM)
    if port is None:
        raise mistake(uri, "the port is missing (TensorFlow Serving's gRPC port is 8500)", GRPC_FORM)
    path = parts.path[1:]
    name, at, version = path.rpartition("@") if "@" in path else (path, "", "")
    name, version = unquote(name), unquote(version)
    if not name or "/" in name:
        cure = " (the /v1/models form is for http://)" if path.startswith("v1/models") else ""
        raise mistake(uri, f"the path must be one model name{cure}", GRPC_FORM)
    if at and not version:
        raise mistake(uri, "a version number or label is missing behind @", GRPC_FORM)
    number, label = (_version(uri, version, GRPC_FORM), None) if version.isdecimal() else (None, version or None)
    return ModelAddress(
        parts.scheme == "grpcs", parts.hostname or "", port, name, number, label, _signature(uri, parts, GRPC_FORM)
    )


def parse_rest(uri: str) -> ModelAddress:
    """Parses ``http://`` and ``https://`` URIs.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    parts, port = split(uri, REST_FORM)
    matched = _REST_PATH.fullmatch(parts.path)
    if not matched:
        cure = "leave out the method behind the colon" if ":" in parts.path else "the path must be /v1/models/MODEL"
        raise mistake(uri, cure, REST_FORM)
    version, label = matched["version"], matched["label"]
    if version is not None and not version.isdecimal():
        raise mistake(uri, "a version is a number; a version label goes into /labels/LABEL", REST_FORM)
    secure = parts.scheme == "https"
    return ModelAddress(
        secure,
        parts.hostname or "",
        port or (443 if secure else 80),
        unquote(matched["model"]),
        None if version is None else _version(uri, version, REST_FORM),
        None if label is None else unquote(label),
        _signature(uri, parts, REST_FORM),
        matched["prefix"] or "",
    )


def _version(uri: str, text: str, form: str) -> int:
    if len(text) > 30 or int(text) > _MAX_VERSION:  # Python refuses to read thousands of digits
        raise mistake(uri, "the version number does not fit in 64 bits", form)
    return int(text)


def _signature(uri: str, parts: SplitResult, form: str) -> str | None:
    asked = parse_qsl(parts.query, keep_blank_values=True)
    unknown = [name for name, _ in asked if name != "signature"]
    if unknown:
        raise mistake(uri, f"unknown parameter {unknown[0]}", form)
    if len(asked) > 1 or any(not value for _, value in asked):
        raise mistake(uri, "signature takes one name", form)
    return asked[0][1] if asked else None
