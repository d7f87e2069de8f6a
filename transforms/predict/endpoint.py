"""``Endpoint``: one client of the model, connected with its first request. A dispatcher has several.

Requests share the first one's connection. The others are for what must not share it: probes, and rows that may make the
server cut the connection.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import numpy as np

from transforms.clients.base import ModelClient
from transforms.clients.checked import ask_metadata
from transforms.errors import (
    InternalError,
    MalformedAnswerError,
    ModelError,
    NotServedError,
    RejectedError,
    ScoringError,
    TransientError,
    UnavailableError,
)
from transforms.internal_errors import is_internal, kind_and_place
from transforms.observe import observer
from transforms.predict.batching import request_inputs
from transforms.predict.echoes import hide_echo
from transforms.predict.leaving import Leaving
from transforms.predict.limits import row_bytes
from transforms.predict.pace import Pace
from transforms.predict.spans import Inputs, Span
from transforms.predict.unmended import Unmended
from transforms.types import Answer, ModelMetadata, Signature, Tokens

MOST_MERGED = 8
"""How many requests in flight a server's text is compared with, besides its own: a server that merges requests may answer
one of them with the content of another."""

LANES = 16
"""How many requests may be asked for on connections of their own, side by side."""

KEPT_S = 60.0
"""How long such a connection is kept after its last request: it may not be needed again for days."""

TRIAL_LANES = 4
"""How many connections trials take in turn: a guilty row may have cut the one that it was asked for on."""


class Endpoint:
    """A client, its signature, and which of its outputs are proven to have one value a row.

    Args:
        open_client: Makes the client. Called once, with the first request.
        signature: The signature that requests are made for.
        timeout_s: Time-out of one request, in seconds.
        clock: Returns seconds, monotonic.
        pace: When requests may be sent; ``None``: at any time.
        leaving: Whether those that wait for that are made at all; ``None``: they are.
    """

    def __init__(
        self,
        open_client: Callable[[], ModelClient],
        signature: Signature,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        pace: Pace | None = None,
        leaving: Leaving | None = None,
    ):
        self._pace, self._leaving = None if pace is None or pace.off else pace, leaving
        self._open, self._signature = open_client, signature
        self._timeout_s, self._clock = timeout_s, clock
        self._client: ModelClient | None = None
        self._connected = False
        self._connecting = asyncio.Lock()
        self._proven: set[str] = set()  # outputs without a declared shape that were seen to have one value a row
        self._proving = asyncio.Lock()
        self._in_flight: dict[int, Inputs] = {}

    def renew(self, signature: Signature) -> None:
        """Makes requests for another signature from now on. The client reads the metadata again first."""
        self._signature = signature
        self._connected = False
        self._proven.clear()

    async def metadata(self) -> ModelMetadata:
        """Reads the model's metadata.

        Raises:
            UnavailableError: Nobody answers.
            NotServedError: Model, version, label or signature is not there.
        """
        if self._client is None:
            self._client = self._open()
        asked = self._client.metadata_requests
        try:
            found = await ask_metadata(self._client, self._timeout_s)
        except (ScoringError, MemoryError, ImportError):
            raise
        except OSError as error:  # a client of another package that leaves errors of the network as they are
            raise UnavailableError(f"the client's metadata raised {kind_and_place(error)}") from error
        except Exception as error:
            raise NotServedError(f"the client's metadata raised {kind_and_place(error)}") from error
        finally:
            if self._pace is not None:  # not waited for: whether the server is there has to be known in time
                self._pace.spent(self._client.metadata_requests - asked)
        self._connected = True
        return found

    async def ask(self, span: Span) -> tuple[Answer, float, bytes]:
        """Sends the rows of a span as ``send``, in a span of their traces.

        Returns:
            The answer, the seconds that it took, and the trace context of the request, which is empty if it is not traced.
        """
        traced = None if span.traces is None else span.traces.request(span.start, span.rows, span.attempts)
        if traced is None:
            return *await self._counted(span), b""
        try:
            answer, took_s = await self._counted(span)
        except BaseException as error:  # cancelled, for example
            traced.failed(error)
            raise
        traced.answered(answer.version)
        return answer, took_s, traced.traceparent

    async def _counted(self, span: Span) -> tuple[Answer, float]:
        answer, took_s = await self.send(span.inputs, span.rows, span.paced, span.unmended)
        span.count(answer.asked - 1)
        return answer, took_s

    async def send(
        self,
        inputs: Inputs,
        rows: int,
        paced: Callable[[float], None] = lambda waited_s: None,
        unmended: Unmended | None = None,
    ) -> tuple[Answer, float]:
        """Sends one request, filled up to a fixed batch dimension, once the rate limits allow it.

        Args:
            inputs: Input name to an array of shape ``[rows, …]``.
            rows: How many.
            paced: Called with the seconds that the request waited for the limits.
            unmended: What is kept of these rows' attempt before, and is kept for the next one.

        Returns:
            The answer for ``rows`` rows, and the seconds that it took.

        Raises:
            ModelError: As ``ModelClient.predict`` and ``ModelClient.metadata``.
            InternalError: The client raised an unexpected exception.
            NotAskedError: It waited for the limits when the job stopped.
        """
        if not self._connected:
            async with self._connecting:
                if not self._connected:
                    await self.metadata()
        assert self._client is not None
        began, pauses = self._clock(), _Pauses(paced)
        self._in_flight[id(inputs)] = inputs
        try:
            answer = await self._ask(self._client, inputs, rows, pauses, unmended or Unmended())
        except ModelError as error:
            others = (it for it in self._in_flight.values() if it is not inputs)
            hide_echo(error, itertools.chain((inputs,), itertools.islice(others, MOST_MERGED)))
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Of the client's own, whose caller waits on: as it is not an Exception, nobody would be told.
            raise UnavailableError("the client cancelled its own request") from None
        except Exception as error:
            if not is_internal(error):
                raise
            raise InternalError(f"the client raised {kind_and_place(error)}") from error
        finally:
            self._in_flight.pop(id(inputs), None)
        return answer, self._clock() - began - pauses.total_s

    async def _paced(self, work: Callable[[float], Awaitable[Answer]], inputs: Inputs, rows: int, pauses: _Pauses) -> Answer:
        """Sends one request when it may be sent, and counts what it has taken, however it ends."""
        took = self._counted_tokens
        if self._pace is not None:
            size = float(row_bytes(inputs, rows).sum()) if self._pace.counts_tokens else 0.0
            waited_s, estimate = await self._pace.turn(size, self._leaving)
            pauses.add(waited_s)
            took = functools.partial(took, estimate=estimate, size=size)
        try:
            answer = await work(self._timeout_s)
        except MalformedAnswerError as error:
            took(None if error.tokens is None else Tokens(*error.tokens))
            raise
        except (RejectedError, NotServedError, TransientError) as error:
            if error.not_run if isinstance(error, TransientError) else not isinstance(error, InternalError):
                took(Tokens(), seen=False)  # no model has worked on it
            raise
        took(answer.tokens)
        return answer

    def _counted_tokens(self, tokens: Tokens | None, estimate: float = 0.0, size: float = 0.0, *, seen: bool = True) -> None:
        """Counts the tokens of a request. Of one that may have been answered (cancelled, too late) the estimate stays."""
        if self._pace is not None:
            self._pace.took(tokens, estimate, size if seen else 0.0)
        if tokens is not None and seen:
            observer().counted_tokens(tokens)

    async def _ask(self, client: ModelClient, inputs: Inputs, rows: int, pauses: _Pauses, unmended: Unmended) -> Answer:
        signature = self._signature
        sent, sent_rows = request_inputs(signature, inputs, rows)
        predict = functools.partial(client.predict, sent, sent_rows)
        answer = unmended.answer(client, signature) or await self._paced(predict, sent, sent_rows, pauses)
        if answer.again is not None:
            unmended.keep(client, signature, answer)
            answer = await self._mended(answer, answer.again, sent, sent_rows, pauses)
            unmended.settled()
        if not self._proven.issuperset(answer.unproven_outputs):
            answer = await self._prove(client, answer, sent, sent_rows, pauses)
        if sent_rows != rows:
            answer.outputs = {name: values[:rows] for name, values in answer.outputs.items()}
            answer.row_headers = answer.row_headers[:rows]
            answer.failures = {row: failure for row, failure in answer.failures.items() if row < rows}
        return answer

    async def _mended(
        self, answer: Answer, again: Callable[[float], Awaitable[Answer]], inputs: Inputs, rows: int, pauses: _Pauses
    ) -> Answer:
        """Asks once more. If the server refuses that request, the first answer stays and is the record's."""
        try:
            return await self._paced(again, inputs, rows, pauses)
        except (RejectedError, MalformedAnswerError) as error:
            if isinstance(error, InternalError):
                raise
            answer.asked = 2
            return answer

    async def _prove(self, client: ModelClient, answer: Answer, inputs: Inputs, rows: int, pauses: _Pauses) -> Answer:
        """Asks with one row, once, so that the client sees the outputs at a second request size; or again at the fixed one.

        Returns:
            The answer, or a new one where the first had its rows by chance.

        Raises:
            MalformedAnswerError: Its rows can't be matched to the request's.
        """

        async def ask(asked: Inputs, count: int) -> Answer:
            return await self._paced(functools.partial(client.predict, asked, count), asked, count, pauses)

        if self._signature.rows_per_request is not None:
            answer = await ask(inputs, rows)
            if not answer.unproven_outputs:
                return answer
            raise MalformedAnswerError(
                f"nothing says whether output {answer.unproven_outputs[0]} has one value for each of the {rows} rows of a "
                "request, and the model's batch size is fixed: let the model, or --signature, declare the shapes of its "
                "outputs"
            )
        came = self._clock()
        async with self._proving:  # requests in flight at the same time wait for the first one's proof
            if self._pace is not None:  # which waits for the limits
                pauses.add(self._clock() - came)
            if self._proven.issuperset(answer.unproven_outputs):
                return answer
            by_chance = set(answer.unproven_outputs)
            one_row = {name: values[:1] for name, values in inputs.items()}
            with contextlib.suppress(MalformedAnswerError):  # what the client learns from it shows in later answers
                by_chance.intersection_update((await ask(one_row, 1)).repeated_outputs)
            if by_chance:  # a third size proves that they are the same for every request, if they are
                more = {name: np.concatenate([values, values[:1]]) for name, values in inputs.items()}
                with contextlib.suppress(MalformedAnswerError, RejectedError):
                    await ask(more, rows + 1)
            self._proven.update(set(answer.unproven_outputs) - by_chance)
        if by_chance:
            answer = await ask(inputs, rows)
            if by_chance.intersection(answer.unproven_outputs):
                raise MalformedAnswerError(f"output {min(by_chance)}: its rows follow those of some requests only")
        return answer

    async def disconnect(self) -> None:
        """Closes the client, with nothing in flight. The next request, if there is one, opens another."""
        client, self._client, self._connected = self._client, None, False
        if client is not None:
            await client.close()

    async def close(self) -> None:
        """Closes the client."""
        if self._client is not None:
            await self._client.close()


