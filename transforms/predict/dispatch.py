"""One batch's way to the model server: a slot, retries, the hold, bisection. Runs in the bundle's asyncio loop.

What a failed request means:

* **Transient** (overload, time-out, 5xx, nobody there): the same rows are sent again, with jittered backoff, until the
  deadline.
* **Transient past the deadline**: a probe is sent. A probe is one row that this server answered before. If there is none,
  it is a row of this batch, or a row of zeros. If the probe is answered and the rows fail once more, the server is up and
  the rows are at fault, whatever the status said: they are bisected. If the probe fails, the server is down:
  ``on_unavailable``.
* **Rejected** for its content, or answered with the wrong number of rows: bisected, until only the guilty rows fail.
* **Model failed** (the server says that its model failed) on several rows, while a probe is answered: bisected at once. If
  nothing is wrong with the rows, the halves are answered; if something is, the deadline is not spent on them.

The *hold* (``on_unavailable=hold``) is a circuit breaker over the whole job. Closed: requests flow. Open: the server is
down, every request waits for its next try, and nothing is committed. Half open: a request that is tried again is itself the
probe; the first one that is answered closes the breaker (Nygard, "Release It!", 2007).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable, Mapping

import numpy as np

from transforms.clients.base import ModelClient
from transforms.dead_letter_classes import DeadLetterClass
from transforms.errors import (
    ConfigError,
    MalformedAnswerError,
    ModelError,
    ModelFailedError,
    NotServedError,
    RejectedError,
    TransientError,
    UnavailableError,
)
from transforms.observe import observer
from transforms.predict.batching import RowsResult, request_inputs
from transforms.predict.limiter import Limiter
from transforms.retry import Deadline, RetryPolicy
from transforms.types import Answer, Signature

HOLD = "hold"
DEAD_LETTER = "dead_letter"
FAIL = "fail"

HALF_DEADLINE_S = 2.0
"""How long half of a guilty batch is retried: the whole batch has used its deadline already."""

PROBE_ROWS = 1

Inputs = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True, slots=True)
class DispatchOptions:
    """How requests are made.

    Attributes:
        request_timeout_s: Time-out of one request, in seconds.
        retry: When to retry, and for how long.
        on_unavailable: What to do if the server is still down at the deadline: ``hold`` (wait for it), ``dead_letter`` or
            ``fail``.
        max_in_flight: Most requests in flight; ``None`` adapts to the server.
    """

    request_timeout_s: float = 30.0
    retry: RetryPolicy = dataclasses.field(default_factory=RetryPolicy)
    on_unavailable: str = HOLD
    max_in_flight: int | None = None

    def __post_init__(self) -> None:
        """Refuses any other value of ``on_unavailable``."""
        if self.on_unavailable not in (HOLD, DEAD_LETTER, FAIL):
            raise ConfigError([f"on_unavailable={self.on_unavailable!r}: use {HOLD}, {DEAD_LETTER} or {FAIL}"])


class Dispatcher:
    """Answers batches with one client. For one asyncio loop.

    Args:
        client: The client. Its metadata is requested before the first batch.
        signature: The signature that the job was built for.
        options: How to make requests.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.
        rng: Randomness for the jitter.
    """

    def __init__(
        self,
        client: ModelClient,
        signature: Signature,
        options: DispatchOptions,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ):
        self._client, self._signature, self._options = client, signature, options
        self._clock, self._sleep, self._rng = clock, sleep, rng or random.Random()
        self._limiter = Limiter(options.max_in_flight)
        self._connected = False
        self._connecting = asyncio.Lock()
        self._proven: set[str] = set()  # outputs without a declared shape that were seen to have one value a row
        self._proving = asyncio.Lock()
        self._known_good: Inputs | None = None
        self._holding: set[object] = set()

    async def answer(self, inputs: Inputs, rows: int) -> list[RowsResult]:
        """Gets a result for every row.

        Args:
            inputs: Input name to an array of shape ``[rows, …]``.
            rows: How many.

        Returns:
            Results that cover all rows, each once.

        Raises:
            UnavailableError: The server is down and ``on_unavailable`` is ``fail``.
        """
        return await self._answer(inputs, rows, 0, 0, self._options.retry.deadline_s)

    async def close(self) -> None:
        """Closes the client."""
        await self._client.close()

    async def _answer(self, inputs: Inputs, rows: int, start: int, attempts: int, deadline_s: float) -> list[RowsResult]:
        failed, deadline = 0, Deadline(deadline_s, self._clock)
        suspect = False
        token = object()
        try:
            while True:
                try:
                    async with self._limiter:
                        if not failed:
                            deadline = Deadline(deadline_s, self._clock)  # waiting for a slot does not count
                        result = await self._request(inputs, rows, start, attempts + failed + 1)
                    self._limiter.succeeded(result.latency_ms / 1000)
                    return [result]
                except (RejectedError, MalformedAnswerError) as error:
                    return await self._bisect(inputs, rows, start, attempts + failed + 1, error)
                except (TransientError, NotServedError) as error:
                    failed += 1
                    if rows > 1 and isinstance(error, ModelFailedError) and await self._answers_known_good():
                        return await self._bisect(inputs, rows, start, attempts + failed, error)
                    if deadline.passed:
                        answers_others = await self._server_answers_others(inputs, rows, error)
                        if answers_others and suspect:
                            return await self._bisect(inputs, rows, start, attempts + failed, error)
                        # One answered probe is no proof: the server may have come back after this request failed.
                        suspect = answers_others
                        if not answers_others:
                            if self._options.on_unavailable == DEAD_LETTER:
                                return [_failed(start, rows, attempts + failed, DeadLetterClass.UNAVAILABLE, error)]
                            if self._options.on_unavailable == FAIL:
                                raise UnavailableError(f"the model server is down: {error}") from error
                            self._hold(token, error)
                    retry_after_s = error.retry_after_s if isinstance(error, TransientError) else None
                    observer().retried()
                    await self._sleep(self._options.retry.delay_s(failed, retry_after_s, self._rng))
        finally:
            self._release(token)

    async def _request(self, inputs: Inputs, rows: int, start: int, attempt: int) -> RowsResult:
        timeout_s = self._options.request_timeout_s
        try:
            if not self._connected:
                await self._connect(timeout_s)
            began = self._clock()
            answer = await self._send(inputs, rows, timeout_s)
        except TransientError:
            self._limiter.overloaded()
            raise
        took_s = self._clock() - began
        if self._known_good is None:
            self._known_good = {name: values[:PROBE_ROWS].copy() for name, values in inputs.items()}
        observer().answered(rows)
        return RowsResult(start, rows, attempt, answer.outputs, answer.version, took_s * 1000, headers=answer.headers)

    async def _connect(self, timeout_s: float) -> None:
        async with self._connecting:
            if not self._connected:
                await self._client.metadata(timeout_s)
                self._connected = True

    async def _send(self, inputs: Inputs, rows: int, timeout_s: float) -> Answer:
        sent, sent_rows = request_inputs(self._signature, inputs, rows)
        answer = await self._client.predict(sent, sent_rows, timeout_s)
        if not self._proven.issuperset(answer.unproven_outputs):
            answer = await self._prove(answer, sent, sent_rows, timeout_s)
        if sent_rows != rows:
            answer.outputs = {name: values[:rows] for name, values in answer.outputs.items()}
        return answer

    async def _prove(self, answer: Answer, inputs: Inputs, rows: int, timeout_s: float) -> Answer:
        """Asks with one row, once, so that the client sees the outputs at a second request size.

        Returns:
            The answer, or a new one where the first had its rows by chance.

        Raises:
            MalformedAnswerError: Its rows can't be matched to the request's.
        """
        if self._signature.rows_per_request is not None:
            raise MalformedAnswerError(
                f"nothing says whether output {answer.unproven_outputs[0]} has one value for each of the {rows} rows of a "
                "request, and the model's batch size is fixed: let the model declare the shapes of its outputs"
            )
        async with self._proving:  # requests in flight at the same time wait for the first one's proof
            if self._proven.issuperset(answer.unproven_outputs):
                return answer
            by_chance = set(answer.unproven_outputs)
            one_row = {name: values[:1] for name, values in inputs.items()}
            with contextlib.suppress(MalformedAnswerError):  # what the client learns from it shows in later answers
                by_chance.intersection_update((await self._client.predict(one_row, 1, timeout_s)).repeated_outputs)
            if by_chance:  # a third size proves that they are the same for every request, if they are
                more = {name: np.concatenate([values, values[:1]]) for name, values in inputs.items()}
                with contextlib.suppress(MalformedAnswerError, RejectedError):
                    await self._client.predict(more, rows + 1, timeout_s)
            self._proven.update(set(answer.unproven_outputs) - by_chance)
        if by_chance:
            answer = await self._client.predict(inputs, rows, timeout_s)
            if by_chance.intersection(answer.unproven_outputs):
                raise MalformedAnswerError(f"output {min(by_chance)}: its rows follow those of some requests only")
        return answer

    async def _bisect(self, inputs: Inputs, rows: int, start: int, attempts: int, error: ModelError) -> list[RowsResult]:
        if rows == 1:
            return [_failed(start, 1, attempts, _class_of(error), error)]
        half, deadline_s = rows // 2, min(HALF_DEADLINE_S, self._options.retry.deadline_s)
        first = {name: values[:half] for name, values in inputs.items()}
        second = {name: values[half:] for name, values in inputs.items()}
        halves = [
            asyncio.ensure_future(self._answer(first, half, start, attempts, deadline_s)),
            asyncio.ensure_future(self._answer(second, rows - half, start + half, attempts, deadline_s)),
        ]
        try:
            return [result for results in await asyncio.gather(*halves) for result in results]
        except BaseException:
            for task in halves:
                task.cancel()
            await asyncio.gather(*halves, return_exceptions=True)
            raise

    async def _server_answers_others(self, inputs: Inputs, rows: int, error: ModelError) -> bool:
        if self._known_good is not None:
            return await self._answers(self._known_good)
        if rows == 1 and isinstance(error, ModelFailedError):
            return True  # no row is left to probe with, and otherwise one bad row would hold the job for ever
        # No row was ever answered. If one row is guilty, then the first or the last of several rows is not.
        for row in (0, rows - 1) if rows > 1 else ():
            probe = {name: values[row : row + PROBE_ROWS].copy() for name, values in inputs.items()}
            if await self._answers(probe):
                self._known_good = self._known_good or probe
                return True
        zeros = _zeros(self._signature)
        return zeros is not None and await self._answers(zeros, or_refuses=True)

    async def _answers_known_good(self) -> bool:
        return self._known_good is not None and await self._answers(self._known_good)

    async def _answers(self, probe: Inputs, or_refuses: bool = False) -> bool:
        """Sends a probe; returns whether it was answered. With ``or_refuses`` a ``RejectedError`` counts as an answer."""
        try:
            async with self._limiter:
                if not self._connected:
                    await self._connect(self._options.request_timeout_s)
                await self._send(probe, PROBE_ROWS, self._options.request_timeout_s)
        except RejectedError:
            return or_refuses
        except ModelError:
            return False
        return True

    def _hold(self, token: object, error: ModelError) -> None:
        self._holding.add(token)
        observer().holding(f"the model server: {error}")

    def _release(self, token: object) -> None:
        if token in self._holding:
            self._holding.discard(token)
            if not self._holding:
                observer().holding(None)


def _zeros(signature: Signature) -> Inputs | None:
    """Returns one row of zeros and empty strings, with 1 for unknown sizes; ``None`` if the signature is not known."""
    if not signature.known:
        return None
    inputs: dict[str, np.ndarray] = {}
    for name, spec in signature.inputs.items():
        shape = [PROBE_ROWS, *(max(1, size) for size in (spec.shape or ())[1:])]
        if spec.dtype == "string":
            inputs[name] = np.full(shape, b"", object)
        else:
            inputs[name] = np.zeros(shape, np.float32 if spec.dtype == "bfloat16" else spec.dtype)
    return inputs or None


def _failed(start: int, rows: int, attempts: int, kind: DeadLetterClass, error: ModelError) -> RowsResult:
    return RowsResult(start, rows, attempts, failure=kind.failure(str(error), attempts))


def _class_of(error: ModelError) -> DeadLetterClass:
    if isinstance(error, RejectedError):
        return DeadLetterClass.REJECTED
    if isinstance(error, MalformedAnswerError):
        return DeadLetterClass.MALFORMED_ANSWER
    return DeadLetterClass.SERVER_ERROR
