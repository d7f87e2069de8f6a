"""The limiter of requests in flight against simulated model servers, in virtual time: ``python -m bench --only limiter``.

A server answers a fixed number of requests at once, each in about the same time; the others wait in its queue. The client
is one thread, like the pipeline's. Sending a request and receiving its answer cost it time, which grows with the requests in
flight. The backlog never ends. Nothing sleeps, and a seed makes every run the same.
"""

from __future__ import annotations

import collections
import dataclasses
import heapq
import itertools
import random
from collections.abc import Callable

from bench.report import Figure
from transforms.predict.adaptive_limit import MOST, AdaptiveLimit, Slot

LATENCIES_MS = (0, 20, 200, 1000)
CAPACITIES = (1, 4, 32, 256)

CLIENT_S = 0.64e-3
"""What a request of 64 records costs the client, at 100,000 records a second."""

CROWD = 256
"""With so many in flight a request costs the client twice as much: its memory is no longer in the processor's cache."""

NETWORK_S = 0.3e-3
"""The way there and back, in one: it makes no difference here on which of them the time is spent."""

JITTER = 0.05
"""A request takes so much more or less of the server's time, at random."""

FOUND_S, RUN_S, SLICE_S = 3.0, 9.0, 3.0
"""In seconds: when the limit has to be found, the length of a run, and that of the slices of which the worst is shown."""

AT_LEAST, WORST_AT_LEAST = 0.9, 0.5


@dataclasses.dataclass(frozen=True)
class Server:
    """A model server.

    Attributes:
        service_s: Seconds that a request takes, without the queue.
        capacity: How many requests it answers at once.
        batches: So many more at once double the time of each, as on a server that batches; ``None``: the time is constant.
        refuses_above: It refuses a request if it has so many already; ``None``: it queues them all.
    """

    service_s: float
    capacity: int
    batches: int | None = None
    refuses_above: int | None = None

    def time_s(self, at_once: int) -> float:
        """Returns the seconds of each request if it answers ``at_once``."""
        return self.service_s * (1 + (at_once - 1) / self.batches) if self.batches else self.service_s

    def rate(self, limit: int) -> float:
        """Returns the requests a second that so many in flight can reach at most: no queue by chance, no jitter."""
        in_flight = min(limit, self.refuses_above or limit)
        at_once = min(in_flight, self.capacity)
        trip_s = self.time_s(at_once) + NETWORK_S + client_s(in_flight)
        return min(1 / client_s(in_flight), in_flight / trip_s, at_once / max(self.time_s(at_once), 1e-9))

    def best(self) -> int:
        """Returns the fixed limit with the highest ``rate``."""
        return max(range(1, MOST + 1), key=self.rate)


def client_s(in_flight: int) -> float:
    """Returns the seconds of the client's thread that a request costs."""
    return CLIENT_S * (1 + in_flight / CROWD)


