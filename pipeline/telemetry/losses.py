"""Counts what could not be exported, and logs a warning from time to time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from transforms.clients.uri import shown

log = logging.getLogger("pipeline")

TELL_S = 60.0
"""At most one warning in so many seconds."""


class Losses:
    """Counts what was lost. Any thread may call it.

    Args:
        what: What is exported, in the plural.
        where: The endpoint, for people.
        told: Called with each number.
        clock: Returns seconds, monotonic.
    """

    def __init__(
        self,
        what: str,
        where: str,
        told: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._what, self._where, self._told, self._clock = what, shown(where), told, clock
        self._lock = threading.Lock()
        self._lost = self._untold = 0
        self._tell_at: float | None = None

    @property
    def lost(self) -> int:
        """How many were lost so far."""
        return self._lost

    def lose(self, count: int, why: str) -> None:
        """So many were not exported, because of ``why``."""
        if not count:
            return
        with self._lock:
            self._lost += count
            self._untold += count
            tells = self._tell_at is None or self._clock() >= self._tell_at
            if tells:
                self._tell_at = self._clock() + TELL_S
        self._told(count)
        if tells:
            self.tell(why)

    def tell(self, why: str) -> None:
        """Warns of what nobody was told of yet."""
        with self._lock:
            untold, self._untold = self._untold, 0
        if untold:
            log.warning("%d %s did not reach %s: %s; the job goes on", untold, self._what, self._where, why)


class LastWords(logging.Handler):
    """Keeps the last message of OpenTelemetry's loggers, which say why something was not exported."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        """As ``logging.Handler``."""
        self.text = shown(record.getMessage())


@contextlib.contextmanager
def last_words() -> Iterator[LastWords]:
    """Keeps OpenTelemetry's messages out of the log while the block runs: ``Losses`` reports what was lost instead."""
    logger, words = logging.getLogger("opentelemetry"), LastWords()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(words)
    try:
        yield words
    finally:
        logger.removeHandler(words)
        logger.propagate = propagated


class LastWork:
    """The last work of a process, in a thread: ``done_within`` waits for it for a limited time only.

    The thread is started in advance: from Python 3.12 on, no thread can start while the interpreter shuts down, and a
    worker process on Flink does this work during the shutdown.

    Args:
        work: Called once, by ``done_within``.
    """

    def __init__(self, work: Callable[[], object]):
        self._begin = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), name="telemetry", daemon=True)
        self._thread.start()

    def done_within(self, limit_s: float) -> bool:
        """Has the work done; returns whether it came to its end in that many seconds."""
        self._begin.set()
        self._thread.join(limit_s)
        return not self._thread.is_alive()

    def _run(self, work: Callable[[], object]) -> None:
        self._begin.wait()
        work()
