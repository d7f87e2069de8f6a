"""``Limits``: how large a request the server takes, learnt from its refusals. Each limit is found once, for all batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from transforms.errors import AnswerTooLargeError, BatchTooLargeError, ModelError, RequestTooLargeError
from transforms.memory import values_bytes
from transforms.predict.spans import Inputs, Span


class Limits:
    """The limits of rows and of bytes. Bytes are those of the arrays: in a request they take more or less, by the protocol.

    Attributes:
        most_rows: How many rows a request may have; ``None`` if any.
        most_bytes: How many bytes the arrays of a request may have, unless it has one row; ``None`` if any.
    """

    def __init__(self) -> None:
        self.most_rows: int | None = None
        self.most_bytes: float | None = None

    def learn(self, span: Span, error: ModelError) -> bool:
        """Learns from the refusal of a request; returns whether smaller ones may be taken."""
        if span.rows == 1:
            return False
        if isinstance(error, BatchTooLargeError):
            most = error.most_rows if error.most_rows and error.most_rows < span.rows else span.rows // 2
            self.most_rows = min(most, self.most_rows or most)
            return True
        if isinstance(error, RequestTooLargeError | AnswerTooLargeError):
            takes = error.takes if isinstance(error, RequestTooLargeError) else None
            share = (takes or 0.5) * float(row_bytes(span.inputs, span.rows).sum())
            self.most_bytes = share if self.most_bytes is None else min(share, self.most_bytes)
            return True
        return False

    def pieces(self, span: Span) -> list[Span]:
        """Cuts a span into as few as the limits allow, in order; one row is a piece, whatever its size."""
        ends = list(self._ends(span))
        return [span] if len(ends) == 1 else list(span.cut(ends))

    def _ends(self, span: Span) -> Iterator[int]:
        most_rows = self.most_rows or span.rows
        if self.most_bytes is None:
            yield from range(most_rows, span.rows, most_rows)
        else:
            start, total = 0, 0.0
            for row, size in enumerate(row_bytes(span.inputs, span.rows).tolist()):
                if row > start and (row - start >= most_rows or total + size > self.most_bytes):
                    yield row
                    start, total = row, 0.0
                total += size
        yield span.rows


def _size(value: Any) -> int:
    """The bytes of a string; of a JSON value about its bytes, because a signature does not say its size."""
    return len(value) if isinstance(value, bytes | str) else values_bytes((value,))


def row_bytes(inputs: Inputs, rows: int) -> np.ndarray:
    """The bytes of each row, over all inputs.

    Args:
        inputs: Input name to an array of shape ``[rows, …]``.
        rows: How many.

    Returns:
        Shape ``[rows]``, int64.
    """
    sizes = np.zeros(rows, np.int64)
    for values in inputs.values():
        if values.dtype == object:
            flat = values.reshape(rows, -1)
            sizes += np.fromiter((sum(map(_size, row)) for row in flat.tolist()), np.int64, rows)
        else:
            sizes += values.nbytes // rows
    return sizes
