"""The values that travel between the stages: records, tensors by name, failures and answers.

This module imports no Beam, Kafka client or model client, so that every other module may import it.

The elements between the stages are *chunks*: micro-batches, which are the records of one poll, cut to a few batches. Single
records would be slower, because Beam's cost is per element. ``DecodedChunk`` goes into Predict and ``PredictedChunk`` comes
out. Both keep the records of the poll in their order; a *row* is a record's index in its chunk.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Header = tuple[str, bytes | None]
"""One Kafka header: a name and a value, which may be null."""

Headers = list[Header]


class UnreadableHeaders(list[Header]):
    """In place of a record's headers where they can't be read: empty.

    Args:
        reason: Why, for people.
    """

    def __init__(self, reason: str):
        super().__init__()
        self.reason = reason

    def __reduce__(self) -> tuple[type[UnreadableHeaders], tuple[str]]:
        return type(self), (self.reason,)


STAGE_DECODE = "decode"
STAGE_PREDICT = "predict"
STAGE_ENCODE = "encode"
STAGE_WRITE = "write"


class KafkaRecord(NamedTuple):
    """One record read from Kafka.

    Attributes:
        topic: The topic it was read from.
        partition: Its partition.
        offset: Its offset.
        timestamp_ms: Milliseconds since the epoch, possibly 0 or negative; ``None`` where the record has none.
        key: The key; ``None`` is a null key, which is not the same as an empty one.
        value: The value; ``None`` is a tombstone, which is not the same as an empty value.
        headers: The headers in their order; names may repeat. ``UnreadableHeaders`` if they can't be read.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers


class OutputRecord(NamedTuple):
    """One record to write: a prediction or a dead letter.

    Attributes:
        topic: The topic to write to.
        key: The input record's key, null if that was null.
        value: The value to write.
        headers: The input's headers, then the added ones.
        timestamp_ms: The input's timestamp.
        source: The input record's ``(topic, partition, offset)``.
        failed_stage: ``None`` for a prediction; the stage that failed for a dead letter.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None
    source: tuple[str, int, int]
    failed_stage: str | None

    @classmethod
    def answering(cls, record: KafkaRecord, topic: str, value: bytes | None) -> OutputRecord:
        """Returns what a pipeline of one's own writes for a record: with its key, headers and timestamp.

        Args:
            record: The record that was read.
            topic: The topic to write to.
            value: The value to write; ``None`` is a tombstone.
        """
        source = record.topic, record.partition, record.offset
        return cls(topic, record.key, value, list(record.headers), record.timestamp_ms, source, None)


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why one record has no prediction. A value, not an exception: the job goes on.

    Attributes:
        stage: ``decode``, ``predict``, ``encode`` or ``write``.
        error_class: A short stable name, such as ``Tombstone`` or ``FieldError``, to filter dead letters by.
        message: What was wrong, where, and what was expected. Never holds bytes of the payload.
        attempts: How many requests the record was part of; 0 if it never reached the model.
    """

    stage: str
    error_class: str
    message: str
    attempts: int = 0


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        dtype: A NumPy-like name: ``float32``, ``float64``, ``float16``, ``bfloat16``, ``int8`` … ``uint64``, ``bool``,
            ``string``, ``complex64``, ``complex128``.
        shape: The declared shape *with* the batch dimension first, -1 for an unknown size; ``None`` for unknown rank;
            ``()`` for a scalar, which has no batch dimension.
        has_default: Whether the signature supplies a value when the input is left out; of an output, whether an answer may
            leave it out.
    """

    dtype: str
    shape: tuple[int, ...] | None
    has_default: bool = False

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ",".join("?" if d < 0 else str(d) for d in self.shape)
        return f"{self.dtype}[{dims}]"


METHOD_PREDICT = "tensorflow/serving/predict"
METHOD_CLASSIFY = "tensorflow/serving/classify"
METHOD_REGRESS = "tensorflow/serving/regress"


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """A model's signature: its inputs and outputs.

    Attributes:
        name: The signature's name, such as ``serving_default``.
        method: ``tensorflow/serving/predict``, ``…/classify`` or ``…/regress``. The last two take serialized
            ``tf.Example`` records, whatever their declared input is.
        inputs: Input name to its spec. Empty if the server publishes no signature (KServe V1, Vertex AI), or if the model
            has no inputs.
        outputs: Output name to its spec.
        known: False where the server publishes no signature; records are then sent as they are.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    known: bool = True

    @classmethod
    def unknown(cls, name: str = "") -> Signature:
        """The signature of a model whose server publishes none."""
        return cls(name, METHOD_PREDICT, {}, {}, known=False)

    @property
    def takes_examples(self) -> bool:
        """Whether a record has to be a serialized ``tf.Example``."""
        return self.method in (METHOD_CLASSIFY, METHOD_REGRESS)

    @property
    def rows_per_request(self) -> int | None:
        """How many rows one request must have: the fixed batch dimension, 1 for scalar inputs, ``None`` for any number.

        An input of unknown rank takes any number: its first dimension is taken for the batch.
        """
        if self.takes_examples:
            return None
        shapes = [spec.shape for spec in self.inputs.values() if spec.shape is not None]
        fixed = [shape[0] for shape in shapes if shape and shape[0] > 0]
        return fixed[0] if fixed else 1 if () in shapes else None

    @property
    def has_scalar(self) -> bool:
        """Whether an input has no batch dimension. Every record then needs a request of its own."""
        return not self.takes_examples and any(spec.shape == () for spec in self.inputs.values())


