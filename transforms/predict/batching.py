"""Rows of many chunks into requests: full ones under load, never across a window or a shape.

A segment's key says what may share a request (decode.py). Rows wait here only while the bundle goes on reading; what is left
at its end is sent at once, so nothing ever waits for a timer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence

import numpy as np

from transforms.types import AnsweredSegment, DecodedChunk, Failure, Header, PredictedChunk, Segment, Signature

CHUNK_BATCHES = 8
"""How many full batches a chunk holds: few Beam elements, and still several requests in flight from one chunk."""


@dataclasses.dataclass(slots=True)
class PendingChunk:
    """A chunk on its way through the model, and how many of its rows still have no result."""

    chunk: PredictedChunk
    waiting: int

    @classmethod
    def of(cls, decoded: DecodedChunk) -> PendingChunk:
        """Starts with the rows that failed to decode as already done."""
        chunk = PredictedChunk(decoded.records, [], dict(decoded.failures), decoded.documents, decoded.carried)
        return cls(chunk, sum(len(segment.rows) for segment in decoded.segments))


@dataclasses.dataclass(slots=True)
class Part:
    """Rows of one chunk inside a batch."""

    pending: PendingChunk
    rows: Sequence[int]
    tensors: Mapping[str, np.ndarray]


@dataclasses.dataclass(slots=True)
class RowsResult:
    """The result of the rows ``start`` to ``start + rows`` of a batch: ``outputs``, or one ``failure`` for all of them."""

    start: int
    rows: int
    attempts: int
    outputs: Mapping[str, Sequence[object] | np.ndarray] | None = None
    version: str = ""
    latency_ms: float = 0.0
    failure: Failure | None = None
    headers: tuple[Header, ...] = ()


@dataclasses.dataclass(slots=True)
class Batch:
    """The rows of one request."""

    parts: list[Part]
    rows: int
    results: list[RowsResult] = dataclasses.field(default_factory=list)
    error: BaseException | None = None

    def inputs(self) -> dict[str, np.ndarray]:
        """Input name to the rows of all parts, shape ``[rows, …]``."""
        if len(self.parts) == 1:
            return dict(self.parts[0].tensors)
        return {name: np.concatenate([part.tensors[name] for part in self.parts]) for name in self.parts[0].tensors}

    def settle(self) -> None:
        """Gives every chunk its rows' results."""
        for result in self.results:
            for pending, rows, first in self._overlaps(result.start, result.rows):
                pending.waiting -= len(rows)
                if result.failure is not None:
                    pending.chunk.failures.update(dict.fromkeys(rows, result.failure))
                    continue
                assert result.outputs is not None
                whole = len(rows) == result.rows
                outputs = (
                    result.outputs
                    if whole
                    else {name: values[first : first + len(rows)] for name, values in result.outputs.items()}
                )
                answered = AnsweredSegment(rows, outputs, result.version, result.latency_ms, result.attempts, result.headers)
                pending.chunk.answers.append(answered)

    def _overlaps(self, start: int, rows: int) -> Iterator[tuple[PendingChunk, Sequence[int], int]]:
        """The chunk rows behind batch rows ``start`` to ``start + rows``, and where they begin in that result."""
        at = 0
        for part in self.parts:
            low, high = max(start, at), min(start + rows, at + len(part.rows))
            if low < high:
                yield part.pending, part.rows[low - at : high - at], low - start
            at += len(part.rows)


class Batcher:
    """Collects the segments of a bundle into batches of ``size`` rows."""

    def __init__(self, size: int):
        self._size = size
        self._open: dict[Hashable, Batch] = {}

    def add(self, pending: PendingChunk, segment: Segment) -> Iterator[Batch]:
        """Adds rows; yields the batches that are full now."""
        at, count = 0, len(segment.rows)
        while at < count:
            batch = self._open.setdefault(segment.key, Batch([], 0))
            take = min(self._size - batch.rows, count - at)
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

    def flush(self) -> list[Batch]:
        """Returns what is left, full or not."""
        rest = list(self._open.values())
        self._open.clear()
        return rest


def batch_size(signature: Signature, batch_max_size: int, max_rows: int | None = None) -> int:
    """How many rows a request may have: one beside a scalar input; the fixed batch dimension wins over the flag.

    Args:
        signature: What the model takes.
        batch_max_size: The flag.
        max_rows: The server's own limit, which wins over the flag where it is lower.
    """
    if signature.has_scalar:
        return 1  # a scalar is the same for all rows of a request, but every record has one of its own
    return signature.rows_per_request or min(batch_max_size, max_rows or batch_max_size)


def request_inputs(signature: Signature, inputs: Mapping[str, np.ndarray], rows: int) -> tuple[dict[str, np.ndarray], int]:
    """What is really sent for ``rows`` rows: padded to a fixed batch dimension, scalars without one.

    Returns:
        The inputs and how many rows they have; rows beyond ``rows`` repeat the last one, and their answers are dropped.
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
