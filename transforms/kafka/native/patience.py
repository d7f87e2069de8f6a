"""``Patience``: how long a call is retried while Kafka does not answer: without a limit, or ``DRAIN_S`` during a drain."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Self

import confluent_kafka as ck

from transforms.kafka.stop import draining
from transforms.kafka.vendor import describe
from transforms.observe import observer, waits, waits_no_more
from transforms.retry import Deadline

log = logging.getLogger(__name__)

SHOWN_AFTER_S = 5.0
"""After how many seconds without an answer the job shows that it waits for Kafka."""

TOLD_EVERY_S = 60.0
"""How often the log says so."""

DRAIN_S = 120.0
"""How long a drain waits for Kafka."""


class Patience:
    """The retries of one call, which are made inside the ``with`` block. Shows and logs that the job waits for Kafka.

    Args:
        what: What the call does, for the log and for the status.
        clock: Seconds, monotonic.
        draining: Whether the job is to end.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic, draining: Callable[[], bool] = draining):
        self._what, self._clock, self._draining = what, clock, draining
        self._began = clock()
        self._told_at: float | None = None
        self._gave_up = False
        self._drain: Deadline | None = None

    def lasts(self, error: ck.KafkaError) -> bool:
        """Returns whether to try again after a transient error. Shows that the job waits, after ``SHOWN_AFTER_S``."""
        observer().polled()  # it asks Kafka again and again: for /healthz it is not stuck, as a restart would not help
        now = self._clock()
        if now - self._began >= SHOWN_AFTER_S:
            if self._told_at is None or now - self._told_at >= TOLD_EVERY_S:
                self._told_at = now
                log.warning("%s: waiting for Kafka for %.0f s: %s", self._what, now - self._began, describe(error))
            waits(self, f"Kafka: {self._what}: {describe(error)}")
        if self._draining():
            self._drain = self._drain or Deadline(DRAIN_S, self._clock)
            self._gave_up = self._drain.passed
        return not self._gave_up

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Ends the wait: Kafka has answered, or the call was given up."""
        waits_no_more(self)
        if self._told_at is not None and not self._gave_up:
            log.warning("%s: Kafka answers again after %.0f s", self._what, self._clock() - self._began)
