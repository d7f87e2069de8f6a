"""``Sender``: sends one request, by a slot of the limiter and on one of several connections; keeps what its answer tells.

What a request's failure means is not decided here: see ``dispatch.py``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from transforms.clients.base import ModelClient
from transforms.errors import ModelError
from transforms.observe import observer
from transforms.predict.adaptive_limit import Slot
from transforms.predict.batching import RowsResult
from transforms.predict.endpoint import KEPT_S, LANES, TRIAL_LANES, Endpoint, Lanes
from transforms.predict.leaving import Leaving
from transforms.predict.limiter import Limiter
from transforms.predict.pace import Pace
from transforms.predict.probes import Probes
from transforms.predict.spans import Span
from transforms.types import Signature

APART = 64
"""After a cut connection, so many requests get connections of their own: the next one that cuts its own cuts no other."""


class Sender:
    """Sends requests of one model. For one asyncio loop.

    Args:
        client: The client that requests share.
        open_another: Makes more clients of the same model, for connections of their own; ``None``: all share ``client``.
        signature: The signature that requests are made for.
        timeout_s: Time-out of one request, in seconds.
        limiter: How many requests may be in flight.
        pace: When requests may be sent.
        answered: Called with every answer.
        clock: Returns seconds, monotonic.

    Attributes:
        probes: Asks whether the server works; knows which request was answered when.
    """

    def __init__(
        self,
        client: ModelClient,
        open_another: Callable[[], ModelClient] | None,
        signature: Signature,
        timeout_s: float,
        limiter: Limiter,
        pace: Pace,
        answered: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ):
        def endpoint(open_client: Callable[[], ModelClient]) -> Endpoint:
            return Endpoint(open_client, signature, timeout_s, clock, pace, self._leaving)

        self._leaving, self._limited = Leaving(), not pace.off
        self._client, self._limiter, self._answered, self._clock = client, limiter, answered, clock
        self._main = endpoint(lambda: client)
        others = [endpoint(open_another) if open_another is not None else self._main for _ in range(1 + TRIAL_LANES + LANES)]
        self._endpoints = dict.fromkeys([self._main, *others])
        probing, *lanes = others
        kept_s = KEPT_S if open_another is not None else None  # else they are the one that all requests share
        self._trial_lanes, self._lanes = Lanes(lanes[:TRIAL_LANES], kept_s), Lanes(lanes[TRIAL_LANES:], kept_s)
        self._apart = 0  # how many more requests get connections of their own
        self.probes = Probes(probing, limiter, signature, clock)

    async def attempt(self, span: Span) -> RowsResult | ModelError:
        """Asks for the rows of a span once."""
        if self._apart and not span.apart:
            self._apart -= 1
            span.apart = True
        if not span.apart:
            async with self._limiter as slot:
                return await self._send(span, self._main, slot)
        async with self._lanes.take() as endpoint, self._limiter:
            return await self._send(span, endpoint)

    async def attempt_alone(self, span: Span) -> RowsResult | ModelError:
        """The same, without a slot: a trial keeps all others away by itself."""
        async with self._trial_lanes.take() as endpoint:
            return await self._send(span, endpoint if span.apart else self._main)

    async def attempt_known_good(self) -> bool:
        """Sends the known-good row as any other request; returns whether it was answered."""
        return await self.probes.control(by=self._main)

    def separate(self) -> None:
        """Gives the next requests connections of their own: one was cut, and another request may have been the cause."""
        self._apart = APART

    def leave(self) -> None:
        """Makes no more requests where there are rate limits: those that wait and all later ones raise ``NotAskedError``."""
        self._leaving.begin()

    async def wait(self, sleep: Awaitable[None]) -> None:
        """Waits before rows are asked for again.

        Raises:
            NotAskedError: They are not: the job stops, and there are rate limits.
        """
        await (self._leaving.sleep(sleep) if self._limited else sleep)

    def renew(self, signature: Signature) -> None:
        """Makes requests for another signature from now on; nothing may be in flight."""
        for endpoint in self._endpoints:
            endpoint.renew(signature)
        self.probes.renew(signature)

    async def close(self) -> None:
        """Closes the clients."""
        await asyncio.gather(self._trial_lanes.settle(), self._lanes.settle())
        await asyncio.gather(self._client.close(), *(e.close() for e in self._endpoints if e is not self._main))

    async def _send(self, span: Span, endpoint: Endpoint, slot: Slot | None = None) -> RowsResult | ModelError:
        if span.began_at is None:
            span.began_at = self._clock()  # waiting for a slot does not count into the deadline
        span.count()
        span.sent = self.probes.begin()
        try:
            answer, took_s, trace = await endpoint.ask(span)
        except ModelError as error:
            observer().request_failed(error)
            return error
        if slot is not None:  # one on a connection of its own, or alone, is another kind of request
            self._limiter.succeeded(slot)
        self.probes.answered(span.sent, span.inputs, answer.version)
        self._answered()
        observer().answered(span.rows, took_s, answer.version)
        who = answer.version, took_s * 1000, None, answer.headers, trace, answer.row_headers, answer.failures
        return RowsResult(span.start, span.rows, span.attempts, answer.outputs, *who)
