"""The headers that are written on predictions and dead letters: every name stands here once.

A new header is a line here, and a value where the others are written: ``encode/encoder.py`` for predictions,
``dead_letter.py`` for dead letters. ``python -m transforms.reference`` prints the table.
"""

from __future__ import annotations

import dataclasses

from transforms.types import Headers, KafkaRecord

PREDICTION = "prediction"
DEAD_LETTER = "dead letter"
REPLAYED = "replayed record"


@dataclasses.dataclass(frozen=True, slots=True)
class HeaderRow:
    """One row of the reference.

    Attributes:
        name: The header's name.
        on: ``PREDICTION``, ``DEAD_LETTER`` or both; or ``REPLAYED``.
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
    "The input's timestamp, only where the written record could not be given it: `0` (written as 1 ms); with "
    "`--kafka_io=beam` `-1` for none and other negative ones (written as now); and one that the dead-letter topic refuses "
    "(written as now).",
)
DEPLOYED_MODEL = _header(
    "inference.deployed_model", (PREDICTION,), "The id of the deployed model that answered (Vertex AI only)."
)
DEPLOYED_MODEL_NAME = _header(
    "inference.deployed_model_name", (PREDICTION,), "The display name of the deployed model that answered (Vertex AI only)."
)
FINISH_REASON = _header(
    "inference.finish_reason",
    (PREDICTION,),
    "Why the model ended its text, mostly `stop` (OpenAI-compatible servers, chat and completions).",
)
TOKENS_PROMPT = _header("inference.tokens.prompt", (PREDICTION,), "How many tokens the prompt had (likewise).")
TOKENS_COMPLETION = _header("inference.tokens.completion", (PREDICTION,), "How many tokens the answer has (likewise).")
ERROR_STAGE = _header(
    "inference.error.stage", (DEAD_LETTER,), "The stage that failed: `decode`, `predict`, `encode` or `write`."
)
ERROR_CLASS = _header("inference.error.class", (DEAD_LETTER,), "The dead-letter class.")
ERROR_MESSAGE = _header(
    "inference.error.message",
    (DEAD_LETTER,),
    "What was wrong and what was expected, in at most 2,000 bytes of UTF-8; never bytes of the value, unless "
    "the text of an exception of your own function (`--preprocess`, `--postprocess`) has them.",
)
ERROR_ATTEMPTS = _header(
    "inference.error.attempts",
    (DEAD_LETTER,),
    "How many requests were sent for the record; 0 if it never reached the model.",
)
ORIGINAL_KEY = _header(
    "inference.original.key",
    (DEAD_LETTER,),
    "The input record's key (its first 1,000 bytes), where the dead-letter topic does not take it; the dead letter's key is "
    "`inference.source`.",
)
ORIGINAL_VALUE_BYTES = _header(
    "inference.original.value_bytes",
    (DEAD_LETTER,),
    "How many bytes the input record's value had, where the dead letter has only the first of them; `?` where the input "
    "record was deleted before its dead letter was written.",
)
ORIGINAL_HEADERS = _header(
    "inference.original.headers",
    (DEAD_LETTER,),
    "How many headers of the input record were left out; `?` if they can't be read.",
)

REPLAY_ATTEMPTS = _header(
    "inference.replay.attempts",
    (REPLAYED,),
    "How many times the record was replayed, this time included. It stays on the record's prediction and on its next dead "
    "letter, as all headers of an input do.",
)
REPLAY_DEAD_LETTER = _header(
    "inference.replay.dead_letter",
    (REPLAYED,),
    "The dead letter that was replayed last, as `topic/partition/offset`. It stays likewise.",
)

ON_PREDICTIONS = frozenset(row.name for row in HEADERS if PREDICTION in row.on)
"""Names of which a prediction has one value at most: what a pipeline before this one wrote is replaced."""

ON_DEAD_LETTERS = frozenset(row.name for row in HEADERS if DEAD_LETTER in row.on)
"""Names that a dead letter has besides the input's, from ``ERROR_STAGE`` on."""

ON_REPLAYED = frozenset(row.name for row in HEADERS if REPLAYED in row.on)
"""Names of which a replayed record has one value: the one of the replay before is replaced."""


def with_timestamp(headers: Headers, timestamp_ms: int) -> Headers:
    """Returns the headers of a record that can't be given the timestamp ``timestamp_ms``, and says so in a header."""
    return [*(header for header in headers if header[0] != TIMESTAMP), (TIMESTAMP, b"%d" % timestamp_ms)]


def source_of(record: KafkaRecord) -> bytes:
    """Returns the value of ``inference.source``: ``topic/partition/offset``."""
    return f"{record.topic}/{record.partition}/{record.offset}".encode()
