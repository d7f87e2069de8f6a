"""``ModelClient``: the interface that every model-server protocol implements.

A protocol is a subclass of ``ModelClient`` in a module with ``parse`` and ``open``, and its scheme in the registry
(``registry.py``).

The contract, which the suite in ``transforms.testing.contract`` checks:

* A client belongs to one asyncio loop. Constructing it does no I/O; ``predict`` may run many times concurrently.
* ``metadata`` asks the server which version and signature answers. It is called before ``predict``. Where the server has no
  such call, ``ClientOptions.signature`` is the signature; without it the error names the call (``declared.py``).
* ``predict`` sends one request and returns one row of every output for every row of the inputs, in order, or raises.
  A count that differs is ``MalformedAnswerError``. It never retries: the caller does (``transforms/predict/dispatch.py``).
* Vendor errors are translated here to ``transforms.errors``; messages name the model and the cause, never payload bytes.
  ``ModelError.said`` is what of the message the server wrote: where it repeats the request, the caller leaves it out.
* A cancelled ``predict`` cancels the request. ``close`` may be called twice.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Self

import numpy as np

from transforms.answer_body import MAX_ANSWER_BYTES
from transforms.clients.model_files import ModelFiles
from transforms.types import Answer, ModelMetadata, Signature


@dataclasses.dataclass(frozen=True, slots=True)
class ClientOptions:
    """The connection options of a client, which do not depend on its protocol; a client ignores those of other protocols.

    Attributes:
        tls_ca_file: PEM file of the authorities to trust, for URIs with TLS; the system's authorities if ``None``.
        tls_cert_file: PEM file of the client's certificate, for mutual TLS.
        tls_key_file: PEM file of the client's key.
        headers: gRPC metadata or HTTP headers sent with every request, such as ``authorization``.
        channel_options: gRPC channel options, ``(name, value)``. They override the defaults of ``wire/grpc.py``.
        max_answer_bytes: Most bytes of one answer; a larger one is ``AnswerTooLargeError``.
        max_connections: The highest number of HTTP connections, of each client; ``None``: ``wire.http.most_connections``.
        model_poll_s: For a model in the worker: seconds between two looks for another version.
        model_files: For a model in the worker: the file system of paths with a scheme (``gs://``).
        outputs: Names of the outputs to return; none: all. See ``selection.py``.
        signature: What the model takes and gives, for servers that do not say it. See ``declared.py``.
        request: For a JSON endpoint: the template of a request. See ``json_bodies/template.py``.
        response: For a JSON endpoint: names of outputs and their paths in an answer. See ``json_bodies/answers.py``.
        system_prompt: For a chat model: the system message of every request.
        answer_schema: For a chat model: the JSON Schema of its answers. See ``formats/answer_schema.py``.
    """

    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    headers: tuple[tuple[str, str], ...] = dataclasses.field(default=(), repr=False)
    channel_options: tuple[tuple[str, str | int], ...] = ()
    max_answer_bytes: int = MAX_ANSWER_BYTES
    max_connections: int | None = None
    model_poll_s: float = 60.0
    model_files: ModelFiles | None = None
    outputs: tuple[str, ...] = ()
    signature: Signature | None = None
    request: str | None = None
    response: tuple[tuple[str, str], ...] = ()
    system_prompt: str | None = dataclasses.field(default=None, repr=False)
    answer_schema: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class RequestPreview:
    """A description of one request, to show to a user.

    Attributes:
        protocol: ``gRPC`` or ``HTTP``.
        method: The full name of the gRPC method, or the HTTP method.
        address: ``HOST:PORT``, or the URL.
        body_bytes: The size of the message or body in bytes, without headers and framing.
    """

    protocol: str
    method: str
    address: str
    body_bytes: int


class ModelClient(abc.ABC):
    """A connection to one model."""

    @property
    def metadata_requests(self) -> int:
        """How many requests to the model itself ``metadata`` has sent so far; they count into the rate limits.

        Only a client whose server may leave it no other way to find out what the model is has some.
        """
        return 0

    @abc.abstractmethod
    async def metadata(self, timeout_s: float) -> ModelMetadata:
        """Returns the model's name, served version and chosen signature.

        Raises:
            UnavailableError: No server answers, or none within ``timeout_s``.
            NotServedError: The server has no such model, version, label or signature; the message lists those it has, if
                known.
        """

    @abc.abstractmethod
    async def predict(self, inputs: Mapping[str, np.ndarray], rows: int, timeout_s: float) -> Answer:
        """Sends one request.

        Args:
            inputs: Input name to an array of shape ``[rows, …]`` (or ``[]`` for a scalar input, where ``rows`` is 1), of
                the signature's dtype; strings as dtype object, of bytes. For a signature that takes examples, one entry
                with the serialized ``tf.Example`` records.
            rows: How many rows the answer must have.
            timeout_s: The time-out of the request in seconds.

        Returns:
            The outputs by name, one value per row, and the version that served them.

        Raises:
            TransientError: A retry may succeed, after ``retry_after_s`` if it is set; also when ``timeout_s`` has passed.
            RejectedError: The server refuses the content of the request.
            MalformedAnswerError: The answer can't be matched to the rows of the request, or is larger than
                ``max_answer_bytes``.
            NotServedError: The server no longer has the model, or denies access.
        """

    def preview(self, inputs: Mapping[str, np.ndarray], rows: int) -> RequestPreview | None:
        """Describes the request that ``predict`` would send, without sending it. ``metadata`` must have been called.

        Returns:
            The description; ``None`` if the protocol has none, such as a model in the worker.

        Raises:
            RejectedError: The inputs can't be written as a request.
        """
        return None

    @abc.abstractmethod
    async def close(self) -> None:
        """Closes the connections."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()
