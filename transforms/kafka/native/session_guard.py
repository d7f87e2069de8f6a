"""``SessionGuard``: keeps a session in its consumer group while a stage waits for the model server."""

from __future__ import annotations

import time

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sessions import bundle_session
from transforms.kafka.stop import draining


class SessionGuard:
    """Keeps the session of this thread's bundle in its consumer group. Implements ``BundleGuard``.

    Args:
        config: The job's Kafka configuration, which identifies the session.
        drain_deadline_s: Seconds that a bundle may still wait for the model server after a request to drain. Then the bundle
            is made void, and the next run reads its records again.
    """

    def __init__(self, config: KafkaConfig, drain_deadline_s: float):
        self._config, self._drain_deadline_s = config, drain_deadline_s
        self._draining_since: float | None = None

    def keep_alive(self) -> bool:
        """See ``BundleGuard.keep_alive``."""
        kafka = bundle_session(self._config)
        if draining():
            self._draining_since = self._draining_since or time.monotonic()
            if time.monotonic() - self._draining_since > self._drain_deadline_s:
                kafka.give_up("drained while the model server was down")
        return kafka.keep_alive()
