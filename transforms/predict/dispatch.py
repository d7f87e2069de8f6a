"""One batch's way to the model server: retries, the hold, bisection. Runs in the bundle's asyncio loop.

What a failed request means:

* **Overloaded** (too much to do, or no answer in time): the same rows are sent again, with jittered backoff. If that is so
  again and again while the server works, or past the deadline, they are sent in parts, in case they are too many for one
  answer, or one of them is too much. Nothing is ever blamed for it.
* **Failed** (any other 5xx, a cut connection, not served): is the server at fault, or the rows? The server works if it has
  answered a request that was sent later, or answers a probe (``Probes``). If it works, the rows are bisected at once; if the
  connection was cut, first asked for on a connection of their own, as it may have been cut by another request. A row that
  still fails alone gets a trial (``Trials``), or is compared with the known-good row if trials are too slow
  (``Comparisons``). If the server does not work, the request is sent again until the deadline.
* **Refused** for its content, or answered with the wrong number of rows: bisected, until only the guilty rows fail. If
  nothing else was answered meanwhile, the known-good row is asked for, too. If that is refused as well, the contract has
  changed: ``ContractChangedError`` if the signature is another one, else hold.
* **Too many rows or bytes** for the server: cut to its limit, which is kept for all later batches (``Limits``).
* **Merged** by the server with rows of another shape: sent again while nothing else is in flight.

Refused and failed requests cost no wait; ``g`` guilty rows of ``n`` cost ``O(g log n)`` requests (``Bisection``).
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import random
import time
from collections.abc import Awaitable, Callable

from transforms.clients.base import ModelClient
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import (
    MalformedAnswerError,
    MergedBatchError,
    ModelError,
    ModelFailedError,
    OverloadedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.observe import observer
from transforms.predict.batching import RowsResult
from transforms.predict.bisection import Bisection
from transforms.predict.causes import Causes
from transforms.predict.comparisons import Comparisons
from transforms.predict.contract import ContractChangedError, Finding, Verdict
from transforms.predict.false_alarms import FalseAlarms
from transforms.predict.hold import Hold
from transforms.predict.limiter import Limiter
from transforms.predict.limits import Limits
from transforms.predict.options import DEAD_LETTER, FAIL, HOLD, DispatchOptions
from transforms.predict.pace import Pace
from transforms.predict.sender import Sender
from transforms.predict.spans import Inputs, Pair, Span, all_of, with_attempts
from transforms.predict.steps import Again, Wait
from transforms.predict.trials import Guilty, Judgement, Trials
from transforms.tracing import BatchTraces
from transforms.types import ModelMetadata, Signature

TELL_S = 2.0
"""Seconds that requests fail, with none answered meanwhile, until the hold is reported; the deadline decides later."""

LOOK_AGAIN_S = 1.0
"""Seconds between two looks at a server that did not answer while there was nothing to ask. The second one is reported."""

OVERLOADED_PARTS = 8
"""Into how many parts rows are cut that are too much: halves would take three times as many rounds, each a time-out."""

SLOW_S = 0.004
"""If a request of a trial takes longer, a comparison costs less: about six requests, but no pause."""

UNPROVEN_MOST = 16
"""How many rows may be blamed while the server has answered nothing at all. Then it is not the rows: the job holds."""


class Dispatcher:
    """Answers batches of one model. For one asyncio loop.

    Args:
        client: The client. Its metadata is requested before the first batch.
        signature: The signature that the job was built for.
        options: How to make requests.
        clock: Returns seconds, monotonic; ``sleep`` waits for some, and ``rng`` is the randomness of the jitter.
        open_another: Makes more clients of the same model, for connections of their own; ``None``: all share ``client``.
        renews: Whether the caller takes ``ContractChangedError``; if not, a changed contract holds.
        pace: When requests may be sent; ``None``: that of ``options``, for this dispatcher alone.
    """

    def __init__(
        self,
        client: ModelClient,
        signature: Signature,
        options: DispatchOptions,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        open_another: Callable[[], ModelClient] | None = None,
        renews: bool = False,
        pace: Pace | None = None,
    ):
        self._signature, self._options, self._renews = signature, options, renews
        self._clock, self._sleep, self._rng = clock, sleep, rng or random.Random()
        self._limiter, pace = Limiter(options.max_in_flight, clock), pace or Pace(options.limits, clock, sleep)
        self._sender = Sender(
            client, open_another, signature, options.request_timeout_s, self._limiter, pace, self._answered, clock
        )
        self._probes = probes = self._sender.probes
        self._failures, self._refusals, self._overloads = FalseAlarms(), FalseAlarms(), FalseAlarms()
        self._causes = Causes()
        alone = self._sender.attempt_alone, lambda: probes.control(alone=True), self._failures, self._causes
        self._trials = Trials(self._limiter, *alone, clock)
        self._comparisons = Comparisons(self._sender.attempt, self._sender.attempt_known_good, self._failures, self._causes)
        self._bisection = Bisection(probes, self._sender.attempt, self._resolve, self._part_deadline_s)
        self._unproven, self._holds, self._limits = 0, Hold(), Limits()
        self._declined: list[tuple[Signature, str]] = []

    @property
    def most_rows(self) -> int | None:
        """How many rows the server takes in one request, as learnt from its refusals; ``None`` if any."""
        return self._limits.most_rows

    @property
    def limit(self) -> int:
        """How many requests may be in flight now."""
        return self._limiter.limit

    @property
    def holding(self) -> bool:
        """Whether requests wait for a server that is down."""
        return self._holds.on

    async def answer(
        self, inputs: Inputs, rows: int, name_of: Callable[[int], str] | None = None, traces: BatchTraces | None = None
    ) -> list[RowsResult]:
        """Gets a result for every row.

        Args:
            inputs: Input name to an array of shape ``[rows, …]``.
            rows: How many.
            name_of: Names a row for people; used if it holds the job.
            traces: The records' trace contexts; ``None`` if none is traced.

        Returns:
            Results that cover all rows, each once.

        Raises:
            UnavailableError: The server is down and ``on_unavailable`` is ``fail``.
            ContractChangedError: The model has another signature, and ``renews`` is true.
            NotAskedError: The rows were left: see ``leave``.
        """
        span = Span.of(inputs, rows, name_of, traces)
        return with_attempts(await self._pieces(span), span.asked)

    async def look(self) -> None:
        """Asks whether the server is there, without a record, until it is. To be called now and then while idle."""
        failed = 0
        try:
            while (error := await self._probes.ready()) is not None:
                failed += 1
                if failed > 1:
                    self._holds.begin(self, str(error))
                await self._sleep(LOOK_AGAIN_S)
        finally:
            self._holds.end(self)

    async def changed(self) -> ContractChangedError | None:
        """Asks whether the model has another signature, which the records were not found to misfit (``decline``)."""
        found = await self._probes.change()
        return found if found is not None and self._why_declined(found.metadata.signature) is None else None

    def renew(self, metadata: ModelMetadata) -> None:
        """Makes requests for another signature from now on; nothing may be in flight."""
        self._signature = metadata.signature
        self._sender.renew(metadata.signature)
        self._declined.clear()
        self._unproven, self._limits = 0, Limits()
        self._causes.forget()

    def decline(self, signature: Signature, why: str) -> None:
        """Holds instead of ``ContractChangedError`` while the model has this signature; ``why`` the records misfit it."""
        self._declined.append((signature, why))

    def leave(self) -> None:
        """The job stops: where there are rate limits, no more requests are made. What was sent is answered as ever."""
        self._sender.leave()

    async def close(self) -> None:
        """Closes the clients."""
        await self._sender.close()

    def _answered(self) -> None:
        for alarms in (self._failures, self._refusals, self._overloads):
            alarms.answered()

    async def _resolve(
        self,
        span: Span,
        deadline_s: float,
        since: int | None = None,
        pair: Pair | None = None,
        failed: ModelError | None = None,
    ) -> list[RowsResult]:
        """Gets the results of a span.

        Args:
            span: The rows.
            deadline_s: When a server that does not work is given up, in seconds after the first request began.
            since: The number of the failed request of which these rows were a part, if there was one.
            pair: The two halves of that.
            failed: How these rows failed already; ``None``: they are asked for first.
        """
        waits = 0
        try:
            while True:
                outcome = failed or await self._sender.attempt(span)
                failed = None
                if pair is not None:
                    pair.tried(span.sent)
                if isinstance(outcome, RowsResult):
                    if span.overloads:
                        self._overloads.alarm()
                    return [outcome]
                elapsed_s = self._clock() - span.began_at if span.began_at is not None else 0.0
                step = await self._after(span, outcome, since or span.sent, pair, past := elapsed_s >= deadline_s)
                since = None
                if isinstance(step, list):
                    return step
                if isinstance(step, Again):
                    observer().retried()
                    continue
                waits += 1
                span.refused, span.cleared = 0, False  # what was refused before a wait proves nothing after it
                self._limiter.overloaded()
                if span.failing is None:
                    span.failing = span.sent, self._clock()
                if past and self._options.on_unavailable == DEAD_LETTER:
                    return [span.failed(DeadLetterClass.UNAVAILABLE, step.error)]
                if past and self._options.on_unavailable == FAIL:
                    raise UnavailableError(f"the model server is down: {step.reason}") from step.error
                asked_s = step.error.retry_after_s if isinstance(step.error, TransientError) else None
                delay_s = self._options.retry.delay_s(waits, asked_s, self._rng, deadline_s - elapsed_s)
                if past or step.told or self._unanswered_for(span, delay_s):
                    self._holds.begin(span, step.reason)
                observer().retried()
                await self._sender.wait(self._sleep(delay_s))
        finally:
            self._holds.end(span)

    def _unanswered_for(self, span: Span, delay_s: float) -> bool:
        """Whether ``TELL_S`` will have passed, after a wait of ``delay_s``, since this span failed first, with no answer."""
        assert span.failing is not None
        since, failed_at = span.failing
        return not self._probes.answered_since(since) and self._clock() + delay_s - failed_at >= TELL_S

    async def _after(
        self, span: Span, error: ModelError, since: int, pair: Pair | None, past: bool
    ) -> list[RowsResult] | Wait | Again:
        """Decides what follows a failed request."""
        if self._signature.rows_per_request is None and self._limits.learn(span, error):
            return await self._pieces(span)
        if isinstance(error, RejectedError | MalformedAnswerError):
            return await self._refused(span, error, since, pair)
        return await self._failed(span, error, past)

    # ------------------------------------------------------------------ what a failure means

    async def _refused(
        self, span: Span, error: ModelError, since: int, pair: Pair | None
    ) -> list[RowsResult] | Wait | Again:
        span.refused += 1
        if pair is None and span.rows > 1:
            # Whether the server takes others shows by the parts.
            return await self._bisection.of(span, error, self._refusals)
        unproven = False
        if not span.cleared and not self._probes.answered_since(since):
            if pair is not None:
                await pair.both_tried()
            found = await self._probes.examine(since)
            unproven = found.verdict is Verdict.UNPROVEN
            if not unproven and found.verdict is not Verdict.WORKS:
                return self._broken(error, found)
        if span.rows > 1:
            return await self._bisection.of(span, error, self._refusals, pair)
        if unproven:
            return self._blame_unproven(span, error)
        span.cleared = True
        if span.refused < (self._refusals.strikes() if self._refusals.any else 2):
            return Again()  # more than once in any case, and more often if it refuses by chance (of two versions, say)
        return [span.blamed(error)]

    async def _failed(self, span: Span, error: ModelError, past: bool) -> list[RowsResult] | Wait | Again:
        wait = Wait(error)
        if isinstance(error, OverloadedError) or (
            isinstance(error, TransientError) and error.retry_after_s is not None and not past
        ):
            return await self._overloaded(span, error, past)
        if isinstance(error, MergedBatchError):
            return await self._try(span, error)
        if self._probes.has_known_good or self._probes.answered_since(span.sent):
            found = await self._probes.examine(span.sent)
            if found.verdict is not Verdict.WORKS:
                return self._broken(error, found) if found.verdict is not Verdict.DOWN else wait
        elif not past and span.rows == 1:
            return wait  # there is no other row to probe with, and the server may be about to start
        elif not await self._probes.answers_a_row_of(span):
            if span.rows == 1 and isinstance(error, ModelFailedError):
                return self._blame_unproven(span, error)  # no row is left to probe with: one bad row would hold the job
            return wait
        if isinstance(error, UnavailableError):
            self._sender.separate()
            if not span.apart:
                span.apart = True
                return Again()
        if span.rows > 1:
            return await self._bisection.of(span, error, self._failures)
        return await self._try(span, error)

    async def _overloaded(self, span: Span, error: TransientError, past: bool) -> list[RowsResult] | Wait:
        """Rows that the server has too much to do for are sent again, in parts if they are what is too much for it."""
        span.overloads += 1
        wait = Wait(error)
        alarms = self._overloads
        often = span.rows > 1 and error.retry_after_s is None and alarms.reliable and span.overloads >= alarms.strikes()
        if not ((past or often) and await self._works(span)):
            return wait
        reason = f"it answers other records, but not {span.name or 'this one'} so far: {error}"
        if span.rows == 1:
            return dataclasses.replace(wait, why=reason)
        if past and self._options.on_unavailable == HOLD:
            self._holds.begin(span, reason)  # each of its parts may take a time-out
        span.overloads, deadline_s = 1, self._part_deadline_s(span)
        return await all_of(self._resolve(part, deadline_s) for part in span.in_parts(OVERLOADED_PARTS))

    async def _works(self, span: Span) -> bool:
        if self._probes.has_known_good:
            return (await self._probes.examine(span.sent)).verdict is Verdict.WORKS
        return await self._probes.answers_a_row_of(span)

    async def _try(self, span: Span, error: ModelError) -> list[RowsResult] | Wait | Again:
        outcome = await self._judge(span, error)
        if isinstance(outcome, RowsResult):
            return [outcome]
        if isinstance(outcome, Guilty):
            return [span.blamed(outcome.error)] if span.rows == 1 else await self._bisection.of(span, error, self._failures)
        if isinstance(outcome, RejectedError | MalformedAnswerError):
            return await self._refused(span, outcome, span.sent, None)
        return Wait(outcome)

    async def _judge(self, span: Span, error: ModelError) -> Judgement:
        sample = self._causes.samples(error)
        if not sample:
            compare = functools.partial(self._may_compare, span, error)
            if not compare() and (outcome := await self._trials.judge(span, error, excused=compare)) is not None:
                return outcome
            if (verdict := await self._comparisons.judge(span, error)) is not None:
                return verdict
        outcome = await self._trials.judge(span, error, urgent=sample)
        assert outcome is not None  # nobody excuses it
        return outcome

    def _may_compare(self, span: Span, error: ModelError) -> bool:
        """Whether a trial would be slow, and can be spared: this server fails nothing by chance, but rows of this cause."""
        alarms = self._failures
        if span.rows > 1 or span.apart or self._trials.took_s < SLOW_S or not alarms.reliable or alarms.any:
            return False
        known = self._causes.proven(error) if span.began_at is not None else self._causes.any_proven
        return known and self._probes.as_large(span)

    def _broken(self, error: ModelError, found: Finding) -> Wait:
        if found.verdict is Verdict.DOWN:
            return Wait(error, found.reason)
        reason = found.reason
        if found.metadata is not None:
            if (why := self._why_declined(found.metadata.signature)) is None and self._renews:
                raise ContractChangedError(found.metadata, reason)
            reason += f"; the records do not fit it: {why}" if why is not None else f": {error}"
        return Wait(error, reason, told=True)

    def _why_declined(self, signature: Signature) -> str | None:
        return next((why for declined, why in self._declined if declined == signature), None)

    def _blame_unproven(self, span: Span, error: ModelError) -> list[RowsResult] | Wait:
        if self._unproven >= UNPROVEN_MOST:
            reason = f"it has refused the first {self._unproven} records and has answered none so far{span.cure}: {error}"
            return Wait(error, reason, told=True)
        self._unproven += 1
        return [span.blamed(error)]

    async def _pieces(self, span: Span) -> list[RowsResult]:
        """Sends requests as large as the server takes."""
        deadline_s, pieces = self._options.retry.deadline_s, self._limits.pieces(span)
        if len(pieces) == 1:
            return await self._resolve(pieces[0], deadline_s)
        return await all_of(self._resolve(piece, deadline_s) for piece in pieces)

    def _part_deadline_s(self, span: Span) -> float:
        return self._options.part_deadline_s(self._clock() - (span.began_at or self._clock()))
