"""Outcomes: what the public transforms give for each element, a ``Prediction`` or a ``FailedElement``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from transforms.types import AnsweredSegment, Failure, Header, PredictedChunk


class Prediction(NamedTuple):
    """An element that the model answered.

    Attributes:
        element: What went in: a ``KafkaRecord``, or features.
        outputs: Output name to this element's row of it: an array without the batch dimension, a NumPy scalar, bytes for
            a string, or a JSON-like value where an output is ragged.
        model: The model's name.
        version: The version that answered; empty if the server does not say.
        latency_ms: Milliseconds that the successful request took.
        attempts: Number of requests sent, the successful one included.
        headers: Further headers for the written record, such as the deployed model that answered (Vertex AI).
    """

    element: Any
    outputs: Mapping[str, Any]
    model: str
    version: str
    latency_ms: float
    attempts: int
    headers: tuple[Header, ...] = ()


class FailedElement(NamedTuple):
    """An element without a prediction.

    Attributes:
        element: What went in.
        failure: Why there is no prediction.
    """

    element: Any
    failure: Failure


Outcome = Prediction | FailedElement


def outcomes_of(elements: Sequence[Any], chunk: PredictedChunk, model: str) -> list[Outcome]:
    """Returns the outcome of each element, in their order.

    Args:
        elements: The element of each row of the chunk.
        chunk: The rows' answers and failures.
        model: The model's name.

    Raises:
        ValueError: A row has no outcome. This is a mistake of the caller; an element must never be lost silently.
    """
    found: list[Outcome | None] = [None] * len(elements)
    for answer in chunk.answers:
        for at, row in enumerate(answer.rows):
            outputs = {name: values[at] for name, values in answer.outputs.items()}
            headers = (*answer.headers, *answer.row_headers[at]) if answer.row_headers else answer.headers
            found[row] = Prediction(
                elements[row], outputs, model, answer.version, answer.latency_ms, answer.attempts, headers
            )
    for row, failure in chunk.failures.items():
        found[row] = FailedElement(elements[row], failure)
    complete = [outcome for outcome in found if outcome is not None]
    if len(complete) != len(elements):
        raise ValueError(f"{len(elements)} elements, but {len(complete)} outcomes")
    return complete


def answer_of(prediction: Prediction) -> AnsweredSegment:
    """Returns the prediction as an ``AnsweredSegment`` of one row."""
    outputs = {
        name: np.asarray(value)[np.newaxis] if isinstance(value, np.ndarray | np.generic) else [value]
        for name, value in prediction.outputs.items()
    }
    _, _, _, version, latency_ms, attempts, headers = prediction
    return AnsweredSegment([0], outputs, version, latency_ms, attempts, headers)
