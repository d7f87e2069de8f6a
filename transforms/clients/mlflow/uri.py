"""The model URI of an MLflow scoring server.

    mlflow+http://HOST[:PORT][/PATH][?form=dataframe_split|dataframe_records|instances|inputs|input_data]

``mlflow+https://`` for TLS. The path is what stands before ``/invocations``, which may be written too. A path that ends
with ``/score`` is Azure ML's, whose form is ``input_data``. ``form`` is how rows are sent; without it the model's signature
says so.
"""

from __future__ import annotations

import dataclasses
from urllib.parse import parse_qsl, unquote

import yarl

from transforms.clients.mlmodel import DATAFRAME_SPLIT, INPUTS, INSTANCES
from transforms.clients.uri import mistake, split

DATAFRAME_RECORDS = "dataframe_records"
INPUT_DATA = "input_data"
FORMS = (DATAFRAME_SPLIT, DATAFRAME_RECORDS, INSTANCES, INPUTS, INPUT_DATA)
FORM = f"mlflow+http://HOST[:PORT][/PATH][?form={'|'.join(FORMS)}]"

_INVOCATIONS, _SCORE = "/invocations", "/score"


@dataclasses.dataclass(frozen=True, slots=True)
class MlflowAddress:
    """The address of a scoring server, parsed from a URI.

    Attributes:
        url: Where requests go.
        health_url: What answers 200 when the model is loaded.
        version_url: What answers MLflow's own version; ``None`` at Azure ML.
        name: The name of the model: the last part of the path, or the host.
        form: The form of requests; ``None`` if the signature says it.
    """

    url: yarl.URL
    health_url: yarl.URL
    version_url: yarl.URL | None
    name: str
    form: str | None

    @property
    def secure(self) -> bool:
        """Whether the URI asks for TLS."""
        return self.url.scheme == "https"

    def __str__(self) -> str:
        return f"model {self.name} at {self.url.authority}"


def parse(uri: str) -> MlflowAddress:
    """Parses an ``mlflow+http://`` or ``mlflow+https://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    parts, _ = split(uri, FORM)
    form: str | None = None
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name != "form":
            raise mistake(uri, f"has no parameter {name}", FORM)
        if form is not None or value not in FORMS:
            raise mistake(uri, f"form must be one of {', '.join(FORMS)}", FORM)
        form = value
    origin = f"{parts.scheme.removeprefix('mlflow+')}://{parts.netloc}"
    path = parts.path.rstrip("/")
    at_azure = path.endswith(_SCORE)
    if at_azure and form not in (None, INPUT_DATA):
        raise mistake(uri, f"a path that ends with {_SCORE} is Azure ML's, which takes form={INPUT_DATA}", FORM)
    base = path.removesuffix(_SCORE if at_azure else _INVOCATIONS)

    def url(path: str) -> yarl.URL:
        return yarl.URL(f"{origin}{path}", encoded=True)

    name = unquote(base.rpartition("/")[2]) or str(parts.hostname)
    if at_azure or form == INPUT_DATA:
        return MlflowAddress(url(path or "/score"), url("/"), None, name, INPUT_DATA)
    return MlflowAddress(url(f"{base}{_INVOCATIONS}"), url(f"{base}/ping"), url(f"{base}/version"), name, form)
