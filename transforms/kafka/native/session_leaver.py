"""``SessionLeaver``: when a job stops, leaves records of a session's bundle that were not asked for to the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.session import Session
from transforms.kafka.native.sessions import session
from transforms.kafka.native.states import State
from transforms.kafka.stop import StopConditions, stopping
from transforms.observe import observer
from transforms.types import KafkaRecord


class SessionLeaver:
    """Implements ``Leaver`` for jobs without shards: where a runner places shards, it ends the job itself.

    Args:
        config: The job's Kafka configuration, which identifies the session.
        stop: The job's stop conditions.
        session_of: Returns the session of a job.
    """

    def __init__(self, config: KafkaConfig, stop: StopConditions, session_of: Callable[[KafkaConfig], Session] = session):
        self._config, self._stop, self._session_of = config, stop, session_of

    def stops(self) -> bool:
        """See ``Leaver.stops``."""
        return stopping(self._stop)

    def leave(self, records: Iterable[KafkaRecord]) -> bool:
        """See ``Leaver.leave``. The session reads no more of their partitions, so that nothing behind them is committed."""
        kafka, left = self._session_of(self._config), list(records)
        if kafka.state is State.VOID:
            return False
        kafka.drop(left)
        observer().left_unanswered(len(left))
        return True
