"""MLflow's scoring server: ``mlflow+http://HOST[:PORT][/PATH]``, and what speaks like it (Databricks, Azure ML).

Source: https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/; mlflow/pyfunc/scoring_server/__init__.py.

The server publishes no signature. It is that of ``--signature``, which reads the model's ``MLmodel`` file; it chooses the
form of requests (``requests.py``). With ``?form=…`` in the URI and no signature, records are sent as they are.

An answer names no version of the model: ``/version`` is MLflow's own.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.mlflow.answers import predictions_of, read_outputs
from transforms.clients.mlflow.errors import from_answer
from transforms.clients.mlflow.requests import form_of, request_document
from transforms.clients.mlflow.uri import FORMS, INPUT_DATA, MlflowAddress, parse
from transforms.clients.mlmodel import AS_THEY_ARE
from transforms.clients.wire.http import Connect, HttpConnection
from transforms.clients.wire.json import dumps, read_answer
from transforms.clients.wire.metadata_errors import as_metadata_errors
from transforms.clients.wire.outputs import OutputMatcher
from transforms.clients.wire.preflight import find_endpoint
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError
from transforms.types import Answer, ModelMetadata, Signature

__all__ = ["MlflowClient", "open", "parse"]

HINT = "is it MLflow's scoring server?"

_NOT_HERE = (404, 405)


def open(uri: str, options: ClientOptions) -> MlflowClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return MlflowClient(parse(uri), options)


class MlflowClient(ModelClient):
    """A client of one scoring server, which serves one model.

    Args:
        address: The server's address, and the form of requests if the URI names it.
        options: The signature, TLS files, headers and the number of connections.
        connect: Makes the connections.
    """

    def __init__(self, address: MlflowAddress, options: ClientOptions, connect: Connect = HttpConnection):
        self._address, self._where = address, str(address)
        self._http = connect(self._where, address.secure, options)
        self._signature = options.signature
        self._form = address.form or (form_of(options.signature) if options.signature is not None else None)
        self._matcher = OutputMatcher(self._where, options.outputs)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. The signature is that of the options, or not known."""
        with as_metadata_errors(HINT, where=self._where):
            await self._must_be_ready(timeout_s)
            await self._must_be_version_2(timeout_s)
        if self._form is None:
            raise NotServedError(
                f"{self._where}: MLflow's server does not say what its model takes: give --signature=MLmodel, the file of "
                "that name in the model's folder (or a file by python -m pipeline.check --guess_signature=FILE); or name "
                f"the form of requests in --model, such as {AS_THEY_ARE}, which sends records as they are "
                f"({', '.join(FORMS)})"
            )
        if self._signature is not None:
            self._matcher.signature = self._signature
        return ModelMetadata(self._address.name, "", self._signature or Signature.unknown())

    async def _must_be_ready(self, timeout_s: float) -> None:
        answer = await self._http.send("GET", self._address.health_url, timeout_s)
        if answer.status == 200:
            return
        if answer.status not in _NOT_HERE:
            raise from_answer(f"{self._where} (GET {self._address.health_url.path})", answer)
        # Databricks has no such call. The methods of the endpoint run no model.
        try:
            await find_endpoint(self._http, self._address.url, timeout_s, self._where, from_answer)
        except NotServedError as error:
            raise NotServedError(f"{error}; {HINT}") from error

    async def _must_be_version_2(self, timeout_s: float) -> None:
        """MLflow before 2.0 had other forms of requests. A server that does not say its version is not doubted."""
        if self._address.version_url is None:
            return
        try:
            answer = await self._http.send("GET", self._address.version_url, timeout_s)
        except NotServedError:  # a redirect, for example
            return
        if answer.status == 200 and answer.body[:2] in (b"0.", b"1."):
            version = answer.body[:20].decode("ascii", "replace").strip()
            raise NotServedError(
                f"{self._where}: is MLflow {version}, whose requests have other forms; serve the model by MLflow 2 or "
                "newer, or write the request yourself: --model=json+http://…/invocations with --request=FILE"
            )

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``."""
        answer = await self._http.send("POST", self._address.url, timeout_s, self._body(inputs))
        if answer.status != 200:
            raise from_answer(self._where, answer)
        document = read_answer(answer.body, self._where, exact=True)
        try:
            predictions = document if self._form == INPUT_DATA else predictions_of(document)
            outputs = read_outputs(predictions, self._signature)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        scalar_inputs = self._signature is not None and not any(array.ndim for array in inputs.values())
        # The dtypes were checked when the JSON values were read.
        return self._matcher.match(outputs, rows, scalar_inputs=scalar_inputs, check_dtypes=False).answer("")

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", str(self._address.url), len(self._body(inputs)))

    def _body(self, inputs: Mapping[str, np.ndarray]) -> bytes:
        assert self._form is not None  # metadata was called, and raised without it
        try:
            return dumps(request_document(self._form, inputs, self._signature))
        except (TypeError, ValueError) as error:
            raise RejectedError(f"{self._where}: the request can't be written: {error}") from error

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._http.close()
