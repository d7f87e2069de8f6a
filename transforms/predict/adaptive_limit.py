"""``AdaptiveLimit``: finds how many requests to have in flight, by the rate at which the server answers them.

It measures in rounds. A round is the answers of requests that were sent while the limit was full. By Little's law, requests
in flight / round trip is their rate, whatever comes before and after (such as the end of a bundle). Only the rate decides:

* Slow start: the limit grows fourfold (TCP's doubles), as long as each step raises the rate threefold.
* Then a test from time to time. A limit higher by half is kept if the rate rises. One lower by a third is kept if the rate
  does not fall.
* An answer that means overload undoes the last growth, or else halves the limit; at most once a round trip.

So requests that only fill the server's queue, or only cost time of this process, are given up again. The round trip alone
would not do: a server that batches has a longer one with more in flight *and* a higher rate. TCP Vegas and gradients of the
round trip (Netflix's concurrency-limits, Envoy) would take such a server for a full one. Nor does the shortest round trip
have to be measured again when a server becomes slower.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

START = 16
"""The first limit: a usual setting of such clients, and not too much for a server that works on one request at a time."""

MOST = 1024
"""The highest limit. It holds back no server that answers within 1 s: 1,024 requests of 64 records a second are more than
one process can decode."""

SLOW_START = 4
"""Growth in each round of slow start. With a round trip of 1 s, three rounds lead to the highest limit: 64, 256, 1,024."""

FULL_GAIN, LITTLE_GAIN = 3.0, 1.5
"""By what factor a round of slow start must raise the rate. From the first on, there is another round. Below the second, the
growth is undone at once: most of it waits in a queue. Between the two, the best limit lies between the last two, and tests
find it."""

SLOW_START_LATE = 2.5
"""Slow start ends when the average round trip is this many times the shortest: the server has a queue already."""

UP, UP_GAIN = 1.5, 1.06
"""The factor of a test of more, and by what factor it must raise the rate: an eighth of the rise of a server with room."""

UP_LATE = 8.0
"""No test of more while the average round trip is this many times the shortest: batching does not explain such a wait."""

DOWN, DOWN_LEFT = 1 / 1.5, 0.96
"""The factor of a test of less, and what must be left of the rate. A full server loses nothing, one with room a third."""

LEAST = 4
"""Tests of less end here. Fewer requests could not bridge a pause of either side, and the queue that they save is short."""

ROUND_S = 0.1
"""The shortest round: in less time, one pause of the interpreter or the machine looks like a slow server."""

ROUND_LEAST, ROUND_MOST = 16, 128
"""Answers in a round after slow start: as many as the limit, within these bounds. Fewer say little, more come late."""

LONG_S, LONG_LEAST = 3.0, 8
"""After this time a round ends with so many answers: the server is slow, and the limit should not wait for 128."""

REST_MOST = 32
"""Most rounds between two tests. They double while tests change nothing: a test of less may cost a third of the rate."""

OUTAGE = 3
"""After so many cuts without a whole round between them, the server was away, not full: slow start begins again."""


class Slot(NamedTuple):
    """The right to have one request in flight.

    Attributes:
        number: Counts the slots that were given.
        among: How many requests were in flight then, this one included.
        given_at: When, in seconds of the limiter's clock.
    """

    number: int
    among: int
    given_at: float


class AdaptiveLimit:
    """The limit, and what it learns from answers.

    Args:
        clock: Returns seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.limit = START
        self._clock = clock
        self._slow_start = True
        self._before: int | None = None  # the limit before this test or round of slow start; None: neither
        self._downwards = True  # whether this test is of less, or the next one
        self._rate = 0.0  # what was measured with the limit before
        self._shortest_s = self._average_s = math.inf
        self._rest = self._rest_left = 1
        self._cuts, self._cut_at = 0, -math.inf
        self._given = 0
        self._begin()

    def give(self, among: int) -> Slot:
        """Returns a slot for a request; ``among`` is how many are in flight with it, itself included."""
        self._given += 1
        return Slot(self._given, among, self._clock())

    def answered(self, slot: Slot) -> None:
        """Learns from a request that was answered just now."""
        now = self._clock()
        latency_s = now - slot.given_at
        if slot.among > 1:  # alone are the single records of an idle topic, which are quicker than any full batch
            self._shortest_s = min(self._shortest_s, latency_s)
        # In slow start those count that the growth let through: to wait until they are back would be one round trip more.
        full = self.limit / 2 if self._slow_start else 0.9 * self.limit
        if slot.number <= self._first or slot.among < full:
            return
        self._count += 1
        self._sum_among += slot.among
        self._sum_s += latency_s
        took_s = now - self._began_at
        enough = self._count >= self._wanted or (took_s >= LONG_S and self._count >= LONG_LEAST)
        if enough and took_s >= ROUND_S and self._sum_s > 0:
            self._average_s = self._sum_s / self._count
            self._judge(self._sum_among / self._sum_s)
            self._begin()

    def overloaded(self) -> None:
        """Learns from a request that failed by overload, a time-out or a lost connection."""
        now = self._clock()
        if math.isfinite(self._average_s) and now - self._cut_at < self._average_s:
            return  # what was sent before the last cut does not count again
        self._cut_at = now
        self._cuts += 1
        if self._before is not None and self._before < self.limit:
            self.limit = self._before
            if not self._slow_start:
                self._wait_longer()
        else:
            self.limit = max(1, self.limit // 2)
        self._slow_start, self._before, self._downwards = self._cuts >= OUTAGE, None, False
        self._begin()

    def _begin(self) -> None:
        self._first, self._began_at = self._given, self._clock()
        self._count, self._sum_among, self._sum_s = 0, 0, 0.0
        self._wanted = self.limit // 4 if self._slow_start else min(max(self.limit, ROUND_LEAST), ROUND_MOST)

    def _judge(self, rate: float) -> None:
        self._cuts = 0
        if self._slow_start:
            self._start_on(rate)
        elif self._before is not None:
            self._end_test(rate, self._before)
        else:
            self._rate = rate
            self._rest_left -= 1
            if self._rest_left <= 0:
                self._begin_test()

    def _start_on(self, rate: float) -> None:
        gain = FULL_GAIN
        if self._before is not None and (gain := rate / self._rate) < LITTLE_GAIN:
            self.limit = max(self._before, int(self._before * gain))  # enough for this rate at the former round trip
        if gain < FULL_GAIN or self.limit >= MOST or self._average_s > SLOW_START_LATE * self._shortest_s:
            self._slow_start, self._before = False, None
        else:
            self._rate, self._before = rate, self.limit
            self.limit = min(MOST, SLOW_START * self.limit)

    def _begin_test(self) -> None:
        if self.limit <= LEAST:
            self._downwards = False
        elif self.limit >= MOST or self._average_s > UP_LATE * self._shortest_s:
            self._downwards = True
        self._before = self.limit
        if self._downwards:
            self.limit = max(LEAST, math.floor(self.limit * DOWN))
        else:
            self.limit = min(MOST, math.ceil(self.limit * UP))

    def _end_test(self, rate: float, before: int) -> None:
        self._before = None
        if rate >= self._rate * (DOWN_LEFT if self._downwards else UP_GAIN):
            self._rest = self._rest_left = 1  # and on in this direction
        else:
            self.limit, self._downwards = before, not self._downwards
            self._wait_longer()

    def _wait_longer(self) -> None:
        self._rest_left = self._rest
        self._rest = min(REST_MOST, 2 * self._rest)
