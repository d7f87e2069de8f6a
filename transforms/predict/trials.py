"""``Trials``: asks for single rows that failed once more, alone, with all other requests paused.

A server that is busy, or that merges requests, fails rows that are innocent. So a row is guilty only if it fails again and
again while nothing else is in flight, and a probe is answered between its failures. All rows that wait for a trial share the
pause and its probes: it begins when nothing else is left to ask, or when many rows wait for it.

Trials of a slow server hold the stream up. Once they have shown what rows fail of (``Causes``), all but a sample of the rows
that fail of the same may be compared instead (``Comparisons``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Awaitable, Callable

from transforms.errors import MalformedAnswerError, MergedBatchError, ModelError, OverloadedError, RejectedError
from transforms.predict.batching import RowsResult
from transforms.predict.causes import Causes
from transforms.predict.false_alarms import FalseAlarms
from transforms.predict.limiter import Limiter
from transforms.predict.spans import Span

MANY = 32
"""So many rows are not kept waiting until nothing else is left to ask: requests in flight end, and no other begins. At
most so many are asked for between two probes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Guilty:
    """The verdict on a row that failed often enough."""

    error: ModelError


Judgement = RowsResult | ModelError | Guilty
"""The row's answer; how it failed, which proves nothing; or that it is guilty."""


@dataclasses.dataclass(eq=False, slots=True)
class _Suspect:
    span: Span
    error: ModelError
    urgent: bool
    excused: Callable[[], bool]
    verdict: asyncio.Future[Judgement | None]

    def decide(self, judgement: Judgement | None) -> None:
        if not self.verdict.done():  # else its batch was cancelled meanwhile
            self.verdict.set_result(judgement)


class Trials:
    """Tries suspected rows, one pause at a time. For one asyncio loop.

    Args:
        limiter: Pauses the other requests.
        attempt: Sends one request without taking a slot; returns its answer or its error.
        control: Sends a probe without taking a slot; returns whether it was answered.
        alarms: How often this server fails by chance.
        causes: Learns from the verdicts.
        clock: Returns seconds, monotonic.

    Attributes:
        took_s: How long the last request of a trial took, in seconds; 0 before.
    """

    def __init__(
        self,
        limiter: Limiter,
        attempt: Callable[[Span], Awaitable[RowsResult | ModelError]],
        control: Callable[[], Awaitable[bool]],
        alarms: FalseAlarms,
        causes: Causes,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._limiter, self._attempt, self._control = limiter, attempt, control
        self._alarms, self._causes, self._clock = alarms, causes, clock
        self.took_s = 0.0
        self._suspects: list[_Suspect] = []
        self._session: asyncio.Task[None] | None = None
        self._sitting = asyncio.Lock()

    async def judge(
        self, span: Span, error: ModelError, urgent: bool = False, excused: Callable[[], bool] = lambda: False
    ) -> Judgement | None:
        """Waits for a pause, and asks for ``span`` until it is answered, or guilty, or nothing can be said of it.

        Args:
            span: The rows.
            error: How they failed, with other requests in flight.
            urgent: Whether they are not kept waiting until nothing else is left to ask.
            excused: Whether these rows need no trial any more. It is asked before each of them is tried.

        Returns:
            The judgement; ``None`` if they are excused.
        """
        suspect = _Suspect(span, error, urgent, excused, asyncio.get_running_loop().create_future())
        self._suspects.append(suspect)
        if self._session is None or self._session.done():
            self._session = asyncio.ensure_future(self._sit())
        try:
            return await suspect.verdict
        finally:
            self._suspects.remove(suspect)
            if not self._suspects and self._session is not None:
                self._session.cancel()  # if it has not ended: those whom it was for were cancelled
                self._session = None  # it takes a moment to end, and the next suspect may come before

    async def _sit(self) -> None:
        try:
            async with self._sitting, self._limiter.alone(self._urgent):
                await self._rounds()
        except Exception as error:  # noqa: BLE001  # raised again where a verdict is waited for
            for suspect in self._undecided:
                suspect.verdict.set_exception(error)

    def _urgent(self) -> bool:
        return len(self._suspects) >= MANY or any(suspect.urgent for suspect in self._suspects)

    @property
    def _undecided(self) -> list[_Suspect]:
        return [suspect for suspect in self._suspects if not suspect.verdict.done()]

    def _next(self) -> list[_Suspect]:
        """Those to be asked for next, without those whom the verdicts so far excuse."""
        for suspect in self._undecided:
            if suspect.excused():
                suspect.decide(None)
        return self._undecided[:MANY]

    async def _rounds(self) -> None:
        while suspects := self._next():
            struck = [(suspect, error) for suspect in suspects if (error := await self._ask(suspect)) is not None]
            if not struck:
                continue
            if not (await self._controlled() or await self._controlled()):
                for suspect, error in struck:  # the server fails everybody
                    suspect.decide(error)
                continue
            for suspect, error in struck:
                suspect.span.strikes += 1
                if suspect.span.strikes >= self._alarms.strikes_in_trial():
                    self._causes.found_guilty(error)
                    suspect.decide(Guilty(error))

    async def _ask(self, suspect: _Suspect) -> ModelError | None:
        """Sends one row; returns the error that is a strike, if a probe is answered after it."""
        began = self._clock()
        found = await self._attempt(suspect.span)
        self.took_s = self._clock() - began
        if isinstance(found, RowsResult):
            self._causes.acquitted(suspect.error)
            if not isinstance(suspect.error, MergedBatchError):  # no chance: that server merges what comes together
                self._alarms.alarm()
        elif not isinstance(found, RejectedError | MalformedAnswerError | OverloadedError | MergedBatchError):
            return found
        suspect.decide(found)
        return None

    async def _controlled(self) -> bool:
        answered = await self._control()
        if answered:
            self._alarms.answered()
        else:
            self._alarms.alarm()
        return answered
