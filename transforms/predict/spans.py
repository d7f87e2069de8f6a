"""``Span``: the rows of a batch that are asked for in one request, and what is known of them so far."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

import numpy as np

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import InternalError, MalformedAnswerError, ModelError, RejectedError
from transforms.internal_errors import internal_failure
from transforms.predict.batching import RowsResult
from transforms.types import STAGE_PREDICT

Inputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(eq=False, slots=True)
class Span:
    """The rows ``start`` to ``start + rows`` of a batch.

    Attributes:
        inputs: Input name to an array of shape ``[rows, …]``.
        rows: How many.
        start: The first one's number in the batch.
        attempts: Requests sent so far that these rows were part of.
        sent: The number of the last of them (``Probes.begin``).
        began_at: When the first request of this span began, in seconds; ``None`` before.
        apart: Whether it is asked for on a connection that no other request shares.
        strikes: How often it failed alone, with the server known to work before and after.
        refused: How often these rows were refused in turn, alone or with others.
        cleared: Whether the server was seen to take others after it had refused this span.
        failing: The number of the first request of this span that failed, and when, in seconds; ``None`` before.
        name_of: Names a row of the batch, such as ``topic/partition/offset``; empty if the row has no name.
    """

    inputs: Inputs
    rows: int
    start: int = 0
    attempts: int = 0
    sent: int = 0
    began_at: float | None = None
    apart: bool = False
    strikes: int = 0
    refused: int = 0
    cleared: bool = False
    failing: tuple[int, float] | None = None
    name_of: Callable[[int], str] | None = None

    @property
    def name(self) -> str:
        """The record of this row, or the first and the last of these rows; empty if they have no names."""
        if self.name_of is None:
            return ""
        first, last = self.name_of(self.start), self.name_of(self.start + self.rows - 1)
        if not first or first == last:
            return first and f"record {first}"
        return f"one of the records from {first} to {last}"

    def cut(self, ends: Iterable[int]) -> Iterator[Span]:
        """Yields spans that cover this one; each ends before the row of ``ends``, and the next begins there."""
        start = 0
        for end in ends:
            yield self._part(start, end)
            start = end

    def halves(self) -> Iterator[Span]:
        """Returns two spans that cover this one."""
        return self.cut([self.rows // 2, self.rows])

    def _part(self, low: int, high: int) -> Span:
        inputs = {name: values[low:high] for name, values in self.inputs.items()}
        part = Span(inputs, high - low, self.start + low, self.attempts, apart=self.apart, refused=self.refused)
        part.name_of = self.name_of
        return part

    def failed(self, kind: DeadLetterClass, error: ModelError) -> RowsResult:
        """The result of rows that get no answer."""
        message = str(error) if self.rows == 1 else error.own_words
        return RowsResult(self.start, self.rows, self.attempts, failure=kind.failure(message, self.attempts))

    def blamed(self, error: ModelError) -> RowsResult:
        """The result of a guilty row."""
        if isinstance(error, InternalError) and isinstance(error.__cause__, Exception):
            failure = internal_failure(STAGE_PREDICT, error.__cause__, self.attempts)
            return RowsResult(self.start, self.rows, self.attempts, failure=failure)
        if isinstance(error, RejectedError):
            return self.failed(DeadLetterClass.REJECTED, error)
        if isinstance(error, MalformedAnswerError):
            return self.failed(DeadLetterClass.MALFORMED_ANSWER, error)
        return self.failed(DeadLetterClass.SERVER_ERROR, error)


class Pair:
    """Two halves of a span, sent together.

    If one half is answered, the server still takes what it took before. So the other one waits for that before it asks.

    Attributes:
        sent: The number of the first request of the two.
    """

    def __init__(self) -> None:
        self._left = 2
        self._both = asyncio.Event()
        self.sent = 0

    def tried(self, sent: int) -> None:
        """Request ``sent`` of one of them was answered or failed."""
        self.sent = min(self.sent or sent, sent)
        self._left -= 1
        if self._left <= 0:
            self._both.set()

    async def both_tried(self) -> None:
        """Waits for the first answers of both."""
        await self._both.wait()


async def all_of(work: Iterable[Awaitable[list[RowsResult]]]) -> list[RowsResult]:
    """Runs all side by side; if one fails, no other outlives it."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return [result for results in await asyncio.gather(*tasks) for result in results]
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
