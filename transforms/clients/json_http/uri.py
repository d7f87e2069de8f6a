"""The model URI of a JSON endpoint.

    json+http://HOST[:PORT]/PATH[?health=/PATH][&method=POST|PUT|PATCH][&body=bytes|multipart][&part=NAME][&content_type=TYPE]

``json+https://`` for TLS. These five parameters are ours; any other one is the endpoint's own and is sent to it. ``health``
is a path of the server that answers 2xx when it is ready. ``body`` sends the record's bytes instead of JSON: bare, or as the
file ``part`` of a multipart form.
"""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl, unquote, urlencode

import yarl

from transforms.clients.json_bodies.form import JSON_FORM, Form, form_of
from transforms.clients.uri import mistake, split
from transforms.clients.wire.row_body import BYTES, MULTIPART

FORM = "json+http://HOST[:PORT]/PATH[?health=/PATH][&method=POST|PUT|PATCH][&body=bytes|multipart][&part=NAME][&content_type=TYPE]"
METHODS = ("POST", "PUT", "PATCH")
_OURS = ("health", "method", "body", "part", "content_type")


@dataclasses.dataclass(frozen=True, slots=True)
class JsonAddress:
    """The address of an endpoint, parsed from a URI.

    Attributes:
        url: Where requests go.
        health_url: What says whether the server is ready; ``None`` if the URI does not name it.
        method: The HTTP method of requests.
        form: What the body of a request is.
    """

    url: yarl.URL
    health_url: yarl.URL | None = None
    method: str = "POST"
    form: Form = JSON_FORM

    @property
    def secure(self) -> bool:
        """Whether the URI asks for TLS."""
        return self.url.scheme == "https"

    @property
    def name(self) -> str:
        """The name of the model: the last part of the path, or the host."""
        return unquote(self.url.raw_path.rstrip("/").rpartition("/")[2]) or str(self.url.host)

    def __str__(self) -> str:
        return f"model {self.name} at {self.url.authority}"


def parse(uri: str) -> JsonAddress:
    """Parses a ``json+http://`` or ``json+https://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    parts, _ = split(uri, FORM)
    given = parse_qsl(parts.query, keep_blank_values=True)
    ours: dict[str, str] = {}
    for name, value in given:
        if name in _OURS and (not value or name in ours):
            raise mistake(uri, f"{name} takes one value", FORM)
        if name in _OURS:
            ours[name] = value
    theirs = urlencode([(name, value) for name, value in given if name not in _OURS])
    origin = f"{parts.scheme.removeprefix('json+')}://{parts.netloc}"
    health, method, body = ours.get("health"), ours.get("method", "POST").upper(), ours.get("body")
    if health is not None and not health.startswith("/"):
        raise mistake(uri, f"health={health}: give a path of the server, such as health=/healthz", FORM)
    if method not in METHODS:
        raise mistake(uri, f"method={method}: must be one of {', '.join(METHODS)}", FORM)
    if body not in (None, BYTES, MULTIPART):
        raise mistake(uri, f"body={body}: must be {BYTES} or {MULTIPART}; leave it out for JSON", FORM)
    try:
        form = form_of(body, ours.get("part"), ours.get("content_type"))
    except ValueError as error:
        raise mistake(uri, str(error), FORM) from error
    return JsonAddress(
        yarl.URL(f"{origin}{parts.path or '/'}{f'?{theirs}' if theirs else ''}", encoded=True),
        None if health is None else yarl.URL(f"{origin}{health}"),
        method,
        form,
    )
