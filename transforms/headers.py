"""The headers that are written on predictions and dead letters: every name stands here once.

A new header is a line here, and a value where the others are written: ``encode/encoder.py`` for predictions,
``encode/dead_letter.py`` for dead letters. ``python -m transforms.reference`` prints the table.
"""

from __future__ import annotations

import dataclasses

from transforms.types import Headers, KafkaRecord

PREDICTION = "prediction"
DEAD_LETTER = "dead letter"


@dataclasses.dataclass(frozen=True, slots=True)
class HeaderRow:
    """One row of the reference.

    Attributes:
        name: The header's name.
        on: ``PREDICTION``, ``DEAD_LETTER`` or both.
        description: One sentence: what the value is.
    """

    name: str
    on: tuple[str, ...]
    description: str


HEADERS: list[HeaderRow] = []
"""All headers, in the order of the reference."""


def _header(name: str, on: tuple[str, ...], description: str) -> str:
    HEADERS.append(HeaderRow(name, on, description))
    return name


MODEL = _header("inference.model", (PREDICTION,), "The model's name.")
VERSION = _header("inference.version", (PREDICTION,), "The version that answered; empty if the server does not say.")
SOURCE = _header("inference.source", (PREDICTION, DEAD_LETTER), "The input record, as `topic/partition/offset`.")
LATENCY = _header("inference.latency_ms", (PREDICTION,), "Milliseconds that the successful request took.")
ATTEMPTS = _header("inference.attempts", (PREDICTION,), "How many requests it took; 1 if the first one succeeded.")
TIMESTAMP = _header(
    "inference.timestamp_ms",
    (PREDICTION, DEAD_LETTER),
    "The input's timestamp, only where the written record could not be given it: `0` (written as 1 ms), and with "
    "`--kafka_io=beam` `-1` for none and other negative ones (written as now).",
)
DEPLOYED_MODEL = _header(
    "inference.deployed_model", (PREDICTION,), "The id of the deployed model that answered (Vertex AI only)."
)
DEPLOYED_MODEL_NAME = _header(
    "inference.deployed_model_name", (PREDICTION,), "The display name of the deployed model that answered (Vertex AI only)."
)
ERROR_STAGE = _header("inference.error.stage", (DEAD_LETTER,), "The stage that failed: `decode`, `predict` or `encode`.")
ERROR_CLASS = _header("inference.error.class", (DEAD_LETTER,), "The dead-letter class.")
ERROR_MESSAGE = _header(
    "inference.error.message",
    (DEAD_LETTER,),
    "What was wrong and what was expected, in at most 2,000 bytes of UTF-8; never bytes of the value.",
)
ERROR_ATTEMPTS = _header(
    "inference.error.attempts", (DEAD_LETTER,), "How many requests held the record; 0 if it never reached the model."
)

ON_PREDICTIONS = frozenset(row.name for row in HEADERS if PREDICTION in row.on)
"""Names of which a prediction has one value at most: what a pipeline before this one wrote is replaced."""


def with_timestamp(headers: Headers, timestamp_ms: int) -> Headers:
    """Returns the headers of a record that can't be given the timestamp ``timestamp_ms``, and says so in a header."""
    return [*(header for header in headers if header[0] != TIMESTAMP), (TIMESTAMP, b"%d" % timestamp_ms)]


def source_of(record: KafkaRecord) -> bytes:
    """Returns the value of ``inference.source``: ``topic/partition/offset``."""
    return f"{record.topic}/{record.partition}/{record.offset}".encode()
