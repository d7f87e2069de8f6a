"""``SessionCarrier``: lets records go over into the next bundle of a session, so that a bundle's end keeps no slot idle."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.session import Session
from transforms.kafka.native.sessions import session
from transforms.kafka.stop import draining
from transforms.types import KafkaRecord


class SessionCarrier:
    """Asks the session whether records may go over into its next bundle. Implements ``Carrier``.

    For jobs without shards. Where a runner places shards, a bundle has records of any of them, and the next one of others.

    Args:
        config: The job's Kafka configuration, which identifies the session.
        session_of: Returns the session of a job.
    """

    def __init__(self, config: KafkaConfig, session_of: Callable[[KafkaConfig], Session] = session):
        self._config, self._session_of = config, session_of

    def carry(self, records: Iterable[KafkaRecord]) -> object | None:
        """See ``Carrier.carry``. Not while the job is drained: nothing is read any more that would keep slots busy."""
        return None if draining() else self._session_of(self._config).carry(records)

    def take_over(self, carried: object) -> bool:
        """See ``Carrier.take_over``."""
        return self._session_of(self._config).take_over(carried)
