"""Looks at the topics of a replay: the dead-letter topic, the topics its records come from, and the ledger."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import confluent_kafka as ck
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from transforms.errors import ContractError
from transforms.kafka.admin.checks import Checker, Position
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.dead_letters.ledger import SUFFIX, Ledger
from transforms.kafka.dead_letters.reading import TopicReader
from transforms.kafka.topic_limits import MOCK_CLUSTER, read_limits
from transforms.kafka.vendor import describe
from transforms.types import KafkaRecord

TIMEOUT_S = 10.0


class LetterTopics:
    """The topics of one replay.

    Args:
        config: The connection; its topic is the dead-letter topic.

    Raises:
        NotReadyError: No broker answers.
        ContractError: There is no such topic, or access is denied.

    Attributes:
        name: The dead-letter topic.
        ledger_topic: The ledger's topic.
        partitions: All topics that there are, with the numbers of their partitions.
    """

    def __init__(self, config: KafkaConfig):
        self._config = config
        [self.name] = config.topics
        self.ledger_topic = f"{self.name}{SUFFIX}"
        self._checker = Checker(config)
        try:
            self.partitions = self._checker.partitions()
        except BaseException:
            self.close()
            raise
        if self.name not in self.partitions:
            near = difflib.get_close_matches(self.name, list(self.partitions), 1, 0.6)
            hint = f"; did you mean {near[0]!r}?" if near else "; has the job run, and with this --output_topic?"
            self.close()
            raise ContractError(f"--dead_letter_topic={self.name}: the topic does not exist{hint}")

    @property
    def has_ledger(self) -> bool:
        """Whether anything was replayed, or begun to be."""
        return self.ledger_topic in self.partitions

    def letters(self) -> TopicReader:
        """A reader of the dead letters that are there now."""
        return TopicReader(self._config, self._positions(self.name))

    def new_ledger(self) -> Ledger:
        """An empty ledger for this dead-letter topic, by the id that Kafka gave it."""
        return Ledger(_topic_id(open_admin(self._config), self.name))

    def read_ledger(self) -> Iterator[KafkaRecord]:
        """The entries that are there now; none if there is no ledger."""
        if not self.has_ledger:
            return
        reader = TopicReader(self._config, self._positions(self.ledger_topic))
        try:
            for records in reader.chunks():
                yield from records
        finally:
            reader.close()

    def make_ledger(self) -> bool:
        """Makes the ledger's topic if it is not there; returns whether it did.

        Raises:
            ContractError: It can't be made, or the one that is there may lose entries.
        """
        admin = open_admin(self._config)
        if self.has_ledger:
            limits = read_limits(admin, [self.ledger_topic]).get(self.ledger_topic)
            if limits is not None and not limits.wants_key:
                raise ContractError(
                    f"{self.ledger_topic}: the ledger of replayed dead letters must keep all of them: set its "
                    "cleanup.policy=compact"
                )
            return False
        wanted = NewTopic(self.ledger_topic, 1, config={"cleanup.policy": "compact"})
        try:
            admin.create_topics([wanted])[self.ledger_topic].result(TIMEOUT_S)
        except (ck.KafkaException, TimeoutError) as error:
            why = describe(error.args[0]) if isinstance(error, ck.KafkaException) else "Kafka did not answer in time"
            if isinstance(error, ck.KafkaException) and error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS:
                why = ""
            if why:
                raise ContractError(
                    f"{self.ledger_topic}: the ledger of replayed dead letters can't be made: {why}; create it: "
                    f"kafka-topics.sh --create --topic {self.ledger_topic} --partitions 1 --config cleanup.policy=compact"
                ) from error
        self.partitions[self.ledger_topic] = (0,)
        return True

    def _positions(self, topic: str) -> dict[Partition, Position]:
        return self._checker.positions([(topic, number) for number in self.partitions[topic]], "earliest")

    def close(self) -> None:
        """Closes the connection."""
        self._checker.close()


def _topic_id(admin: AdminClient, topic: str) -> str:
    """Kafka's id of a topic (KIP-516), which differs from that of one of the same name before; empty before Kafka 2.8."""
    try:
        if (admin.list_topics(timeout=TIMEOUT_S).cluster_id or "").startswith(MOCK_CLUSTER):
            return ""  # the mock broker does not answer this request
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=TIMEOUT_S)[topic]
        return str(asked.result(TIMEOUT_S).topic_id or "")
    except (ck.KafkaException, TimeoutError) as error:
        why = describe(error.args[0]) if isinstance(error, ck.KafkaException) else "it did not answer in time"
        raise ContractError(f"--dead_letter_topic={topic}: Kafka does not describe it: {why}") from error
