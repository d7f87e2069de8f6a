"""``Obstacles``: what keeps a running job from its topics, until somebody cures it: a topic that is gone, a missing right.

The job waits for that (``native/obstruction.py``). Before the start, the same is found by ``admin/checks.py`` and ends the
job at once, as flags may be wrong then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AclOperation

from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig
from transforms.kafka.grants import create_command
from transforms.kafka.rights import may_be_hidden, missing_rights

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""How long Kafka may take to answer; while it is away nothing is found, which is told elsewhere."""

GONE = {ck.KafkaError.UNKNOWN_TOPIC_OR_PART, ck.KafkaError._UNKNOWN_TOPIC, ck.KafkaError._UNKNOWN_PARTITION}
"""What Kafka or librdkafka says of a topic that is not there."""

CURABLE = {
    *GONE, ck.KafkaError.TOPIC_AUTHORIZATION_FAILED, ck.KafkaError.GROUP_AUTHORIZATION_FAILED,
    ck.KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, ck.KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}  # fmt: skip
"""What somebody may cure while the job runs: it waits for that."""


class Obstacles:
    """Asks Kafka what keeps a job from its topics.

    Args:
        config: The job's.
        open_admin: Makes the admin client, when it is asked for the first time.
    """

    def __init__(self, config: KafkaConfig, open_admin: Callable[[KafkaConfig], Any] = open_admin):
        self._config, self._open_admin = config, open_admin
        self._admin: Any = None

    def find(self, outputs: Iterable[str]) -> list[str]:
        """Returns a sentence with the cure for each; none if Kafka does not answer, or does not say.

        Args:
            outputs: The topics that are written to, besides ``dead_letter_topic``.
        """
        config = self._config
        written = {*outputs, *filter(None, [config.dead_letter_topic])} - set(config.topics)
        try:
            told = self._describe([*config.topics, *sorted(written)])
            if unclear := [it for it in told.values() if isinstance(it, ck.KafkaError) and it.code() not in CURABLE]:
                raise ck.KafkaException(unclear[0])
            gone = {topic for topic, error in told.items() if isinstance(error, ck.KafkaError) and error.code() in GONE}
            found = [self._gone(topic, told) for topic in told if topic in gone]
            found += missing_rights(self._client(), config, written - gone)
        except (ck.KafkaException, TimeoutError) as error:
            log.debug("Kafka does not say what it lacks: %s", error)
            return []
        return found

    def kafka_answers(self) -> bool:
        """Whether a broker answers now."""
        try:
            self._client().list_topics(timeout=TIMEOUT_S)
        except ck.KafkaException as error:
            log.debug("Kafka does not answer: %s", error)
            return False
        return True

    def _client(self) -> Any:
        self._admin = self._admin or self._open_admin(self._config)  # kept while it is asked: a freed one answers _DESTROY
        return self._admin

    def _describe(self, topics: Collection[str]) -> Mapping[str, Any]:
        """Returns the description of each topic, or the error that Kafka gives instead."""
        futures: Mapping[str, Future[Any]] = self._client().describe_topics(
            TopicCollection(list(topics)), request_timeout=TIMEOUT_S
        )
        told: dict[str, Any] = {}
        for topic, future in futures.items():
            try:
                told[topic] = future.result(TIMEOUT_S)
            except ck.KafkaException as raised:
                told[topic] = raised.args[0]
        return told

    def _gone(self, topic: str, told: Mapping[str, Any]) -> str:
        read = topic in self._config.topics
        kind = "input" if read else "dead-letter" if topic == self._config.dead_letter_topic else "output"
        partitions = max((len(getattr(told[it], "partitions", ())) for it in self._config.topics), default=1)
        hidden = may_be_hidden(self._config, topic, (AclOperation.READ if read else AclOperation.WRITE).name)
        return (
            f"the {kind} topic {topic} does not exist any more; make it again: "
            f"{create_command(self._config, topic, max(1, partitions))}{hidden}"
        )
