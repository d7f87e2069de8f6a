"""``Trials``: asks for single rows that failed once more, alone, with all other requests paused.

A server that is busy, or that merges requests, fails rows that are innocent. So a row is guilty only if it fails again and
again while nothing else is in flight, and a probe is answered between its failures. All rows that wait for a trial share the
pause and its probes: it begins when nothing else is left to ask, or when many rows wait for it.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable

from transforms.errors import MalformedAnswerError, MergedBatchError, ModelError, OverloadedError, RejectedError
from transforms.predict.batching import RowsResult
from transforms.predict.false_alarms import FalseAlarms
from transforms.predict.limiter import Limiter
from transforms.predict.spans import Span

MANY = 32
"""So many rows are not kept waiting until nothing else is left to ask: requests in flight end, and no other begins."""


@dataclasses.dataclass(frozen=True, slots=True)
class Guilty:
    """The verdict on a row that failed often enough."""

    error: ModelError


Judgement = RowsResult | ModelError | Guilty
"""The row's answer; how it failed, which proves nothing; or that it is guilty."""


@dataclasses.dataclass(eq=False, slots=True)
class _Suspect:
    span: Span
    merged: bool
    verdict: asyncio.Future[Judgement]

    def decide(self, judgement: Judgement) -> None:
        if not self.verdict.done():  # else its batch was cancelled meanwhile
            self.verdict.set_result(judgement)


class Trials:
    """Tries suspected rows, one pause at a time. For one asyncio loop.

    Args:
        limiter: Pauses the other requests.
        attempt: Sends one request without taking a slot; returns its answer or its error.
        control: Sends a probe without taking a slot; returns whether it was answered.
        alarms: How often this server fails by chance.
    """

    def __init__(
        self,
        limiter: Limiter,
        attempt: Callable[[Span], Awaitable[RowsResult | ModelError]],
        control: Callable[[], Awaitable[bool]],
        alarms: FalseAlarms,
    ):
        self._limiter, self._attempt, self._control, self._alarms = limiter, attempt, control, alarms
        self._suspects: list[_Suspect] = []
        self._session: asyncio.Task[None] | None = None
        self._sitting = asyncio.Lock()

    async def judge(self, span: Span, error: ModelError) -> Judgement:
        """Waits for a pause, and asks for ``span`` until it is answered, or guilty, or nothing can be said of it.

        Args:
            span: The rows.
            error: How they failed, with other requests in flight.
        """
        suspect = _Suspect(span, isinstance(error, MergedBatchError), asyncio.get_running_loop().create_future())
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
            async with self._sitting, self._limiter.alone(lambda: len(self._suspects) >= MANY):
                await self._rounds()
        except Exception as error:  # noqa: BLE001  # raised again where a verdict is waited for
            for suspect in self._undecided:
                suspect.verdict.set_exception(error)

    @property
    def _undecided(self) -> list[_Suspect]:
        return [suspect for suspect in self._suspects if not suspect.verdict.done()]

    async def _rounds(self) -> None:
        while suspects := self._undecided:
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
                    suspect.decide(Guilty(error))

    async def _ask(self, suspect: _Suspect) -> ModelError | None:
        """Sends one row; returns the error that is a strike, if a probe is answered after it."""
        found = await self._attempt(suspect.span)
        if isinstance(found, RowsResult):
            if not suspect.merged:  # not by chance: it is how that server treats requests side by side
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
