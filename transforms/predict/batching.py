"""Batching: collects the rows of several chunks into batches of one window and one shape.

Only segments with equal keys share a batch (``Segment.key``). Rows wait only while the bundle is still read. At the end of
the bundle the rest is sent at once, so there is no timer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np

from transforms.headers import source_of
from transforms.memory import records_bytes, sizes_of, values_bytes
from transforms.types import (
    AnsweredSegment,
    DecodedChunk,
    Failure,
    Header,
    Headers,
    KafkaRecord,
    PredictedChunk,
    Segment,
    Signature,
)

CHUNK_BATCHES = 8
"""How many full batches a chunk holds: few Beam elements, and still several requests in flight from one chunk."""


@dataclasses.dataclass(slots=True)
class PendingChunk:
    """A chunk on its way through the model, and how many of its rows still have no result.

    Attributes:
        decoded: As it came, to begin anew if the model's signature changes.
        chunk: Its results so far.
        waiting: How many rows have none.
        record_bytes: About what its records take; ``None`` where they are no Kafka records.
        held_bytes: About what the chunk takes: its records, and the answers so far.
    """

    decoded: DecodedChunk
    chunk: PredictedChunk
    waiting: int
    record_bytes: int | None = None
    held_bytes: int = 0

    @classmethod
    def of(cls, decoded: DecodedChunk) -> PendingChunk:
        """Makes one from a decoded chunk. Rows that failed to decode have their result already."""
        chunk = PredictedChunk(
            decoded.records, [], dict(decoded.failures), decoded.documents, decoded.carried, decoded.began_ns
        )
        records = decoded.records
        record_bytes = records_bytes(records) if records and isinstance(records[0], KafkaRecord) else None
        waiting = sum(len(segment.rows) for segment in decoded.segments)
        return cls(decoded, chunk, waiting, record_bytes, record_bytes or 0)

    def first_answered(self) -> PredictedChunk:
        """Returns the chunk's first rows, up to one without a result."""
        chunk = self.chunk
        done = set(chunk.failures).union(*(answer.rows for answer in chunk.answers))
        end = next((row for row in range(len(chunk.records)) if row not in done), len(chunk.records))
        answers = [part for answer in chunk.answers if (part := _before(answer, end)) is not None]
        failures = {row: failure for row, failure in chunk.failures.items() if row < end}
        documents, carried = (None if them is None else them[:end] for them in (chunk.documents, chunk.carried))
        return PredictedChunk(chunk.records[:end], answers, failures, documents, carried, chunk.began_ns)


def _before(answer: AnsweredSegment, end: int) -> AnsweredSegment | None:
    """Returns those rows of an answer that are before ``end``; ``None`` if there are none."""
    kept = [at for at, row in enumerate(answer.rows) if row < end]
    if len(kept) == len(answer.rows):
        return answer
    outputs = {
        name: values[kept] if isinstance(values, np.ndarray) else [values[at] for at in kept]
        for name, values in answer.outputs.items()
    }
    row_headers = [answer.row_headers[at] for at in kept] if answer.row_headers else ()
    rows = [answer.rows[at] for at in kept]
    return dataclasses.replace(answer, rows=rows, outputs=outputs, row_headers=row_headers) if kept else None


@dataclasses.dataclass(slots=True)
class Part:
    """Rows of one chunk inside a batch."""

    pending: PendingChunk
    rows: Sequence[int]
    tensors: Mapping[str, np.ndarray]


@dataclasses.dataclass(slots=True)
class RowsResult:
    """The result of the rows ``start`` to ``start + rows`` of a batch: ``outputs``, or one ``failure`` for all of them.

    Of an answer, ``failures`` has the rows (from 0 on) whose outputs must not be used, and ``row_headers`` an entry for each
    row, or none at all.
    """

    start: int
    rows: int
    attempts: int
    outputs: Mapping[str, Sequence[object] | np.ndarray] | None = None
    version: str = ""
    latency_ms: float = 0.0
    failure: Failure | None = None
    headers: tuple[Header, ...] = ()
    traceparent: bytes = b""
    row_headers: Sequence[tuple[Header, ...]] = ()
    failures: Mapping[int, Failure] = dataclasses.field(default_factory=dict)

    def part(self, first: int, end: int) -> RowsResult:
        """Returns the result of the rows from ``first`` (of this result) to before ``end``."""
        if (first, end) == (0, self.rows):
            return self
        outputs = self.outputs
        return dataclasses.replace(
            self,
            start=self.start + first,
            rows=end - first,
            outputs=None if outputs is None else {name: values[first:end] for name, values in outputs.items()},
            row_headers=self.row_headers[first:end],
            failures={row - first: failure for row, failure in self.failures.items() if first <= row < end},
        )

    def answered(self, rows: Sequence[int]) -> AnsweredSegment | None:
        """Returns the rows whose outputs may be used, as the rows ``rows`` of a chunk; ``None`` if there are none."""
        assert self.outputs is not None
        outputs, row_headers = self.outputs, self.row_headers
        if self.failures:
            good = [row for row in range(self.rows) if row not in self.failures]
            if not good:
                return None
            rows = [rows[row] for row in good]
            outputs = {
                name: values[good] if isinstance(values, np.ndarray) else [values[row] for row in good]
                for name, values in outputs.items()
            }
            row_headers = [row_headers[row] for row in good] if row_headers else ()
        who = self.version, self.latency_ms, self.attempts, self.headers, self.traceparent
        return AnsweredSegment(rows, outputs, *who, row_headers)