@dataclasses.dataclass(frozen=True, slots=True)
class ModelMetadata:
    """The model that a server serves: its name, version and signature.

    Attributes:
        model: Its name.
        version: The version served now, as text; empty if the server does not say.
        signature: The signature that requests use.
        max_rows: The server's own limit of rows in a request; ``None`` if it has none.
    """

    model: str
    version: str
    signature: Signature
    max_rows: int | None = None


class Tokens(NamedTuple):
    """The tokens of one request to a language model, as its server counts them; ``None`` where it states none.

    Attributes:
        prompt: Those of what the request asks.
        completion: Those of what the model made.
    """

    prompt: int | None = None
    completion: int | None = None

    def plus(self, other: Tokens) -> Tokens:
        """Returns the tokens of both together; ``None`` where neither states them."""
        sums = (None if a is None and b is None else (a or 0) + (b or 0) for a, b in zip(self, other, strict=True))
        return Tokens(*sums)


@dataclasses.dataclass(slots=True)
class Answer:
    """A model server's outputs for one request, one value for each row of the request.

    Attributes:
        outputs: Output name to one value a row: an array of shape ``[rows, …]`` (string outputs: dtype object, of
            bytes), or a list of ``rows`` JSON-like values where an output is ragged (classification results). The client
            guarantees that each output has exactly as many rows as the request, or raises ``MalformedAnswerError``.
        version: The version that answered, as text; empty if the server does not say.
        headers: What else the server says of who answered, as headers of the predictions.
        unproven_outputs: Outputs that have as many rows as the request, perhaps by chance (``clients/wire/outputs.py``): ask
            with one row before they are believed.
        repeated_outputs: Outputs that have one value for the whole request, repeated for each row.
        row_headers: What the server says of each row's answer, as headers of its prediction: one entry a row, or none at
            all.
        failures: Row to why its answer must not be used, though the server gave one: cut off, for example. Its outputs have
            any value.
        tokens: What the request took, where its server counts it.
        again: Asks once more, with what was wrong, where the server is asked to mend its answer; takes the time-out in
            seconds. ``failures`` say what was wrong. The caller may leave it at that.
        asked: How many requests the answer took: 2 if ``again`` gave it.
    """

    outputs: Mapping[str, Sequence[Any] | np.ndarray]
    version: str
    headers: tuple[Header, ...] = ()
    unproven_outputs: tuple[str, ...] = ()
    repeated_outputs: tuple[str, ...] = ()
    row_headers: Sequence[tuple[Header, ...]] = ()
    failures: Mapping[int, Failure] = dataclasses.field(default_factory=dict)
    tokens: Tokens | None = None
    again: Callable[[float], Awaitable[Answer]] | None = None
    asked: int = 1


@dataclasses.dataclass(slots=True)
class Segment:
    """Rows of one chunk that may share a request.

    Attributes:
        key: Segments with equal keys may be concatenated along the first axis. They have the same input names, dtypes and
            row shapes, and the same window.
        rows: Row indexes into the chunk's records, ascending.
        tensors: Input name to an array of shape ``[len(rows), …]``; strings as dtype object, of bytes.
    """

    key: Hashable
    rows: Sequence[int]
    tensors: Mapping[str, np.ndarray]


@dataclasses.dataclass(slots=True)
class DecodedChunk:
    """A chunk after Decode: every row is either in one segment, or has a failure.

    Attributes:
        records: The records, each partition in the order of its offsets.
        segments: The rows that can be sent to the model, as tensors.
        failures: Row index to why the row can't be sent.
        documents: The parsed JSON of each row (``None`` where there is none), kept only for ``--output_mode=merge``.
        carried: For each row the JSON members to add to its prediction (``b""`` for none), only with ``--pass_through``.
        began_ns: When its decoding began, in nanoseconds since the epoch; 0 unless the records are traced.
    """

    records: list[KafkaRecord]
    segments: list[Segment]
    failures: dict[int, Failure]
    documents: list[Any] | None = None
    carried: list[bytes] | None = None
    began_ns: int = 0


@dataclasses.dataclass(slots=True)
class AnsweredSegment:
    """Rows that the model answered in one request.

    Attributes:
        rows: Row indexes into the chunk's records.
        outputs: Output name to one value for each of ``rows``, as in ``Answer``.
        version: The version that answered.
        latency_ms: Milliseconds that the successful request took.
        attempts: Number of requests sent, 1 if the first one succeeded.
        headers: As in ``Answer``.
        traceparent: The trace context of the request; empty unless it is traced.
        row_headers: As in ``Answer``: one entry for each of ``rows``, or none at all.
    """

    rows: Sequence[int]
    outputs: Mapping[str, Sequence[Any] | np.ndarray]
    version: str
    latency_ms: float
    attempts: int
    headers: tuple[Header, ...] = ()
    traceparent: bytes = b""
    row_headers: Sequence[tuple[Header, ...]] = ()


@dataclasses.dataclass(slots=True)
class PredictedChunk:
    """A chunk after Predict: every row is either in one answered segment, or has a failure."""

    records: list[KafkaRecord]
    answers: list[AnsweredSegment]
    failures: dict[int, Failure]
    documents: list[Any] | None = None
    carried: list[bytes] | None = None
    began_ns: int = 0
