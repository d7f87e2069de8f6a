"""``Bisection``: finds the guilty rows of a request that failed, with few requests whose answer is already known.

A request that failed has a guilty row, unless it failed by chance. Its first half is asked for. If that is answered, the
guilty row is in the second half, which is halved without being asked for. If the first half fails, it is halved in turn, and
the second half is asked for later. At the end, all rows before the guilty one are answered, and those after it make one
request. So a guilty row of ``n`` costs ``log2(n) + 1`` requests and its verdict. Both halves at each level cost twice that.

Both halves are asked for at the same time in two cases. If the server fails requests by chance, or is not known yet, one
failure proves too little. If a guilty row was found beside these rows, there may be many: one after the other is too slow.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Protocol

from transforms.errors import (
    SERVERS_TEXT,
    MalformedAnswerError,
    MergedBatchError,
    ModelError,
    OverloadedError,
    RejectedError,
)
from transforms.predict.batching import RowsResult
from transforms.predict.contract import Verdict
from transforms.predict.false_alarms import FalseAlarms
from transforms.predict.probes import Probes
from transforms.predict.spans import Pair, Span, all_of


class Resolve(Protocol):
    """Gets the results of a span. See ``Dispatcher``."""

    async def __call__(
        self,
        span: Span,
        deadline_s: float,
        since: int | None = None,
        pair: Pair | None = None,
        failed: ModelError | None = None,
    ) -> list[RowsResult]:
        """Returns the results of all rows."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """What a search has found.

    Attributes:
        answered: The results of the rows before the suspect.
        suspect: One row, which must be guilty if the request did not fail by chance; or several, if the search ended early.
        error: How the suspect failed, or the last rows that it is a part of.
        asked: Whether the suspect itself was asked for.
        rest: The rows after the suspect, of which nothing is known; ``None`` if there are none.
    """

    answered: list[RowsResult]
    suspect: Span
    error: ModelError
    asked: bool
    rest: Span | None


class Bisection:
    """Finds guilty rows. For one asyncio loop.

    Args:
        probes: What is known of the server.
        attempt: Sends one request; returns its answer or its error.
        resolve: Gets the results of rows.
        left_s: The deadline of the parts of a span, in seconds.
    """

    def __init__(
        self,
        probes: Probes,
        attempt: Callable[[Span], Awaitable[RowsResult | ModelError]],
        resolve: Resolve,
        left_s: Callable[[Span], float],
    ):
        self._probes, self._attempt, self._resolve, self._left_s = probes, attempt, resolve, left_s

    async def of(self, span: Span, error: ModelError, alarms: FalseAlarms, pair: Pair | None = None) -> list[RowsResult]:
        """Returns the results of rows that failed together.

        Args:
            span: The rows, more than one.
            error: How they failed.
            alarms: How often this server fails so by chance.
            pair: What was sent together with the span: it may show that the server answers others.
        """
        deadline_s, since = self._left_s(span), pair.sent if pair else span.sent
        if span.searched or not alarms.reliable:
            halves = Pair()
            results = await all_of(self._resolve(half, deadline_s, since, halves) for half in span.in_parts(2))
        else:
            results = await self._of_the_first(span, error, deadline_s, since)
        if all(result.failure is None for result in results):
            alarms.alarm()
        return results

    async def _of_the_first(self, span: Span, error: ModelError, deadline_s: float, since: int) -> list[RowsResult]:
        refused = isinstance(error, RejectedError | MalformedAnswerError)
        found = await self._search(span, error, since)
        known = found.error if found.asked or not refused else None  # what is refused must be asked for alone
        if not found.asked and found.error.said:
            found.error.hide(SERVERS_TEXT)  # it is about other rows, too
        if found.rest is None:
            return found.answered + await self._resolve(found.suspect, deadline_s, since, None, known)
        found.rest.searched = True
        pair = Pair()
        return found.answered + await all_of(
            [
                self._resolve(found.suspect, deadline_s, since, pair, known),
                self._resolve(found.rest, deadline_s, since, pair),
            ]
        )

    async def _search(self, span: Span, error: ModelError, since: int) -> _Found:
        answered: list[RowsResult] = []
        suspect, asked, how = span, True, error
        while suspect.rows > 1:
            first, second = suspect.in_parts(2)
            outcome = await self._attempt(first)
            if isinstance(outcome, RowsResult):
                answered.append(outcome)
                suspect, asked = second, False
            else:
                suspect, asked, how = first, True, outcome
                if not await self._goes_on(how, error, since):
                    break
        end = suspect.start + suspect.rows - span.start
        rest = span.part(end, span.rows) if end < span.rows else None
        return _Found(answered, suspect, how, asked, rest)

    async def _goes_on(self, how: ModelError, before: ModelError, since: int) -> bool:
        """Whether rows that have just failed may be searched further: they failed as before, and the server works.

        It works if it has answered anything since the search began. If that is no longer so, the trial will show it.
        """
        if isinstance(how, OverloadedError | MergedBatchError) or type(how) is not type(before):
            return False
        if isinstance(how, RejectedError | MalformedAnswerError):
            return self._probes.answered_since(since)
        return (await self._probes.examine(since)).verdict is Verdict.WORKS
