"""``--try``: sends one real request, and shows the answer to its first record as the run would write it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.checking.contract import ask_timeout_s, client_options
from pipeline.checking.one_request import first_request
from pipeline.checking.waiting import StartWait
from pipeline.cli.config import Config
from transforms.clients import open_client
from transforms.clients.registry import mistakes_named, read_metadata
from transforms.errors import (
    CertificateError,
    ContractError,
    ModelError,
    ModelFailedError,
    NotReadyError,
    TransientError,
)
from transforms.headers import ERROR_MESSAGE
from transforms.predict.cures import cure_of
from transforms.predict.echoes import hide_echo
from transforms.predict.request_loop import run_here
from transforms.printable import shortened
from transforms.types import Answer, AnsweredSegment, DecodedChunk, ModelMetadata, PredictedChunk

if TYPE_CHECKING:
    from transforms.stages import EncodeConfig

MOST_CHARACTERS = 500
"""Most characters of an answer that are shown."""


def try_request(
    config: Config, model: ModelMetadata, decoded: DecodedChunk, encode: EncodeConfig, waiting: StartWait
) -> str:
    """Sends the first request made of the records read, until the server answers it or the wait is over.

    A server that has just started may describe its model before it can run it, so transient errors are retried. Any other
    error is final; so are a failed model and a problem with a certificate.

    Returns:
        The value of the first record's prediction, or why it would be a dead letter. Avro and Protobuf are shown as JSON.

    Raises:
        NotReadyError: The server did not answer in time.
        ContractError: The model does not answer it; the message has its reason.
    """
    inputs, rows = first_request(config, model, decoded)
    what = f"a request of {rows} of the records read" if rows > 1 else "a request of the first record that fits"

    async def ask() -> Answer:
        async with open_client(config.model, client_options(config)) as client:
            await read_metadata(config.model, client, ask_timeout_s(config))
            with mistakes_named(config.model, "predict"):
                return await client.predict(inputs, rows, config.request_timeout_s)

    def attempt(_: float) -> Answer:
        try:
            return run_here(ask())
        except ModelError as error:
            hide_echo(error, [inputs])
            comes = isinstance(error, TransientError) and not isinstance(error, CertificateError | ModelFailedError)
            kind = NotReadyError if comes else ContractError
            raise kind(f"--try: {model.model} does not answer {what}: {error}{cure_of(_first(inputs))}") from error

    answer = waiting.until_there("the model server's answer", attempt)
    return _written(answer, decoded, encode)


def _first(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array[:1] for name, array in inputs.items() if array.ndim}


def _written(answer: Answer, decoded: DecodedChunk, encode: EncodeConfig) -> str:
    if 0 in answer.failures:
        return f"it would be a dead letter: {answer.failures[0].message}"
    row = decoded.segments[0].rows[0]
    outputs = {name: values[:1] for name, values in answer.outputs.items()}
    chunk = PredictedChunk(
        [decoded.records[row]],
        [AnsweredSegment([0], outputs, answer.version, 0.0, 1)],
        {},
        None if decoded.documents is None else [decoded.documents[row]],
        None if decoded.carried is None else [decoded.carried[row]],
    )
    [record] = encode.encoder().encode(chunk)
    if record.failed_stage is not None:
        reason = next((value or b"" for name, value in reversed(record.headers) if name == ERROR_MESSAGE), b"")
        return f"it would be a dead letter: {reason.decode()}"
    if encode.schema is not None:  # what was written is binary; its size was checked above
        [record] = dataclasses.replace(encode, schema=None, max_value_bytes=None).encoder().encode(chunk)
    return shortened((record.value or b"").decode("utf-8", "replace"), MOST_CHARACTERS)
