"""The Open Inference Protocol over REST: ``oip+http://HOST:PORT/MODEL[/VERSION]``, ``oip+https://`` for TLS.

Triton, MLServer and KServe speak it. Tensors are raw bytes if the server lists the extension binary_tensor_data (Triton),
otherwise JSON.

Source: https://github.com/kserve/open-inference-protocol, specification/protocol/inference_rest.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import yarl

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.declared import declared_or_refused
from transforms.clients.open_inference.bodies import BINARY_TYPE, HEADER_LENGTH, infer_body, read_answer
from transforms.clients.open_inference.errors import from_http
from transforms.clients.open_inference.model import (
    BINARY_TENSOR_DATA,
    MODEL_CONFIGURATION,
    RepositoryEntry,
    Tensor,
    TritonConfig,
    declared_metadata,
    explain,
    metadata_of,
    newest,
    unknown_columns,
)
from transforms.clients.open_inference.unbatched import OneRow, is_unbatched
from transforms.clients.open_inference.uri import OipAddress, parse_http
from transforms.clients.wire.error_texts import error_text
from transforms.clients.wire.http import Connect, HttpConnection, HttpResponse
from transforms.clients.wire.json import loads
from transforms.clients.wire.metadata_errors import as_metadata_errors, has_no_such_call, of_metadata
from transforms.clients.wire.outputs import OutputMatcher
from transforms.clients.wire.served_version import VERSION_REFRESH_S, ServedVersion
from transforms.clients.wire.status_codes import DENIED
from transforms.errors import (
    MalformedAnswerError,
    ModelError,
    NotServedError,
    RejectedError,
    UnavailableError,
)
from transforms.types import Answer, ModelMetadata, Signature

_BINARY_ONLY = ("float16", "bfloat16")
"""Dtypes without a JSON form in the protocol (inference_rest.md, tensor data types)."""


def parse(uri: str) -> OipAddress:
    """Parses an ``oip+http://`` or ``oip+https://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return parse_http(uri)


