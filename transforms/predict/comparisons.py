"""``Comparisons``: tells guilty rows from innocent ones side by side, with nothing paused, where trials take too long.

A trial pauses all other requests, for one row after the other: at 20 ms a request, a thousand guilty rows hold the stream
up for a minute. It is there for servers that fail rows under load. A comparison finds that out, too: each time that a
suspected row is asked for, so is the known-good row, at the same time and in the same way. A server that fails a share ``q``
of all requests, whatever they hold, fails a row ``s`` times in turn and answers ``c`` known-good rows meanwhile with the
probability ``q**s * (1-q)**c``. A row is guilty if that is below ``FALSE_VERDICT`` for every ``q``. All rows under
comparison share the answers to known-good rows, so that three failures of each are enough where there are many.

A row that fails under load for what it holds is not found out in this way, as the known-good row holds something else. So no
row is compared that is larger, or fails of what trials have not proven (``Causes``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from transforms.errors import ModelError
from transforms.predict.batching import RowsResult
from transforms.predict.causes import Causes
from transforms.predict.false_alarms import FALSE_VERDICT, FalseAlarms
from transforms.predict.spans import Span
from transforms.predict.trials import Guilty

LEAST_STRIKES = 3
MOST_STRIKES = 8
"""After so many failures without a verdict, a row gets its trial: too few others are under comparison."""


class Comparisons:
    """Compares suspected rows with the known-good row. For one asyncio loop.

    Args:
        attempt: Sends one request; returns its answer or its error.
        control: Sends the known-good row as any other request; returns whether it was answered.
        alarms: How often this server fails by chance.
        causes: What trials have proven.
    """

    def __init__(
        self,
        attempt: Callable[[Span], Awaitable[RowsResult | ModelError]],
        control: Callable[[], Awaitable[bool]],
        alarms: FalseAlarms,
        causes: Causes,
    ):
        self._attempt, self._control, self._alarms, self._causes = attempt, control, alarms, causes
        self._answered = self._failed = 0

    async def judge(self, span: Span, error: ModelError) -> RowsResult | Guilty | None:
        """Asks for one row until it is answered or guilty.

        Args:
            span: The row.
            error: How it failed, alone or with others.

        Returns:
            Its answer, or that it is guilty; ``None`` if that can't be told, so that it needs a trial.
        """
        answered, failed = self._answered, self._failed
        for strikes in range(1, MOST_STRIKES + 1):
            outcome, _ = await asyncio.gather(self._attempt(span), self._known_good())
            if isinstance(outcome, RowsResult):
                self._alarms.alarm()
                self._causes.acquitted(error)
                return outcome
            if self._failed > failed or not self._causes.proven(outcome):
                return None
            error = outcome
            if strikes >= LEAST_STRIKES and _by_chance(strikes, self._answered - answered) <= FALSE_VERDICT:
                self._causes.blamed(outcome)
                return Guilty(outcome)
        return None

    async def _known_good(self) -> None:
        if await self._control():
            self._answered += 1
        else:
            self._failed += 1
            self._alarms.alarm()


def _by_chance(strikes: int, answered: int) -> float:
    """How probable it is at most that requests fail and are answered like that, if all fail with the same probability."""
    share = strikes / (strikes + answered)
    return float(share**strikes * (1 - share) ** answered)
