"""The values that travel between the stages: records, tensors by name, failures and answers.

Nothing here imports Beam, a Kafka client or a model client, so that every other module may import it.

Between the stages travel *chunks* (the records of one poll, cut to about a batch) rather than single records: per-record
Beam hops are what costs. ``DecodedChunk`` goes into Predict and ``PredictedChunk`` comes out; both keep the records of the
poll in their order and refer to them by row index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

Header = tuple[str, bytes | None]
"""One Kafka header: a name and a value, which may be null."""

Headers = list[Header]

STAGE_DECODE = "decode"
STAGE_PREDICT = "predict"
STAGE_ENCODE = "encode"


class KafkaRecord(NamedTuple):
    """One record as it was read.

    Attributes:
        topic: The topic it was read from.
        partition: Its partition.
        offset: Its offset.
        timestamp_ms: Milliseconds since the epoch; ``None`` where the broker gave none.
        key: The key; ``None`` is a null key, which is not the same as an empty one.
        value: The value; ``None`` is a tombstone, which is not the same as an empty value.
        headers: The headers in their order; names may repeat.
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


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why one record has no prediction: a value, because what happens to a record is not an exception of the job.

    Attributes:
        stage: ``decode``, ``predict`` or ``encode``.
        error_class: A short stable name, such as ``Tombstone`` or ``FieldError``, to filter dead letters by.
        message: What was wrong, where, and what was expected. Never the payload's bytes.
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
        has_default: Whether the signature supplies a value when the input is left out.
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
    """What a model takes and gives.

    Attributes:
        name: The signature's name, such as ``serving_default``.
        method: ``tensorflow/serving/predict``, ``…/classify`` or ``…/regress``. The last two take serialized
            ``tf.Example`` records, whatever their declared input is.
        inputs: Input name to its spec. Empty means not known: the server publishes none (KServe V1, Vertex AI), or the model
            takes none.
        outputs: Output name to its spec.
        known: False where the server publishes no signature; records are then sent as they are.
    """

    name: str
    method: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    known: bool = True

    @property
    def takes_examples(self) -> bool:
        """Whether a record has to be a serialized ``tf.Example``."""
        return self.method in (METHOD_CLASSIFY, METHOD_REGRESS)

    @property
    def rows_per_request(self) -> int | None:
        """How many rows one request must have: the fixed batch dimension, 1 for scalar inputs, ``None`` if it is free.

        Unknown rank counts as free: the first dimension is taken for the batch.
        """
        if self.takes_examples:
            return None
        shapes = [spec.shape for spec in self.inputs.values() if spec.shape is not None]
        fixed = [shape[0] for shape in shapes if shape and shape[0] > 0]
        return fixed[0] if fixed else 1 if () in shapes else None

    @property
    def has_scalar(self) -> bool:
        """Whether an input has no batch dimension: then every record needs a request of its own."""
        return not self.takes_examples and any(spec.shape == () for spec in self.inputs.values())


@dataclasses.dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Which model answers, in which version, by which signature.

    Attributes:
        model: Its name.
        version: The version served now, as text; empty if the server does not say.
        signature: What it takes and gives.
        max_rows: Rows of a request at most, where the server has a limit of its own; ``None`` where it has none.
    """

    model: str
    version: str
    signature: Signature
    max_rows: int | None = None


@dataclasses.dataclass(slots=True)
class Answer:
    """A model server's answer to one request.

    Attributes:
        outputs: Output name to one value a row: an array of shape ``[rows, …]`` (string outputs: dtype object, of
            bytes), or a list of ``rows`` JSON-like values where an output is ragged (classification results). The client
            guarantees that each has exactly as many rows as the request, or raises ``MalformedAnswerError``.
        version: The version that answered, as text; empty if the server does not say.
        headers: What else the server says of who answered, as headers of the predictions.
        unproven_outputs: Outputs that have as many rows as the request, perhaps by chance (``clients/wire/outputs.py``): ask
            with one row before they are believed.
        repeated_outputs: Outputs that have one value for the whole request, repeated for each row.
    """

    outputs: Mapping[str, Sequence[Any] | np.ndarray]
    version: str
    headers: tuple[Header, ...] = ()
    unproven_outputs: tuple[str, ...] = ()
    repeated_outputs: tuple[str, ...] = ()


@dataclasses.dataclass(slots=True)
class Segment:
    """Rows of one chunk that may share a request.

    Attributes:
        key: Segments with equal keys may be concatenated along the first axis: same names, dtypes and row shapes, same
            window.
        rows: Row indexes into the chunk's records, ascending.
        tensors: Input name to an array of shape ``[len(rows), …]``; strings as dtype object, of bytes.
    """

    key: Hashable
    rows: Sequence[int]
    tensors: Mapping[str, np.ndarray]


@dataclasses.dataclass(slots=True)
class DecodedChunk:
    """Records of one poll, in order, with their tensors or their failures; every row is in exactly one of the two.

    Attributes:
        records: The records, in the order of each partition.
        segments: What can be sent.
        failures: Row index to why it can't.
        documents: The parsed JSON of each row (``None`` where there is none), kept only for ``--output_mode=merge``.
        carried: JSON members of each row that go into its prediction (``b""`` where there are none), only with
            ``--pass_through``.
    """

    records: list[KafkaRecord]
    segments: list[Segment]
    failures: dict[int, Failure]
    documents: list[Any] | None = None
    carried: list[bytes] | None = None


@dataclasses.dataclass(slots=True)
class AnsweredSegment:
    """Rows that the model answered in one request.

    Attributes:
        rows: Row indexes into the chunk's records.
        outputs: Output name to one value for each of ``rows``, as in ``Answer``.
        version: The served version that answered.
        latency_ms: Milliseconds that the successful request took.
        attempts: How many requests it took, 1 if the first one succeeded.
        headers: As in ``Answer``.
    """

    rows: Sequence[int]
    outputs: Mapping[str, Sequence[Any] | np.ndarray]
    version: str
    latency_ms: float
    attempts: int
    headers: tuple[Header, ...] = ()


@dataclasses.dataclass(slots=True)
class PredictedChunk:
    """A chunk whose every row has an answer or a failure."""

    records: list[KafkaRecord]
    answers: list[AnsweredSegment]
    failures: dict[int, Failure]
    documents: list[Any] | None = None
    carried: list[bytes] | None = None