def open(uri: str, options: ClientOptions) -> OipHttpClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Raises:
        ConfigError: The URI is wrong.
    """
    return OipHttpClient(parse(uri), options)


class OipHttpClient(ModelClient):
    """A client of the Open Inference Protocol's REST API for one model.

    Args:
        address: The model and the server's address.
        options: TLS files, headers and the number of connections.
        version_refresh_s: Seconds after which the served version is looked up again.
        clock: Returns the seconds of a monotonic clock.
        connect: Makes the connections.
    """

    def __init__(
        self,
        address: OipAddress,
        options: ClientOptions,
        version_refresh_s: float = VERSION_REFRESH_S,
        clock: Callable[[], float] = time.monotonic,
        connect: Connect = HttpConnection,
    ):
        self._address = address
        self._where = str(address)
        self._connection = connect(self._where, address.secure, options)
        self._infer_url = yarl.URL(f"{address.model_url}/infer", encoded=True)
        self._signature: Signature | None = None
        self._matcher = OutputMatcher(self._where, options.outputs)
        self._bfloat16: frozenset[str] = frozenset()
        self._one_row: OneRow | None = None
        self._binary = False
        self._outputs, self._declared = options.outputs, options.signature
        self._version = ServedVersion(self._look_for_version, None, version_refresh_s, clock)

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. A model without declared inputs has the signature of ``--signature``, or no known one."""
        over_grpc = f"for its gRPC port use {self._address.grpc_uri}"
        with as_metadata_errors("is it the server's REST port?", False, self._where, over_grpc):
            extensions = await self._extensions(timeout_s)
            model = await self._model(timeout_s)
            config = await self._config(timeout_s) if MODEL_CONFIGURATION in extensions else TritonConfig()
            await self._must_be_ready(timeout_s)
            if isinstance(model, Signature):
                metadata = declared_metadata(self._address, model, config)
            else:
                inputs, outputs = _tensors(model.get("inputs")), _tensors(model.get("outputs"))
                versions = [str(version) for version in model.get("versions") or ()]
                metadata = metadata_of(self._address, versions, inputs, outputs, config, self._declared)
            one_row = None
            if is_unbatched(self._where, self._address.unbatched, config.max_batch_size, metadata.signature):
                one_row, metadata = OneRow(self._where), OneRow.metadata(metadata)
        specs, binary = metadata.signature.inputs, BINARY_TENSOR_DATA in extensions
        for name, spec in specs.items():
            if spec.dtype in _BINARY_ONLY and not binary and not spec.has_default:
                raise NotServedError(
                    f"{self._where}: input {name} is {spec.dtype}, which has no form in JSON, and the server takes no "
                    f"binary tensors over REST; use oip+grpc://HOST:PORT/{self._address.model}"
                )
        self._signature = self._matcher.signature = metadata.signature
        if self._address.version is None:  # one that the URI names may be ignored by the server: only its own word counts
            self._version.read(metadata.version or None)
        self._binary = binary
        self._one_row = one_row
        self._bfloat16 = frozenset(name for name, spec in specs.items() if spec.dtype == "bfloat16")
        return metadata

    async def _extensions(self, timeout_s: float) -> list[str]:
        answer = await self._get(self._address.server_url, timeout_s)
        document = self._document(answer) if answer.status == 200 else None
        if answer.status in DENIED or answer.status >= 500:
            raise from_http(self._where, answer.status, answer.body, answer.retry_after_s)
        extensions = document.get("extensions") if isinstance(document, dict) else None
        # A gateway may forward the model's own paths only. Then the extensions are not known, and JSON is used.
        return [str(name) for name in extensions] if isinstance(extensions, list) else []

    async def _model(self, timeout_s: float) -> Any:
        """Returns the model's metadata; the signature of ``--signature`` if the server has no such call."""
        answer = await self._get(self._address.model_url, timeout_s)
        if answer.status == 200:
            return self._document(answer)
        error = from_http(self._where, answer.status, answer.body, answer.retry_after_s)
        if has_no_such_call(answer.status, error_text(answer.body)):
            return declared_or_refused(error, f"GET {yarl.URL(self._address.model_url).path}", self._declared)
        if isinstance(error, NotServedError) and answer.status not in DENIED:
            raise explain(error, self._address, await self._entries(timeout_s))
        raise error

    async def _config(self, timeout_s: float) -> TritonConfig:
        answer = await self._get(f"{self._address.model_url}/config", timeout_s)
        if answer.status != 200:
            return TritonConfig()  # an administrator may have closed this call (Triton's --http-restricted-api)
        document = self._document(answer)
        try:
            optional = frozenset(str(given["name"]) for given in document.get("input") or () if given.get("optional"))
            return TritonConfig(int(document.get("max_batch_size") or 0), optional)
        except (AttributeError, KeyError, TypeError, ValueError):
            return TritonConfig()

    async def _must_be_ready(self, timeout_s: float) -> None:
        answer = await self._get(f"{self._address.model_url}/ready", timeout_s)
        if answer.status == 200:
            try:
                document = loads(answer.body) if answer.body else {}
            except ValueError:
                document = {}
            said = document.get("ready", True) if isinstance(document, dict) else document
            if said not in (False, "false", "False"):  # KServe answers in the body, the others by the status alone
                return
        elif answer.status in (*DENIED, 404, 405, 501):
            return  # the server does not answer the call: do not wait for readiness, requests fail if the model is not ready
        raise UnavailableError(f"{self._where}: the model is not ready", answer.retry_after_s)

    async def _entries(self, timeout_s: float) -> list[RepositoryEntry]:
        """Returns the model repository's entries; if it can't be read, the versions in this model's metadata."""
        url = yarl.URL(f"{self._address.server_url}/repository/index", encoded=True)
        try:
            answer = await self._connection.send("POST", url, timeout_s, b"{}")
            entries = loads(of_metadata(answer.body, self._where)) if answer.status == 200 else None
            if isinstance(entries, list):
                return [
                    RepositoryEntry(str(e["name"]), str(e.get("version") or ""), str(e.get("state") or "")) for e in entries
                ]
            if self._address.version is None:
                return []
            url_of_any = self._address.model_url.rpartition("/versions/")[0]
            document = loads((await self._get(url_of_any, timeout_s)).body)
            return [RepositoryEntry(self._address.model, str(v), "READY") for v in document.get("versions") or ()]
        except (ModelError, AttributeError, KeyError, TypeError, ValueError):
            return []

    def _document(self, answer: HttpResponse) -> Any:
        try:
            return loads(answer.body)
        except ValueError as error:
            raise NotServedError(f"{self._where}: it answers no JSON; does it speak this protocol?") from error

    async def _get(self, url: str, timeout_s: float) -> HttpResponse:
        answer = await self._connection.send("GET", yarl.URL(url, encoded=True), timeout_s)
        of_metadata(answer.body, self._where)
        return answer

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. Without a known signature, whole JSON records are converted by ``model.columns_of``."""
        inputs, body, header_length = self._request(inputs, rows)
        if header_length is None:
            answer = await self._connection.send("POST", self._infer_url, timeout_s, body)
        else:
            headers = {HEADER_LENGTH: str(header_length)}
            answer = await self._connection.send("POST", self._infer_url, timeout_s, body, BINARY_TYPE, headers)
        if answer.status != 200:
            raise from_http(self._where, answer.status, answer.body, answer.retry_after_s)
        try:
            outputs, version = read_answer(answer.body, answer.headers.get(HEADER_LENGTH))
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        scalar_inputs = not any(array.ndim for array in inputs.values())
        if self._one_row is not None:
            outputs, scalar_inputs = self._one_row.of_outputs(outputs), False
        matched = self._matcher.match(outputs, rows, scalar_inputs=scalar_inputs)
        return matched.answer(self._version.of_answer(version, timeout_s))

    async def _look_for_version(self, timeout_s: float) -> str | None:
        answer = await self._get(self._address.model_url, timeout_s)
        document = self._document(answer) if answer.status == 200 else None
        versions = document.get("versions") if isinstance(document, dict) else None
        return newest(map(str, versions)) if isinstance(versions, list) else None

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        return RequestPreview("HTTP", "POST", str(self._infer_url), len(self._request(inputs, rows)[1]))

    def _request(self, inputs: Mapping[str, np.ndarray], rows: int) -> tuple[Mapping[str, np.ndarray], bytes, int | None]:
        """Returns the arrays that are sent, and the body and header length as ``infer_body`` does."""
        try:
            if self._signature is not None and not self._signature.known:
                inputs = unknown_columns(inputs)
            if self._one_row is not None:
                inputs = self._one_row.of_inputs(inputs, rows)
            return inputs, *infer_body(inputs, self._bfloat16, self._binary, self._outputs)
        except (TypeError, ValueError) as error:
            raise RejectedError(f"{self._where}: the request can't be written: {error}") from error

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._version.close()
        await self._connection.close()


def _tensors(described: Any) -> list[Tensor]:
    return [(str(t["name"]), str(t["datatype"]), [int(size) for size in t["shape"]]) for t in described or ()]
