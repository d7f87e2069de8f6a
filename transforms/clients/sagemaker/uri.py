"""The model URI of a SageMaker endpoint.

    sagemaker://ENDPOINT?region=REGION[&variant=NAME][&component=NAME][&body=csv|bytes][&content_type=TYPE][&accept=TYPE]
        [&endpoint=http[s]://HOST[:PORT]]

| parameter | means |
|---|---|
| ``region`` | the endpoint's region, such as ``eu-west-1`` |
| ``variant`` | the production variant to ask; without it SageMaker chooses one by the weights |
| ``component`` | the inference component to ask, for endpoints that host several |
| ``body`` | JSON by ``--request`` without it; ``csv``: a line a row; ``bytes``: the record's bytes |
| ``content_type`` | of requests; ``application/json``, ``text/csv`` or ``application/octet-stream`` without it |
| ``accept`` | the content type that answers should have; without it ``text/csv`` with ``body=csv``, else JSON |
| ``endpoint`` | another address: an interface VPC endpoint, a local server |

Source: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html.
"""

from __future__ import annotations

import dataclasses
import re
from urllib.parse import urlsplit

from transforms.clients.json_bodies.csv_rows import CSV, CSV_TYPE
from transforms.clients.json_bodies.form import JSON_FORM, Form, form_of
from transforms.clients.uri import login_mistake, parameters_of, shown
from transforms.clients.wire.http import JSON_TYPE
from transforms.clients.wire.row_body import BYTES
from transforms.errors import ConfigError
from transforms.hosts import is_authority

FORM = (
    "sagemaker://ENDPOINT?region=REGION[&variant=NAME][&component=NAME][&body=csv|bytes][&content_type=TYPE]"
    "[&accept=TYPE][&endpoint=http[s]://HOST[:PORT]]"
)

_PARAMETERS = ("region", "variant", "component", "body", "content_type", "accept", "endpoint")
_NAME = re.compile(r"[A-Za-z0-9](?:-*[A-Za-z0-9]){0,62}")  # the API's pattern of all three names
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d+")
_DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}
"""The domains of AWS's partitions, by how the names of their regions begin; the others have ``amazonaws.com``."""


@dataclasses.dataclass(frozen=True, slots=True)
class SageMakerAddress:
    """The address of an endpoint, parsed from a URI.

    Attributes:
        endpoint: The endpoint's name.
        region: Its region, for which requests are signed.
        origin: Scheme, host and port of the API.
        variant: The production variant to ask; ``None`` for SageMaker's choice.
        component: The inference component to ask; ``None`` for none.
        form: What the body of a request is.
        accept: The content type that is asked for.
    """

    endpoint: str
    region: str
    origin: str
    variant: str | None = None
    component: str | None = None
    form: Form = JSON_FORM
    accept: str = JSON_TYPE

    @property
    def url(self) -> str:
        """The URL of requests."""
        return f"{self.origin}/endpoints/{self.endpoint}/invocations"

    @property
    def secure(self) -> bool:
        """Whether requests use TLS."""
        return self.origin.startswith("https://")

    def __str__(self) -> str:
        return f"endpoint {self.endpoint} at {self.origin.partition('://')[2]}"


def parse(uri: str) -> SageMakerAddress:
    """Parses a ``sagemaker://`` URI.

    Raises:
        ConfigError: The URI is wrong; the messages name all mistakes, and the correct form.
    """
    endpoint, _, query = uri.removeprefix("sagemaker://").partition("?")
    mistakes: list[str] = []
    given = parameters_of(query, _PARAMETERS, mistakes)
    region, body = given.get("region", ""), given.get("body")
    for what, name in (("endpoint", endpoint), ("variant", given.get("variant")), ("component", given.get("component"))):
        if name is not None and not _NAME.fullmatch(name):
            mistakes.append(f"{name or 'nothing'} can't be the name of the {what}: letters, digits and - between them")
    if not region:
        mistakes.append("the region is missing: ?region=eu-west-1")
    elif not _REGION.fullmatch(region):
        mistakes.append(f"region={region}: can't be a region; they are named as eu-west-1")
    if body not in (None, CSV, BYTES):
        mistakes.append(f"body={body}: must be {CSV} or {BYTES}; leave it out for JSON")
    accept = given.get("accept", CSV_TYPE if body == CSV else JSON_TYPE)
    if not accept.isprintable() or not accept.isascii():
        mistakes.append("accept has characters that no header has")
    form = JSON_FORM
    try:
        form = form_of(body, None, given.get("content_type"))
    except ValueError as error:
        mistakes.append(str(error))
    origin = f"https://runtime.sagemaker.{region}.{_DOMAINS.get(region.partition('-')[0], 'amazonaws.com')}"
    if "endpoint" in given:
        origin = _origin(given["endpoint"], mistakes)
    if mistakes:
        raise ConfigError([f"--model={shown(uri)}: {mistake}; the form is {FORM}" for mistake in mistakes])
    return SageMakerAddress(endpoint, region, origin, given.get("variant"), given.get("component"), form, accept)


def _origin(url: str, mistakes: list[str]) -> str:
    """Returns scheme, host and port of the parameter ``endpoint``."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if "@" in parts.netloc:
        raise login_mistake(FORM)
    known = parts.scheme in ("http", "https") and is_authority(parts.netloc) and port != 0
    if not known or parts.path not in ("", "/") or parts.query or parts.fragment:
        mistakes.append("endpoint must be http://HOST[:PORT] or https://HOST[:PORT]")
    return f"{parts.scheme}://{parts.netloc}"
