"""``SessionGuard``: keeps a session in its consumer group while a stage waits for the model server."""

from __future__ import annotations

import time
from collections.abc import Callable

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sessions import BundleSession, bundle_session
from transforms.kafka.stop import StopConditions, stopping
from transforms.observe import observer

HOLDING_DRAIN_S = 1.0
"""Seconds that a bundle may still wait after a request to drain while the model server is down."""

DRAINED_DOWN = "drained while the model server was down"

DRAINED_EARLY = "drained before all records were answered"
"""The server works, but it is slow."""


class SessionGuard:
    """Keeps the session of this thread's bundle in its consumer group. Implements ``BundleGuard``.

    Args:
        config: The job's Kafka configuration, which identifies the session.
        drain_deadline_s: Seconds that a bundle may still wait for the model server after a request to drain; at most
            ``HOLDING_DRAIN_S`` if it is down. Then the bundle is made void, and the next run reads its records again.
        clock: Returns the seconds of a monotonic clock.
        session_of: Returns the session of this thread's bundle.
        stop: The job's stop conditions: the end of its time is a request to drain.
    """

    def __init__(
        self,
        config: KafkaConfig,
        drain_deadline_s: float,
        clock: Callable[[], float] = time.monotonic,
        session_of: Callable[[KafkaConfig], BundleSession] = bundle_session,
        stop: StopConditions | None = None,
    ):
        self._stop = stop or StopConditions()
        self._config, self._drain_deadline_s = config, drain_deadline_s
        self._clock, self._session_of = clock, session_of
        self._draining_since: float | None = None

    def keep_alive(self, holding: bool = False) -> bool:
        """See ``BundleGuard.keep_alive``."""
        kafka = self._session_of(self._config)
        if stopping(self._stop):
            self._draining_since = self._draining_since or self._clock()
            deadline_s = min(HOLDING_DRAIN_S, self._drain_deadline_s) if holding else self._drain_deadline_s
            past = self._clock() - self._draining_since > deadline_s
            if past and (unanswered := kafka.give_up(DRAINED_DOWN if holding else DRAINED_EARLY)):
                observer().left_unanswered(unanswered)
        return kafka.keep_alive()
