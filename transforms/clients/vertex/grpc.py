"""Vertex AI over gRPC, with ``PredictionServiceAsyncClient`` of google-cloud-aiplatform.

Only its generated part is imported (``google.cloud.aiplatform_v1``): ``google.cloud.aiplatform`` would import BigQuery and
Cloud Storage. Its retries are off, because the caller retries. Its credentials are not used, because it would look them up
in the event loop (``credentials.py``).
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
from transforms.clients.vertex.credentials import AccessTokens, token_headers
from transforms.clients.vertex.errors import Reply, VertexRefusal
from transforms.clients.vertex.transport import Transport
from transforms.clients.vertex.uri import VertexAddress
from transforms.clients.vertex.values import decode, encode
from transforms.clients.wire.grpc import details_of, open_channel, retry_after_s
from transforms.clients.wire.tensorflow.tensors import varint
from transforms.errors import MalformedAnswerError, UnavailableError
from transforms.request_headers import grpc_metadata

_ENDPOINT, _INSTANCE, _PARAMETERS = b"\x0a", b"\x12", b"\x1a"  # the fields 1, 2 and 3 of a PredictRequest, with a length
# A refusal has the container's text twice, in its message and in its details. Above gRPC's default limit of 8 kB of headers,
# some refusals would become RESOURCE_EXHAUSTED.
_LONG_REFUSALS = (("grpc.max_metadata_size", 128 * 1024), ("grpc.absolute_max_metadata_size", 256 * 1024))
# Google balances the load behind each of its addresses.
_ONE_ADDRESS = (("grpc.lb_policy_name", "pick_first"),)


class GrpcTransport(Transport):
    """Requests of one endpoint over gRPC.

    Args:
        address: The endpoint and its address.
        options: TLS files, headers (sent as gRPC metadata) and channel options, which override the defaults.
        tokens: The source of access tokens.

    Raises:
        ConfigError: A header can't be sent over gRPC.
    """

    def __init__(self, address: VertexAddress, options: ClientOptions, tokens: AccessTokens):
        self._address, self._options, self._tokens = address, options, tokens
        self._where = str(address)
        self._headers = grpc_metadata(options.headers)
        if address.own_host:  # a dedicated host serves one endpoint, and still needs its id in this header
            self._headers += (("x-vertex-ai-endpoint-id", address.endpoint),)
        self._head = _field(_ENDPOINT, address.name.encode())
        if address.parameters is not None:
            self._head += _field(_PARAMETERS, encode(json.loads(address.parameters)))
        self._client: PredictionServiceAsyncClient | None = None
        self._closed = False

    def body(self, instances: Sequence[Any]) -> bytes:
        """See ``Transport``."""
        return self._head + b"".join([_field(_INSTANCE, encode(instance)) for instance in instances])

    async def send(self, body: bytes, timeout_s: float) -> Reply | VertexRefusal:
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
        except DecodeError as error:  # protobuf does not read messages that are nested deeper than 100
            return VertexRefusal("INVALID_ARGUMENT", f"the request is too deeply nested ({type(error).__name__})")
        except (GoogleAPICallError, ValueError) as error:
            # google-api-core raises ValueError if the details contradict the status.
            failed = error.__cause__ or error.__context__
            if not isinstance(failed, grpc.aio.AioRpcError):
                raise
            details = details_of(failed, self._address.secure, self._options)
            refusal = VertexRefusal(failed.code().name, details, retry_after_s(failed))
            if refusal.code == "UNAUTHENTICATED":
                self._tokens.refused(tokens)
            return refusal
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._client is not client and (task is None or not task.cancelling()):
                # gRPC cancels the requests in flight when a channel closes. The caller itself was not cancelled.
                raise UnavailableError(f"{self._where}: the client was closed") from None
            raise
        if response is None:  # gRPC returns None if its deserializer fails
            raise MalformedAnswerError(f"{self._where}: the answer is no PredictResponse")
        message = type(response).pb(response)
        predictions = [decode(value) for value in message.predictions]
        return Reply(predictions, message.model_version_id, message.deployed_model_id, message.model_display_name)

    def _open_client(self) -> PredictionServiceAsyncClient:
        address = self._address
        channel = open_channel(address.target, address.secure, self._options, (*_LONG_REFUSALS, *_ONE_ADDRESS))
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
