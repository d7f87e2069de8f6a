"""Vertex AI's online prediction: ``vertex://PROJECT/REGION/ENDPOINT[?…]``; ``uri.py`` lists the parameters.

Source: https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/predict;
google/cloud/aiplatform/v1/prediction_service.proto.

An endpoint publishes no signature. Instances are sent as the records have them, and predictions are returned as JSON values.
Containers whose requests have another form are asked by ``?raw=…`` (``raw.py``).

This package is written from Google's documents and API definitions. It was not run against the service, for lack of an
account.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from transforms.clients.base import ClientOptions, ModelClient, RequestPreview
from transforms.clients.vertex.errors import Reply, VertexRefusal
from transforms.clients.vertex.instances import check, instances_of
from transforms.clients.vertex.transport import PREDICT, Transport
from transforms.clients.vertex.uri import REST, VertexAddress
from transforms.clients.vertex.uri import parse as parse_uri
from transforms.clients.wire.json_outputs import read_outputs
from transforms.clients.wire.metadata_errors import as_metadata_errors
from transforms.clients.wire.outputs import Matched, OutputMatcher
from transforms.clients.wire.request_size import check_size
from transforms.errors import MalformedAnswerError, NotServedError, RejectedError
from transforms.headers import DEPLOYED_MODEL, DEPLOYED_MODEL_NAME
from transforms.printable import MOST_SAID, shortened
from transforms.types import Answer, Header, ModelMetadata, Signature


def parse(uri: str) -> VertexAddress:
    """Parses a ``vertex://`` URI.

    Raises:
        ConfigError: The URI is wrong; the message says why, and shows the correct form.
    """
    return parse_uri(uri)


def open(uri: str, options: ClientOptions) -> ModelClient:  # every protocol's module has a function of this name
    """Makes the client of a URI. Does no I/O.

    Requests carry the application-default credentials, unless ``options.headers`` has an ``authorization`` of its own.

    Raises:
        ConfigError: The URI is wrong.
        ImportError: One of Google's packages is missing; the registry says what to install.
    """
    address = parse(uri)
    # Here, because google-cloud-aiplatform takes seconds to load, and only this scheme needs it.
    from transforms.clients.vertex.credentials import tokens_for

    tokens = tokens_for(address.anonymous, options.headers)
    if address.raw is not None:
        from transforms.clients.vertex.raw import RawClient

        return RawClient(address, address.raw, options, tokens)
    if address.transport == REST:
        from transforms.clients.vertex.rest import RestTransport

        return VertexClient(address, RestTransport(address, options, tokens), options.outputs)
    from transforms.clients.vertex.grpc import GrpcTransport

    return VertexClient(address, GrpcTransport(address, options, tokens), options.outputs)


class VertexClient(ModelClient):
    """A client of one endpoint.

    Args:
        address: The endpoint and its address.
        transport: Sends the requests.
        outputs: As ``ClientOptions.outputs``.
    """

    def __init__(self, address: VertexAddress, transport: Transport, outputs: tuple[str, ...] = ()):
        self._address, self._transport = address, transport
        self._where = str(address)
        self._matcher = OutputMatcher(self._where, outputs)
        self._metadata_requests = 0

    @property
    def metadata_requests(self) -> int:
        """See ``ModelClient``."""
        return self._metadata_requests

    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """See ``ModelClient``. An endpoint publishes no signature, so ``known`` is False.

        It sends a request without instances. Whether the container answers it, refuses it or fails, the address, the
        credentials and the endpoint are then right. The call that describes an endpoint would need one more permission, and
        dedicated and private endpoints do not offer it.
        """
        self._metadata_requests += 1
        with as_metadata_errors("is it Vertex AI's API?", refusals_too=False, where=self._where):
            answered = await self._transport.send(self._transport.body([]), timeout_s)
            if isinstance(answered, VertexRefusal) and not answered.is_of_content:
                raise answered.error(self._where)
        version = answered.version if isinstance(answered, Reply) else ""
        if isinstance(answered, Reply) and not isinstance(answered.predictions, list):
            raise NotServedError(f"{self._where}: the answer has no predictions; is it Vertex AI's API?")
        return ModelMetadata(self._address.endpoint, version, Signature.unknown())

    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """See ``ModelClient``. A request above the endpoint's size limit raises ``RequestTooLargeError`` and is not sent."""
        body = self._body(inputs, rows)
        answered = await self._transport.send(body, timeout_s)
        if isinstance(answered, VertexRefusal):
            raise answered.error(self._where)
        said = ((DEPLOYED_MODEL, answered.deployed_model), (DEPLOYED_MODEL_NAME, answered.model_name))
        headers: list[Header] = [(name, shortened(text, MOST_SAID).encode()) for name, text in said if text]
        return self._outputs(answered, rows).answer(answered.version, tuple(headers))

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview:
        """See ``ModelClient``."""
        size = len(self._body(inputs, rows))
        if self._address.transport == REST:
            return RequestPreview("HTTP", "POST", self._address.predict_url, size)
        return RequestPreview("gRPC", PREDICT, self._address.target, size)

    def _body(self, inputs: Mapping[str, np.ndarray], rows: int) -> bytes:
        try:
            instances = instances_of(inputs)
            check(instances)
            body = self._transport.body(instances)
        except (TypeError, ValueError, RecursionError) as error:
            why = "too deeply nested" if isinstance(error, RecursionError) else str(error)
            raise RejectedError(f"{self._where}: the request can't be written: {why}") from error
        check_size(self._where, len(body), rows, self._address.max_request_bytes)
        return body

    def _outputs(self, reply: Reply, rows: int) -> Matched:
        try:
            outputs = read_outputs({"predictions": reply.predictions}, None)
        except MalformedAnswerError as error:
            raise MalformedAnswerError(f"{self._where}: {error}") from error
        return self._matcher.match(outputs, rows)

    async def close(self) -> None:
        """Closes the connections; requests in flight end with ``UnavailableError``."""
        await self._transport.close()
