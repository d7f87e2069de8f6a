"""``Pace``: when the next request may be sent, by ``--rate_limit`` and ``--token_limit``. Waiting is not a failure.

Requests are spaced evenly (the generic cell rate algorithm of ATM networks); a thread that was busy makes up for a quarter
of a second at most (``turns.LATE_S``). Each request gets the next free
time, and its cost moves the free time on. The cost is 1 for ``requests_per_s``, and its tokens for ``tokens_per_s``. The
tokens are known only when the request is answered. Until then they are estimated: its bytes, times the tokens per byte of
the requests so far. When they are known, the times of the waiting requests move by the difference. So a large request is
never refused. A request that is cancelled leaves its time to those behind it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable

from transforms.observe import observer
from transforms.predict.leaving import Leaving
from transforms.predict.turns import Turn, Turns
from transforms.types import Tokens

TOKENS_A_BYTE = 0.25
"""The estimate before the first answer, and with servers that count no tokens: English has about four letters a token."""


@dataclasses.dataclass(frozen=True, slots=True)
class RateLimits:
    """How much a process may ask for.

    Attributes:
        requests_per_s: Requests a second; ``None`` for any number.
        tokens_per_s: Tokens of prompts and answers a second; ``None`` for any number.
        per_shard: Whether it is the part of one shard, of which a process may run several.
    """

    requests_per_s: float | None = None
    tokens_per_s: float | None = None
    per_shard: bool = False

    @property
    def off(self) -> bool:
        """Whether there is no limit."""
        return self.requests_per_s is None and self.tokens_per_s is None

    def share(self, parts: int) -> RateLimits:
        """Returns the limits of one of ``parts`` processes or shards that keep them together."""
        requests, tokens = (None if rate is None else rate / parts for rate in (self.requests_per_s, self.tokens_per_s))
        return dataclasses.replace(self, requests_per_s=requests, tokens_per_s=tokens)


BUNDLE_S = 2.5
"""The requests of a bundle are spaced over at most this time: a quarter of the default ``transaction.timeout.ms``."""


def records_a_bundle(limits: RateLimits, rows: int, most: int) -> int:
    """Returns how many records a bundle may read. Its transaction can't stay open while requests wait for minutes.

    Args:
        limits: Those of the process. The token limit plays no part: the tokens of a record are not known yet.
        rows: The most rows of a request.
        most: How many it may read without limits.
    """
    if limits.requests_per_s is None:
        return most
    return max(1, min(most, int(limits.requests_per_s * BUNDLE_S) * rows))


class Pace:
    """The pace of one process. Several dispatchers, each in its own thread, may share it.

    Args:
        limits: How much may be asked for.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        limits: RateLimits,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self._limits, self._clock, self._sleep = limits, clock, sleep
        self._turns = Turns(*(0.0 if rate is None else 1 / rate for rate in (limits.requests_per_s, limits.tokens_per_s)))
        self._seen_tokens, self._seen_bytes = 0.0, 0.0
        self._lock = threading.Lock()

    @property
    def off(self) -> bool:
        """Whether there is no limit."""
        return self._limits.off

    @property
    def counts_tokens(self) -> bool:
        """Whether the size of a request matters."""
        return self._limits.tokens_per_s is not None

    async def turn(self, request_bytes: float, leaving: Leaving | None = None) -> tuple[float, float]:
        """Waits until a request of that many bytes may be sent, which it then is.

        Args:
            request_bytes: Its bytes.
            leaving: Ends the wait when the job stops.

        Returns:
            The seconds that it waited, and the estimated tokens of the request, for ``took``.

        Raises:
            NotAskedError: The job stops.
        """
        leaving = leaving or Leaving()
        leaving.check()
        with self._lock:
            tokens = request_bytes * (self._seen_tokens / self._seen_bytes if self._seen_bytes else TOKENS_A_BYTE)
            turn, began = Turn(tokens), self._clock()
            self._turns.add(turn, began)
        try:
            await self._until(turn, leaving)
        except BaseException:  # cancelled: it is not sent
            with self._lock:
                self._turns.gone(turn, self._clock())
            raise
        finally:
            if (waited_s := self._clock() - began) > 0:
                observer().paced(waited_s)
        return waited_s, tokens

    async def _until(self, turn: Turn, leaving: Leaving) -> None:
        while True:
            leaving.check()
            with self._lock:
                now = self._clock()
                if turn.at <= now and self._turns.take(turn, now):
                    return
                wait_s = turn.at - now
                sleep = turn.sleeps(self._sleep(wait_s))
            try:
                with leaving.ending(sleep):
                    await asyncio.wait((sleep,))
            finally:
                sleep.cancel()
            if not sleep.cancelled():
                sleep.result()

    def spent(self, requests: int) -> None:
        """Notes requests that were sent without a turn. The waiting ones wait longer for it."""
        if requests:
            with self._lock:
                self._turns.spent(requests, self._clock())

    def took(self, tokens: Tokens | None, estimate: float, request_bytes: float) -> None:
        """Notes the tokens of a request that was answered or refused.

        Args:
            tokens: Its tokens, if the server states them; none at all (``Tokens()``) if no model worked on it.
            estimate: Its estimated tokens.
            request_bytes: Its bytes; 0 where its tokens say nothing of others.
        """
        if tokens is None:
            return
        count = (tokens.prompt or 0) + (tokens.completion or 0)
        with self._lock:
            self._turns.correct(count - estimate, self._clock())
            if request_bytes:
                self._seen_tokens += count
                self._seen_bytes += request_bytes


_paces: dict[tuple[str, RateLimits], Pace] = {}
_paces_lock = threading.Lock()


def pace_of(model: str, limits: RateLimits) -> Pace:
    """Returns the pace of a model in this process. Dispatchers with the same limits share one; each shard has its own."""
    if limits.per_shard:
        return Pace(limits)
    with _paces_lock:
        return _paces.setdefault((model, limits), Pace(limits))