class _Pauses:
    """How long one answer waited for the rate limits."""

    def __init__(self, tell: Callable[[float], None]):
        self._tell = tell
        self.total_s = 0.0

    def add(self, waited_s: float) -> None:
        if waited_s:
            self.total_s += waited_s
            self._tell(waited_s)


class Lanes:
    """A pool of endpoints, each used by one request at a time: a request that breaks its connection fails no other request.

    The one that was used longest ago comes first: a connection that was just cut may not be known to be, and would fail the
    next request.

    Args:
        endpoints: The endpoints; none of them is opened before it is needed.
        kept_s: After how many seconds without a request all of them are disconnected; ``None``: never.
    """

    def __init__(self, endpoints: list[Endpoint], kept_s: float | None = KEPT_S):
        self._free = collections.deque(endpoints)
        self._slots = asyncio.Semaphore(len(endpoints))
        self._count, self._kept_s = len(endpoints), kept_s
        self._timer: asyncio.TimerHandle | None = None
        self._disconnecting: asyncio.Future[list[BaseException | None]] | None = None

    @contextlib.asynccontextmanager
    async def take(self) -> AsyncIterator[Endpoint]:
        """Waits for a free endpoint; the block has it alone."""
        async with self._slots:
            endpoint = self._free.popleft()
            self._keep()
            try:
                yield endpoint
            finally:
                self._free.append(endpoint)
                if self._kept_s is not None and len(self._free) == self._count:
                    self._timer = asyncio.get_running_loop().call_later(self._kept_s, self._disconnect)

    async def settle(self) -> None:
        """Disconnects no endpoint from now on, and waits for what is under way."""
        self._keep()
        if self._disconnecting is not None:
            await self._disconnecting

    def _keep(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _disconnect(self) -> None:
        self._timer = None
        self._disconnecting = asyncio.gather(*(endpoint.disconnect() for endpoint in self._free), return_exceptions=True)
