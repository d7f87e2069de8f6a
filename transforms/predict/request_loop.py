"""``Requests``: the requests in flight, in an asyncio loop that runs in the bundle's thread.

The loop has no thread of its own. It runs while the bundle waits (``take`` with a time-out), and for a few turns whenever
batches are sent. A loop in a second thread would compete with the bundle's thread for the interpreter, with two context
switches for every answer: that was a quarter of the processor's time at full load, and most of the latency at low load.
Bytes are received all the time in any case, by gRPC's own threads or by the kernel.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

from transforms.predict.batching import Batch
from transforms.predict.contract import ContractChangedError
from transforms.predict.daemon_threads import DaemonThreads
from transforms.predict.dispatch import Dispatcher
from transforms.tracing import NOBODY, Target, tracer
from transforms.types import ModelMetadata, Signature

log = logging.getLogger(__name__)

T = TypeVar("T")

WAKE_AT = 8
"""``take`` returns once this many batches are answered, or half of those in flight if they are fewer: the others keep the
server busy while the bundle works on the results."""

TURNS = 4
"""How many turns the loop makes when batches are sent. There are four steps from a byte on a socket to the start of the
request that waited for it: the answer's event, its future, the task that awaits it, the task that waited for its slot."""

CLOSE_S = 10.0

LOOKUP_S = 1.0
"""How long the end waits for a look-up of a name, or of credentials, that is still under way."""

CHANGED_S = 5.0
"""How long a bundle waits to be told whether the model has another signature."""


class Requests:
    """The requests in flight, and the loop that they run in. Not thread-safe.

    Args:
        dispatcher: Makes the dispatcher, inside the loop.
        target: Who is asked, for traces.
    """

    def __init__(self, dispatcher: Coroutine[Any, Any, Dispatcher], target: Target = NOBODY):
        self._target = target
        self._loop, self._threads = _new_loop()
        self._in_flight = 0
        self._wanted = 0  # how many answered batches end the current wait; 0 without a wait
        self._turns = 0
        self._done: collections.deque[Batch] = collections.deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._look: asyncio.Task[None] | None = None
        try:
            self._dispatcher = self._complete(dispatcher)
        except BaseException:
            self._loop.close()
            raise

    @property
    def in_flight(self) -> int:
        """How many batches were sent and not yet returned by ``take``."""
        return self._in_flight

    @property
    def most_rows(self) -> int | None:
        """How many rows the server takes in one request, as learnt from its refusals; ``None`` if any."""
        return self._dispatcher.most_rows

    @property
    def limit(self) -> int:
        """How many requests may be in flight at the server now; what was sent above that waits for a slot."""
        return self._dispatcher.limit

    @property
    def holding(self) -> bool:
        """Whether requests wait for a server that is down."""
        return self._dispatcher.holding

    def look(self) -> None:
        """Starts to look whether the server is there, unless that is under way. It goes on in later turns of the loop."""
        if self._look is None or self._look.done():
            self._look = self._loop.create_task(self._dispatcher.look())
            self.turn()

    def send(self, batches: Sequence[Batch]) -> None:
        """Starts the requests of batches. ``take`` returns them when they are answered."""
        for batch in batches:
            task = self._loop.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._in_flight += len(batches)
        self.turn()

    def renew(self, metadata: ModelMetadata) -> None:
        """Makes requests for another signature from now on; nothing may be in flight."""
        self._dispatcher.renew(metadata)

    def decline(self, signature: Signature, why: str) -> None:
        """Keeps the signature, because the records do not fit the other one. See ``Dispatcher.decline``."""
        self._dispatcher.decline(signature, why)

    def changed(self) -> ContractChangedError | None:
        """Asks whether the model has another signature now. Waits for the answer, for ``CHANGED_S`` at most."""
        try:
            return self._complete(asyncio.wait_for(self._dispatcher.changed(), CHANGED_S))
        except TimeoutError:
            return None

    def leave(self) -> None:
        """See ``Dispatcher.leave``: batches that wait for the rate limits come back with ``NotAskedError``."""
        self._dispatcher.leave()

    def turn(self) -> None:
        """Runs the loop for a few turns, without waiting."""
        self._stop_soon()
        self._run()

    def take(self, timeout_s: float) -> list[Batch]:
        """Returns answered batches, in any order. Waits up to ``timeout_s`` seconds for some."""
        wanted = min(WAKE_AT, (self._in_flight + 1) // 2)
        if timeout_s and len(self._done) < wanted:
            self._wanted = wanted
            timer = self._loop.call_later(timeout_s, self._stop_soon)
            self._run()
            timer.cancel()
        taken = [self._done.popleft() for _ in range(len(self._done))]
        self._in_flight -= len(taken)
        return taken

    def cancel(self) -> None:
        """Cancels the requests in flight and drops answered batches."""
        if self._in_flight:
            self._complete(_cancelled(list(self._tasks)))
            self._in_flight = 0
            self._done.clear()

    def close(self) -> None:
        """Closes the client and ends the loop."""
        self.cancel()
        if self._look is not None:
            self._complete(_cancelled([self._look]))
        try:
            self._complete(asyncio.wait_for(self._dispatcher.close(), CLOSE_S))
        finally:
            left = self._threads.leave(LOOKUP_S)
            self._loop.close()
        if left:
            log.warning(
                "look-ups of a name or of credentials that last beyond the end of the requests: %d; not waiting for them",
                left,
            )

    def _run(self) -> None:
        with _no_running_loop():
            self._loop.run_forever()

    def _complete(self, work: Coroutine[Any, Any, T]) -> T:
        with _no_running_loop():
            return self._loop.run_until_complete(work)

    # ------------------------------------------------------------------ in the loop

    def _stop_soon(self) -> None:
        """Stops the loop after ``TURNS`` turns, so that requests which waited for a slot can start first."""
        self._wanted, self._turns = 0, TURNS
        self._loop.call_soon(self._count_turn)

    def _count_turn(self) -> None:
        self._turns -= 1
        if self._turns:
            self._loop.call_soon(self._count_turn)
        else:
            self._loop.stop()

    async def _answer(self, batch: Batch) -> None:
        tracing = tracer()
        try:
            traces = None if tracing is None else tracing.batch(self._target, batch.headers())
            batch.results = await self._dispatcher.answer(batch.inputs(), batch.rows, batch.name_of, traces)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  # raised again in the bundle's thread, after ``take``
            batch.error = error
        self._done.append(batch)
        if self._wanted and (len(self._done) >= self._wanted or batch.error is not None):
            self._stop_soon()


def _new_loop() -> tuple[asyncio.AbstractEventLoop, DaemonThreads]:
    loop, threads = asyncio.new_event_loop(), DaemonThreads()
    loop.set_default_executor(threads)
    return loop, threads


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def run_here(work: Coroutine[Any, Any, T]) -> T:
    """Runs ``work`` to its end in this thread, in a new loop, even if the thread is inside a running loop already."""
    loop, _ = _new_loop()
    try:
        with _no_running_loop():
            return loop.run_until_complete(work)
    finally:
        loop.close()


@contextlib.contextmanager
def _no_running_loop() -> Iterator[None]:
    """Hides the running loop of this thread, if any: a notebook runs its cells, and so a pipeline, inside one."""
    outer = asyncio._get_running_loop()
    if outer is None:
        yield
        return
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(outer)