class Simulation:
    """A client with a limiter, and a server.

    Args:
        server: The server.
        fixed: A fixed limit; ``None``: it adapts.
        bundle: After so many requests all must be answered before the next is sent; ``None``: never.
        seed: Of the jitter.

    Attributes:
        answered_at: When each request was answered.
        limits: The limit at the end of each second.
        refused: How many requests were refused.
        longest_s: The longest that an answer took.
    """

    def __init__(self, server: Server, fixed: int | None = None, bundle: int | None = None, seed: int = 1):
        self.server, self._fixed, self._bundle = server, fixed, bundle
        self.answered_at: list[float] = []
        self.limits: list[int] = []
        self.refused, self.longest_s = 0, 0.0
        self._now = 0.0
        self._adaptive = AdaptiveLimit(lambda: self._now)
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._in_flight = self._sent = 0
        self._work: collections.deque[Callable[[], Callable[[], None] | None]] = collections.deque()
        self._busy = False
        self._queue: collections.deque[Slot] = collections.deque()
        self._serving = 0
        self._fill()

    @property
    def limit(self) -> int:
        """The present limit."""
        return self._fixed or self._adaptive.limit

    def run(self, until_s: float) -> Simulation:
        """Goes on until that time."""
        while self._events[0][0] < until_s:
            at, _, step = heapq.heappop(self._events)
            while len(self.limits) < int(at):
                self.limits.append(self.limit)
            self._now = at
            step()
        return self

    def rate(self, since_s: float, until_s: float) -> float:
        """Requests answered a second."""
        return sum(since_s <= at < until_s for at in self.answered_at) / (until_s - since_s)

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + seconds, next(self._order), step))

    # ------------------------------------------------------------------ the client

    def _fill(self) -> None:
        while self._in_flight < self.limit:
            if self._bundle and self._sent == self._bundle:
                if self._in_flight:
                    break
                self._sent = 0
            self._sent += 1
            self._in_flight += 1
            self._work.append(self._sending(self._adaptive.give(self._in_flight)))
        self._next_work()

    def _next_work(self) -> None:
        if self._busy or not self._work:
            return
        self._busy = True
        then = self._work.popleft()()

        def done() -> None:
            self._busy = False
            if then is not None:
                self._after(NETWORK_S, then)
            self._next_work()

        self._after(client_s(self._in_flight) / 2, done)

    def _sending(self, slot: Slot) -> Callable[[], Callable[[], None]]:
        return lambda: lambda: self._arrived(slot)

    def _receiving(self, slot: Slot, accepted: bool) -> Callable[[], None]:
        def receive() -> None:
            if accepted:
                self.answered_at.append(self._now)
                self.longest_s = max(self.longest_s, self._now - slot.given_at)
                self._adaptive.answered(slot)
            else:
                self.refused += 1
                self._adaptive.overloaded()
            self._in_flight -= 1
            self._fill()

        return receive

    def _received(self, slot: Slot, accepted: bool) -> None:
        self._work.append(self._receiving(slot, accepted))
        self._next_work()

    # ------------------------------------------------------------------ the server

    def _arrived(self, slot: Slot) -> None:
        most = self.server.refuses_above
        if most is not None and self._serving + len(self._queue) >= most:
            self._received(slot, accepted=False)
            return
        self._queue.append(slot)
        self._serve()

    def _serve(self) -> None:
        while self._queue and self._serving < self.server.capacity:
            slot = self._queue.popleft()
            self._serving += 1
            time_s = self.server.time_s(self._serving) * self._random.uniform(1 - JITTER, 1 + JITTER)
            self._after(time_s, lambda slot=slot: self._served(slot))  # type: ignore[misc]

    def _served(self, slot: Slot) -> None:
        self._serving -= 1
        self._received(slot, accepted=True)
        self._serve()


@dataclasses.dataclass(frozen=True)
class Row:
    """One server of the table.

    Attributes:
        server: The server.
        best: The best fixed limit.
        share: The rate after ``FOUND_S``, as a share of the best fixed limit's.
        worst: The same of the worst slice.
        limits: The limit each second.
        longest_s: The longest that an answer took.
    """

    server: Server
    best: int
    share: float
    worst: float
    limits: tuple[int, ...]
    longest_s: float

    @property
    def passed(self) -> bool:
        """Whether it is within the targets."""
        return self.share >= AT_LEAST and self.worst >= WORST_AT_LEAST


def measure_one(server: Server, bundle: int | None = None) -> Row:
    """Simulates one server."""
    best, run = server.best(), Simulation(server, bundle=bundle).run(RUN_S)
    most = Simulation(server, best, bundle).run(RUN_S).rate(FOUND_S, RUN_S)
    slices = int((RUN_S - FOUND_S) / SLICE_S)
    rates = [run.rate(since := FOUND_S + SLICE_S * i, since + SLICE_S) for i in range(slices)]
    return Row(server, best, run.rate(FOUND_S, RUN_S) / most, min(rates) / most, tuple(run.limits), run.longest_s)


def rows() -> list[Row]:
    """Simulates every server."""
    servers = [Server(ms / 1000, capacity) for ms in LATENCIES_MS for capacity in CAPACITIES]
    return [measure_one(server) for server in servers if server.service_s or server.capacity == 1]  # 0 ms: no difference


def table(rows: list[Row]) -> str:
    """The rows as text."""
    lines = [f"{'server':>8} {'at once':>7} {'best fixed':>10} {'share':>6} {'worst':>6} {'longest':>8}  limit each second"]
    for row in rows:
        what = f"{row.server.service_s * 1000:5g} ms {row.server.capacity:7} {row.best:10} {row.share:6.2f} {row.worst:6.2f}"
        lines.append(f"{what} {row.longest_s:6.1f} s  {' '.join(map(str, row.limits))}")
    return "\n".join(lines)


def measure(say: Callable[[str], None]) -> list[Figure]:
    """Simulates every server, shows the table, and returns the figures that decide."""
    found = rows()
    say(table(found))
    share, worst = min(row.share for row in found), min(row.worst for row in found)
    return [
        Figure("limiter: auto / best fixed, of the worst server", share, "×", at_least=AT_LEAST),
        Figure("limiter: the same, of its worst 3 s", worst, "×", at_least=WORST_AT_LEAST),
    ]
