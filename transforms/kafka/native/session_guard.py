"""``SessionGuard``: what a stage that waits for the model server owes the consumer group meanwhile."""

from __future__ import annotations

import time

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.sessions import bundle_session
from transforms.kafka.stop import draining


class SessionGuard:
    """Keeps this process's place in the consumer group while a bundle waits for the model server.

    Args:
        config: Whose session.
        drain_deadline_s: After a request to drain, how long a bundle may go on waiting, in seconds.
    """

    def __init__(self, config: KafkaConfig, drain_deadline_s: float):
        self._config, self._drain_deadline_s = config, drain_deadline_s
        self._draining_since: float | None = None

    def keep_alive(self) -> bool:
        """As ``BundleGuard.keep_alive``."""
        kafka = bundle_session(self._config)
        if draining():
            self._draining_since = self._draining_since or time.monotonic()
            if time.monotonic() - self._draining_since > self._drain_deadline_s:
                kafka.give_up("drained while the model server was down")
        return kafka.keep_alive()
