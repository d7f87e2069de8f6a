"""TensorFlow Serving over REST, and KServe V1: ``http://HOST:PORT/v1/models/MODEL[/versions/N|/labels/LABEL]``.

Source: https://www.tensorflow.org/tfx/serving/api_rest;
https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol.

An answer does not name the version that served it. Without a version in the URI, the client reads the model's status again
every few seconds, in the background, while requests run. So the reported version changes a few seconds late. Over gRPC it is
exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import yarl

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.declared import declared_or_refused
from transforms.clients.tfserving import json as bodies
from transforms.clients.tfserving.uri import ModelAddress, parse_rest
from transforms.clients.wire.http import Connect, HttpConnection
from transforms.clients.wire.json import loads, read_answer
from transforms.clients.wire.json_outputs import read_outputs
from transforms.clients.wire.metadata_errors import as_metadata_errors, has_no_such_call, of_metadata
from transforms.clients.wire.outputs import OutputMatcher, check_results
from transforms.clients.wire.served_version import VERSION_REFRESH_S, ServedVersion
from transforms.clients.wire.status_codes import DENIED, clean, from_http_status
from transforms.clients.wire.tensorflow import signature as signatures
from transforms.clients.wire.tensorflow.serving_texts import SERVING_RULES
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.types import METHOD_CLASSIFY, METHOD_REGRESS, Answer, ModelMetadata, Signature

_METHODS = {METHOD_CLASSIFY: ":classify", METHOD_REGRESS: ":regress"}
# json_tensor.cc answers requests with these dtypes with 501; without a check here, the job would find out while it runs.
_NOT_OVER_REST = ("float16", "bfloat16", "uint16", "complex64", "complex128")


def parse(uri: str) -> ModelAddress:
    """Parses an ``http://`` or ``https://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return parse_rest(uri)


def open(uri: str, options: ClientOptions) -> TfServingRestClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return TfServingRestClient(parse(uri), options)