@dataclasses.dataclass(slots=True)
class Batch:
    """The rows of one request."""

    parts: list[Part]
    rows: int
    size: int = 0
    results: list[RowsResult] = dataclasses.field(default_factory=list)
    error: BaseException | None = None

    def inputs(self) -> dict[str, np.ndarray]:
        """Input name to the rows of all parts, shape ``[rows, …]``."""
        if len(self.parts) == 1:
            return dict(self.parts[0].tensors)
        return {name: np.concatenate([part.tensors[name] for part in self.parts]) for name in self.parts[0].tensors}

    def name_of(self, row: int) -> str:
        """The record of a row of the batch, as ``topic/partition/offset``; empty if the row is not of a Kafka record."""
        for pending, rows, _ in self._overlaps(row, 1):
            record = pending.decoded.records[rows[0]]
            if isinstance(record, KafkaRecord):
                return source_of(record).decode()
        return ""

    def headers(self) -> list[Headers]:
        """The headers of the record of each row; none for a row that is not of a Kafka record."""
        records = (part.pending.decoded.records[row] for part in self.parts for row in part.rows)
        return [record.headers if isinstance(record, KafkaRecord) else [] for record in records]

    def settle(self) -> None:
        """Gives every chunk its rows' results."""
        for result in self.results:
            for pending, rows, first in self._overlaps(result.start, result.rows):
                pending.waiting -= len(rows)
                if result.failure is not None:
                    pending.chunk.failures.update(dict.fromkeys(rows, result.failure))
                    continue
                part = result.part(first, first + len(rows))
                for row, failure in part.failures.items():
                    pending.chunk.failures[rows[row]] = dataclasses.replace(failure, attempts=part.attempts)
                if (answered := part.answered(rows)) is not None:
                    pending.chunk.answers.append(answered)
                    pending.held_bytes += sum(map(values_bytes, answered.outputs.values()))

    def _overlaps(self, start: int, rows: int) -> Iterator[tuple[PendingChunk, Sequence[int], int]]:
        """Yields for each chunk in batch rows ``start`` to ``start + rows``: the chunk, its rows, and their first index."""
        at = 0
        for part in self.parts:
            low, high = max(start, at), min(start + rows, at + len(part.rows))
            if low < high:
                yield part.pending, part.rows[low - at : high - at], low - start
            at += len(part.rows)


class Batcher:
    """Collects the segments of a bundle into batches.

    Args:
        size: Most rows of a batch.
        most_bytes: Most bytes of the records of a batch of several; ``None`` for any.
    """

    def __init__(self, size: int, most_bytes: int | None = None):
        self._size, self._most_bytes = size, most_bytes
        self._open: dict[Hashable, Batch] = {}

    def add(self, pending: PendingChunk, segment: Segment) -> Iterator[Batch]:
        """Adds rows; yields the batches that are full now."""
        at, count = 0, len(segment.rows)
        while at < count:
            batch = self._open.setdefault(segment.key, Batch([], 0))
            take = self._fitting(batch, pending, segment.rows[at : at + self._size - batch.rows])
            if not take:
                yield self._open.pop(segment.key)
                continue
            whole = take == count
            rows = segment.rows if whole else segment.rows[at : at + take]
            tensors = (
                segment.tensors if whole else {name: rows_of[at : at + take] for name, rows_of in segment.tensors.items()}
            )
            batch.parts.append(Part(pending, rows, tensors))
            batch.rows += take
            at += take
            if batch.rows == self._size:
                yield self._open.pop(segment.key)

    def _fitting(self, batch: Batch, pending: PendingChunk, rows: Sequence[int]) -> int:
        """Returns how many of the rows fit into the batch, one at least if it is empty, and counts their bytes."""
        if self._most_bytes is None or pending.record_bytes is None:
            return len(rows)
        if batch.rows + len(rows) == self._size and batch.size + pending.record_bytes <= self._most_bytes:
            return len(rows)  # nearly always: it is full, and no record has to be looked at
        records = pending.decoded.records
        for at, row_bytes in enumerate(sizes_of([records[row] for row in rows])):
            size = batch.size + row_bytes
            if size > self._most_bytes and (batch.rows or at):
                return at
            batch.size = size
        return len(rows)

    def flush(self) -> list[Batch]:
        """Returns what is left, full or not."""
        rest = list(self._open.values())
        self._open.clear()
        return rest


def batch_size(signature: Signature, batch_max_size: int, max_rows: int | None = None) -> int:
    """Returns how many rows a request may have.

    With a scalar input it is 1. A fixed batch dimension takes precedence over ``batch_max_size`` and ``max_rows``.

    Args:
        signature: The model's signature.
        batch_max_size: The flag.
        max_rows: The server's own limit, if any; the lower of the two limits applies.
    """
    if signature.has_scalar:
        return 1  # a request has only one value of a scalar, but every record has its own
    return signature.rows_per_request or min(batch_max_size, max_rows or batch_max_size)


def request_inputs(signature: Signature, inputs: Mapping[str, np.ndarray], rows: int) -> tuple[dict[str, np.ndarray], int]:
    """Returns the inputs to send for ``rows`` rows: padded to a fixed batch dimension, scalars without a batch dimension.

    Returns:
        The inputs and their number of rows. Rows beyond ``rows`` repeat the last row; their outputs must be dropped.
    """
    fixed = signature.rows_per_request
    if fixed is None:
        return dict(inputs), rows
    sent = {}
    for name, values in inputs.items():
        spec = signature.inputs.get(name)
        if spec is not None and spec.shape == ():
            sent[name] = np.asarray(values[0]) if values.dtype != object else values[:1].reshape(())
        elif len(values) < fixed:
            sent[name] = np.concatenate([values, np.repeat(values[-1:], fixed - len(values), axis=0)])
        else:
            sent[name] = values
    return sent, fixed
