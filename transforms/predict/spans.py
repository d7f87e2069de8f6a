"""``Span``: the rows of a batch that are asked for in one request, and what is known of them so far."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

import numpy as np

from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import InternalError, MalformedAnswerError, ModelError, RejectedError, RequestTooLargeError
from transforms.internal_errors import internal_failure
from transforms.predict.batching import RowsResult
from transforms.predict.cures import cure_of
from transforms.predict.unmended import Unmended
from transforms.tracing import BatchTraces
from transforms.types import STAGE_PREDICT

Inputs = Mapping[str, np.ndarray]

TOO_LARGE_ALONE = "raise the server's limit of bytes, or make the record smaller"
"""The cure for a record that is too large, and alone in its request. Several are sent in smaller requests without a word."""


@dataclasses.dataclass(eq=False, slots=True)
class Span:
    """The rows ``start`` to ``start + rows`` of a batch.

    Attributes:
        inputs: Input name to an array of shape ``[rows, …]``.
        rows: How many.
        start: The first one's number in the batch.
        asked: For each row of the whole batch, the requests sent so far that it was part of. All spans of a batch share it.
        sent: The number of the last of them (``Probes.begin``).
        began_at: When the first request of this span began, in seconds; ``None`` before.
        apart: Whether it is asked for on a connection that no other request shares.
        strikes: How often it failed alone, with the server known to work before and after.
        refused: How often these rows were refused in turn, alone or with others.
        cleared: Whether the server was seen to take others after it had refused this span.
        overloads: How often the answer to these rows was an overload, in turn, alone or with others.
        searched: Whether a guilty row was found beside these rows: there may be more of them.
        failing: The number of the first request of this span that failed, and when, in seconds; ``None`` before.
        name_of: Names a row of the batch, such as ``topic/partition/offset``; empty if the row has no name.
        traces: The trace contexts of the batch; ``None`` if nothing of it is traced.
        unmended: Its answer that the server is to mend.
    """

    inputs: Inputs
    rows: int
    start: int
    asked: np.ndarray
    sent: int = 0
    began_at: float | None = None
    apart: bool = False
    strikes: int = 0
    refused: int = 0
    cleared: bool = False
    overloads: int = 0
    searched: bool = False
    failing: tuple[int, float] | None = None
    name_of: Callable[[int], str] | None = None
    traces: BatchTraces | None = None
    unmended: Unmended = dataclasses.field(default_factory=Unmended)

    @classmethod
    def of(
        cls, inputs: Inputs, rows: int, name_of: Callable[[int], str] | None = None, traces: BatchTraces | None = None
    ) -> Span:
        """Returns the span of a whole batch, of which nothing was asked yet."""
        return cls(inputs, rows, 0, np.zeros(rows, np.int64), name_of=name_of, traces=traces)

    @property
    def attempts(self) -> int:
        """Requests sent so far that the first row was part of."""
        return int(self.asked[self.start])

    def count(self, requests: int = 1) -> None:
        """Counts requests that are about to be sent, or were."""
        rows = self.asked[self.start : self.start + self.rows]
        rows += requests  # not self.asked[…] +=, which copies the rows onto themselves

    def paced(self, waited_s: float) -> None:
        """Notes a wait for ``--rate_limit`` or ``--token_limit``: it does not count into a deadline."""
        if self.began_at is not None:
            self.began_at += waited_s
        if self.failing is not None:
            self.failing = self.failing[0], self.failing[1] + waited_s

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
            yield self.part(start, end)
            start = end

    def in_parts(self, parts: int) -> list[Span]:
        """Returns spans of about the same size that cover this one: so many, or one a row."""
        parts = min(parts, self.rows)
        return list(self.cut(self.rows * number // parts for number in range(1, parts + 1)))

    def part(self, low: int, high: int) -> Span:
        """Returns the span of some rows of this one."""
        return dataclasses.replace(
            self,
            inputs={name: values[low:high] for name, values in self.inputs.items()},
            rows=high - low,
            start=self.start + low,
            began_at=None,
            strikes=0,
            cleared=False,
            failing=None,
            unmended=self.unmended if self.rows == high - low else Unmended(),
        )

    def failed(self, kind: DeadLetterClass, error: ModelError, cure: str = "") -> RowsResult:
        """The result of rows that get no answer."""
        message = str(error) if self.rows == 1 else error.own_words
        return RowsResult(self.start, self.rows, self.attempts, failure=kind.failure(f"{message}{cure}", self.attempts))

    def blamed(self, error: ModelError) -> RowsResult:
        """The result of a guilty row."""
        if isinstance(error, InternalError) and isinstance(error.__cause__, Exception):
            failure = internal_failure(STAGE_PREDICT, error.__cause__, self.attempts)
            return RowsResult(self.start, self.rows, self.attempts, failure=failure)
        if isinstance(error, RequestTooLargeError):
            return self.failed(DeadLetterClass.REJECTED, RequestTooLargeError(f"{error}; {TOO_LARGE_ALONE}"))
        if isinstance(error, RejectedError):
            return self.failed(DeadLetterClass.REJECTED, error, self.cure)
        if isinstance(error, MalformedAnswerError):
            return self.failed(DeadLetterClass.MALFORMED_ANSWER, error)
        return self.failed(DeadLetterClass.SERVER_ERROR, error, self.cure)

    @property
    def cure(self) -> str:
        """What in its one row is likely to be the cause of a refusal, and the flag that mends it; empty if unknown."""
        return cure_of(self.inputs) if self.rows == 1 else ""


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


def with_attempts(results: list[RowsResult], asked: np.ndarray) -> list[RowsResult]:
    """Returns the results of a batch with the attempts of each row; rows that were not asked for equally often are parted.

    Args:
        results: Of all rows.
        asked: For each row, how many requests it was part of.
    """
    if len(results) == 1 and results[0].rows == len(asked):
        return results  # it was asked for as a whole
    exact: list[RowsResult] = []
    for result in results:
        counts = asked[result.start : result.start + result.rows]
        ends = [*(np.flatnonzero(np.diff(counts)) + 1).tolist(), result.rows]
        for first, end in zip([0, *ends], ends, strict=False):
            exact.append(dataclasses.replace(result.part(first, end), attempts=int(counts[first])))
    return exact