class TfServingRestClient(ModelClient):
    """A client of TensorFlow Serving's REST API, or of a KServe V1 server, for one model.

    Args:
        address: The model and the server's address.
        options: TLS files, headers and the number of connections.
        version_refresh_s: Seconds after which the served version is looked up again.
        clock: Returns the seconds of a monotonic clock.
        now: Returns the seconds since the epoch, for a Retry-After that is a date.
        connect: Makes the connections.
    """

    def __init__(
        self,
        address: ModelAddress,
        options: ClientOptions,
        version_refresh_s: float = VERSION_REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        connect: Connect = HttpConnection,
    ):
        self._address = address
        self._where = str(address)
        self._matcher = OutputMatcher(self._where, options.outputs)
        self._base = address.base_url
        self._http = connect(self._where, address.secure, options, now)
        self._version = ServedVersion(self._look_for_version, address.version, version_refresh_s, clock)
        self._declared = options.signature
        self._signature: Signature | None = None
        self._signature_name = address.signature
        self._predict_url = yarl.URL(self._base + ":predict", encoded=True)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. Of KServe V1, and of a server without metadata, ``known`` is False (``wire/supplied.py``)."""
        over_grpc = f"for TensorFlow Serving's gRPC port use {self._address.grpc_uri}"
        with as_metadata_errors("is it TensorFlow Serving's REST port (8501)?", where=self._where, over_grpc=over_grpc):
            return await self._read_metadata(timeout_s)

    async def _read_metadata(self, timeout_s: float) -> ModelMetadata:
        status, text, document, retry_after_s = await self._get(f"{self._base}/metadata", timeout_s)
        if status != 200:
            error = from_http_status(self._where, status, text, retry_after_s, SERVING_RULES)
            if isinstance(error, TransientError) or status in DENIED:
                raise error
            return await self._without_metadata(error, has_no_such_call(status, text), timeout_s)
        definitions = signatures.from_json(document["metadata"]["signature_def"])
        version = str(document["model_spec"].get("version", ""))
        signature = signatures.choose(definitions, self._address)
        for name, spec in signature.inputs.items():
            if spec.dtype in _NOT_OVER_REST and not spec.has_default:
                raise NotServedError(
                    f"{self._where}: input {name} is {spec.dtype}, which TensorFlow Serving does not take over REST; "
                    f"use grpc://HOST:PORT/{self._address.model}"
                )
        self._signature, self._signature_name = signature, signature.name
        self._matcher.signature = signature
        self._predict_url = yarl.URL(self._base + _METHODS.get(signature.method, ":predict"), encoded=True)
        self._version.read(version)
        return ModelMetadata(self._address.model, version, signature)

    async def _without_metadata(self, error: ModelError, no_such_call: bool, timeout_s: float) -> ModelMetadata:
        """Reads the model's status: a KServe V1 server has no metadata; any other has neither, or has not this model."""
        unknown = Signature.unknown(self._address.signature or "")
        status, text, document, _ = await self._get(self._base, timeout_s)
        if status == 200 and isinstance(document, dict) and "ready" in document:
            if str(document["ready"]).lower() != "true":
                raise UnavailableError(f"{self._where}: the model is not ready")
            return ModelMetadata(self._address.model, self._version.name, unknown)
        if no_such_call and (status == 200 or has_no_such_call(status, text)):
            states = _states(document)
            loading = signatures.explain_versions(error, self._address, states)
            if isinstance(loading, UnavailableError):
                raise loading
            declared_or_refused(error, f"GET {yarl.URL(self._base).path}/metadata", self._declared)
            self._version.read(_newest(states))
            return ModelMetadata(self._address.model, self._version.name, unknown)
        if self._base != self._address.model_url:
            status, _, document, _ = await self._get(self._address.model_url, timeout_s)
        states = _states(document) if status == 200 else {}
        explained = signatures.explain_versions(error, self._address, states)
        if status == 404 and not states:
            raise signatures.no_such_model(error)
        if isinstance(explained, NotServedError | UnavailableError):
            raise explained
        raise NotServedError(str(explained))

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Classify answers ``classes`` and ``scores``, Regress answers ``value``."""
        signature = self._signature
        examples = signature is not None and signature.takes_examples
        body = self._body(inputs)
        self._version.refresh_soon(timeout_s)
        status, answer, retry_after_s, *_ = await self._http.send("POST", self._predict_url, timeout_s, body)
        if status != 200:
            raise from_http_status(self._where, status, _error_text(answer), retry_after_s, SERVING_RULES)
        document = read_answer(answer, self._where, exact=signature is None)
        if isinstance(document, dict) and "error" in document:
            refused = RejectedError(f"{self._where}: {(said := clean(_error_text(answer)))}")
            refused.said = said
            raise refused
        try:
            if signature is not None and examples:
                results = bodies.read_results(document, signature.method)
                return Answer(check_results(results, rows, self._where), self._version.name)
            outputs = read_outputs(document, signature)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        scalar_inputs = signature is not None and not any(array.ndim for array in inputs.values())
        # The dtypes were checked when the JSON values were read.
        return self._matcher.match(outputs, rows, scalar_inputs=scalar_inputs, check_dtypes=False).answer(self._version.name)

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", str(self._predict_url), len(self._body(inputs)))

    def _body(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        signature = self._signature
        try:
            if signature is not None and signature.takes_examples:
                (records,) = inputs.values()
                return bodies.examples_body(records.ravel().tolist(), self._signature_name)
            return bodies.predict_body(inputs, signature, self._signature_name)
        except (TypeError, ValueError) as error:
            raise RejectedError(f"{self._where}: the request can't be written as JSON: {error}") from error

    async def _look_for_version(self, timeout_s: float) -> str | None:
        status, _, document, _ = await self._get(self._base, timeout_s)
        return _newest(_states(document)) if status == 200 else None

    async def _get(self, url: str, timeout_s: float) -> tuple[int, str, Any, float | None]:
        status, body, retry_after_s, *_ = await self._http.send("GET", yarl.URL(url, encoded=True), timeout_s)
        try:
            document = loads(of_metadata(body, self._where)) if status == 200 else None
        except ValueError:
            document = None
        return status, "" if status == 200 else _error_text(body), document, retry_after_s

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._version.close()
        await self._http.close()


def _states(document: Any) -> dict[int, str]:
    """Returns the versions in a model's status: version to the name of its state."""
    try:
        return {int(status["version"]): str(status["state"]) for status in document["model_version_status"]}
    except (KeyError, TypeError, ValueError):
        return {}


def _newest(states: Mapping[int, str]) -> str | None:
    available = [version for version, state in states.items() if state == "AVAILABLE"]
    return str(max(available)) if available else None


def _error_text(body: bytes) -> str:
    """Returns the error text of a body, which may be JSON of several forms, plain text, or empty."""
    try:
        document = loads(body)
    except ValueError:
        return body[:1000].decode("utf-8", "replace")
    error = document.get("error", document.get("detail", document)) if isinstance(document, dict) else document
    return str(error.get("message", "")) if isinstance(error, dict) else str(error)
