"""``TopicIds``: which topics stand behind the names of the input topics now: a topic that was made again has another id.

A topic's *identity* is the text ``TOPIC_ID@CLUSTER_ID``. Kafka gives each topic an id when it is made (KIP-516), and never
the same again. Two clusters may have the same topics, by mirroring, under ids of their own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeAlias

import confluent_kafka as ck
from confluent_kafka import TopicCollection

from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig
from transforms.kafka.topic_limits import MOCK_CLUSTER

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""How long Kafka may take to answer."""

UNKNOWN = ""
"""The identity of a topic of which Kafka does not say it: a broker before 2.8, or librdkafka's mock broker."""

_NO_ID = "A" * 22  # 16 bytes of zeros in base64: what a broker without ids gives

Identity: TypeAlias = str | ck.KafkaError
"""A topic's identity, or Kafka's error instead."""


class Asked:
    """A question that is under way.

    Args:
        cluster: The id of the cluster.
        futures: Topic to its description.

    Attributes:
        partitions: How many partitions the answer describes, with their replicas: most of what it costs.
    """

    def __init__(self, cluster: str, futures: Mapping[str, Future[Any]]):
        self._cluster, self._futures = cluster, futures
        self.partitions = 0

    @property
    def is_answered(self) -> bool:
        """Whether ``answer`` would not wait."""
        return all(future.done() for future in self._futures.values())

    def answer(self, timeout_s: float = TIMEOUT_S) -> dict[str, Identity]:
        """Returns what each topic is, or why Kafka does not say it.

        Args:
            timeout_s: How long to wait for all of them.
        """
        stop_at = time.monotonic() + timeout_s
        return {topic: self._of(future, max(0.0, stop_at - time.monotonic())) for topic, future in self._futures.items()}

    def _of(self, future: Future[Any], timeout_s: float) -> Identity:
        try:
            described = future.result(timeout_s)
        except ck.KafkaException as raised:
            error: ck.KafkaError = raised.args[0]
            return error
        except TimeoutError:
            return ck.KafkaError(ck.KafkaError._TIMED_OUT, "topics are not described")
        self.partitions += len(described.partitions)
        topic_id = str(described.topic_id)
        return UNKNOWN if topic_id.rstrip("=") == _NO_ID else f"{topic_id}@{self._cluster}"


class TopicIds:
    """Asks for the identities of a job's input topics.

    Args:
        config: The job's.
        open_admin: Makes the admin client, at the first time. The reader's own client must not be asked: this happens in its
            callbacks, and confluent-kafka ends the process where a client's ``list_topics`` is called in one, as soon as the
            next callback comes (``CallState_get: Assertion `cs != NULL' failed``, in 2.16).
    """

    def __init__(self, config: KafkaConfig, open_admin: Callable[[KafkaConfig], Any] = open_admin):
        self._config, self._open_admin = config, open_admin
        self._cluster: str | None = None
        self._admin: Any = None

    @property
    def are_there(self) -> bool:
        """Whether the broker may have ids; not known before the first question."""
        return bool(self._cluster) and not str(self._cluster).startswith(MOCK_CLUSTER)

    def ask(self) -> Asked:
        """Sends the question. Only the first time it waits for an answer: which cluster this is.

        Raises:
            KafkaException: Kafka does not answer.
        """
        self._admin = self._admin or self._open_admin(self._config)  # kept while it is asked: a freed one answers _DESTROY
        if self._cluster is None:
            self._cluster = str(self._admin.list_topics(self._config.topics[0], timeout=TIMEOUT_S).cluster_id or "")
        if not self.are_there:  # the mock broker would leave the question without an answer
            return Asked("", {})
        topics = TopicCollection(list(self._config.topics))
        return Asked(self._cluster, self._admin.describe_topics(topics, request_timeout=TIMEOUT_S))
