"""The sessions of this process, in module state: source and sink find theirs by the job's config.

Consumers and producers can't be pickled into DoFns; and source and sink must share them.
"""

from __future__ import annotations

import threading

from transforms.kafka.config import KafkaConfig
from transforms.kafka.session import Session

_sessions: dict[KafkaConfig, Session] = {}
_lock = threading.Lock()


def session(config: KafkaConfig) -> Session:
    """The session of this process for ``config``, made at the first call.

    Raises:
        FencedError: A newer process of the same instance is there.
        KafkaError: Kafka does not answer, or refuses us.
    """
    with _lock:
        if config not in _sessions:
            _sessions[config] = Session(config)
        return _sessions[config]


def close_sessions() -> None:
    """Closes every session of this process."""
    with _lock:
        while _sessions:
            _sessions.popitem()[1].close()
