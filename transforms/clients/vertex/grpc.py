"""Vertex AI over gRPC, by google-cloud-aiplatform's own ``PredictionServiceAsyncClient``.

Only its generated part is loaded (``google.cloud.aiplatform_v1``), not ``google.cloud.aiplatform``, which brings BigQuery
and Cloud Storage along. Its retries are off, because the caller retries; its credentials are not used, because they would
be looked up in the event loop (``credentials.py``).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import grpc
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.aiplatform_v1.services.prediction_service import PredictionServiceAsyncClient
from google.cloud.aiplatform_v1.services.prediction_service.transports import PredictionServiceGrpcAsyncIOTransport
from google.cloud.aiplatform_v1.types.prediction_service import PredictRequest
from google.protobuf.message import DecodeError

from transforms.clients.base import ClientOptions
from transforms.clients.vertex.credentials import Tokens, token_headers
from transforms.clients.vertex.errors import Refusal, Reply
from transforms.clients.vertex.transport import Transport
from transforms.clients.vertex.uri import VertexAddress
from transforms.clients.vertex.values import decode, encode, varint
from transforms.clients.wire.grpc import open_channel, retry_after_s
from transforms.errors import MalformedAnswerError, UnavailableError

_ENDPOINT, _INSTANCE, _PARAMETERS = b"\x0a", b"\x12", b"\x1a"  # the fields 1, 2 and 3 of a PredictRequest, with a length
# A refusal quotes the container's text twice, in its message and in its details. Above 8 kB of headers, gRPC's default,
# refusals would come as RESOURCE_EXHAUSTED, and only sometimes.
_LONG_REFUSALS = (("grpc.max_metadata_size", 128 * 1024), ("grpc.absolute_max_metadata_size", 256 * 1024))


class GrpcTransport(Transport):
    """Requests of one endpoint over gRPC.

    Args:
        address: Which endpoint, and where.
        options: TLS files, headers (gRPC metadata) and channel options, which win over the defaults.
        tokens: Where the access tokens come from.
    """

    def __init__(self, address: VertexAddress, options: ClientOptions, tokens: Tokens):
        self._address, self._options, self._tokens = address, options, tokens
        self._where = str(address)
        self._headers = tuple((name.lower(), value) for name, value in options.headers)
        if address.own_host:  # a dedicated host serves no other endpoint, but finds its own by this header
            self._headers += (("x-vertex-ai-endpoint-id", address.endpoint),)
        self._head = _field(_ENDPOINT, address.name.encode())
        if address.parameters is not None:
            self._head += _field(_PARAMETERS, encode(json.loads(address.parameters)))
        self._client: PredictionServiceAsyncClient | None = None
        self._closed = False

    def body(self, instances: Sequence[Any]) -> bytes:
        """See ``Transport``."""
        return self._head + b"".join([_field(_INSTANCE, encode(instance)) for instance in instances])

    async def send(self, body: bytes, timeout_s: float) -> Reply | Refusal:
        """See ``Transport``."""
        if self._closed:
            raise UnavailableError(f"{self._where}: the client is closed")
        client = self._client or self._open_client()
        tokens, left_s = await token_headers(self._tokens, timeout_s, self._where)
        if self._client is None:
            raise UnavailableError(f"{self._where}: the client was closed")
        try:
            request = PredictRequest.wrap(PredictRequest.pb().FromString(body))
            response = await client.predict(
                request,
                retry=None,
                timeout=left_s,
                metadata=(*self._headers, *tokens.items()),
            )
        except DecodeError as error:  # protobuf reads no message that is nested more than 100 deep
            return Refusal("INVALID_ARGUMENT", f"the request is too deeply nested ({type(error).__name__})")
        except (GoogleAPICallError, ValueError) as error:
            # ValueError is what google-api-core raises for details that contradict the status.
            failed = error.__cause__ or error.__context__
            if not isinstance(failed, grpc.aio.AioRpcError):
                raise
            refusal = Refusal(failed.code().name, failed.details() or "", retry_after_s(failed))
            if refusal.code == "UNAUTHENTICATED":
                self._tokens.refused(tokens)
            return refusal
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._client is not client and (task is None or not task.cancelling()):
                # gRPC cancels the requests in flight when a channel closes. The caller itself was not cancelled.
                raise UnavailableError(f"{self._where}: the client was closed") from None
            raise
        if response is None:  # what gRPC gives for bytes that its deserializer did not take
            raise MalformedAnswerError(f"{self._where}: the answer is no PredictResponse")
        message = type(response).pb(response)
        predictions = [decode(value) for value in message.predictions]
        return Reply(predictions, message.model_version_id, message.deployed_model_id, message.model_display_name)

    def _open_client(self) -> PredictionServiceAsyncClient:
        address = self._address
        channel = open_channel(address.target, address.secure, self._options, _LONG_REFUSALS)
        self._client = PredictionServiceAsyncClient(transport=PredictionServiceGrpcAsyncIOTransport(channel=channel))
        return self._client

    async def close(self) -> None:
        """See ``Transport``."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            await client.transport.close()
        await self._tokens.close()


def _field(tag: bytes, content: bytes) -> bytes:
    return tag + varint(len(content)) + content
