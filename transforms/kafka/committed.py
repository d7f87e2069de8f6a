"""``CommittedOffsets``: what a group's committed offsets are worth. The one place that decides it.

Kafka keeps committed offsets by the topic's *name*. After a topic was deleted and made again, an offset of the former topic
may remain, or a late commit may write it again. It says nothing about the new topic's records: reading from it would skip
some. Therefore every commit of ours stores the identity of the topic that was read (``topic_ids.py``), and an offset of
another topic of this cluster is ignored. An offset without an identity is used: it comes from an older version or another
program, and its topic is unknown.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import confluent_kafka as ck

from transforms.kafka.admin_client import open_admin
from transforms.kafka.commit_metadata import identity_in
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.topic_ids import TIMEOUT_S, UNKNOWN, Asked, TopicIds

log = logging.getLogger(__name__)

SURE_S = 0.5
"""How long after the first time a topic that seems to be another one is looked at again: a broker may be a little late."""


def is_of_another(identity: str, than: str) -> bool:
    """Whether two identities are of two topics of one cluster. Of what is not known, nothing is said."""
    ours, theirs = identity.rpartition("@"), than.rpartition("@")
    return bool(identity and than) and ours[2] == theirs[2] and ours[0] != theirs[0]


@dataclasses.dataclass(frozen=True, slots=True)
class Committed:
    """What a group has committed.

    Attributes:
        offsets: Of each partition the committed offset, negative where there is none that counts, with its metadata.
        identities: Topic to its identity; ``UNKNOWN`` where Kafka does not say it.
        former: The offsets that do not count, as they are of a former topic of the name.
    """

    offsets: list[ck.TopicPartition]
    identities: Mapping[str, str]
    former: Mapping[Partition, int]


def seems_former(offsets: Iterable[ck.TopicPartition], identities: Mapping[str, str]) -> bool:
    """Whether one of the offsets is of a former topic of its name, if the answer is not from a broker that is late."""
    return any(is_of_another(identity_in(tp.metadata), identities.get(tp.topic, UNKNOWN)) for tp in offsets)


def judged(offsets: Iterable[ck.TopicPartition], identities: Mapping[str, str]) -> Committed:
    """Decides what each committed offset is worth.

    Args:
        offsets: As Kafka gives them.
        identities: Topic to its identity, asked for later than the offsets.
    """
    offsets, former = list(offsets), dict[Partition, int]()
    for tp in offsets:
        if tp.offset >= 0 and is_of_another(identity_in(tp.metadata), identities.get(tp.topic, UNKNOWN)):
            former[tp.topic, tp.partition] = tp.offset
            tp.offset = ck.OFFSET_INVALID
    return Committed(offsets, identities, former)


class CommittedOffsets:
    """Asks for the committed offsets of a group from outside of it.

    Args:
        config: The job's.
        consumer: Gives the offsets.
        open_admin: Makes the admin client, which is asked for topics only where an offset names one.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        config: KafkaConfig,
        consumer: Any,
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._consumer, self._sleep = consumer, sleep
        self._ids = TopicIds(config, open_admin)

    def ask(self, partitions: Iterable[Partition], timeout_s: float) -> Committed:
        """Returns what the group has committed; a partition of which Kafka does not say it has an error.

        Raises:
            KafkaException: Kafka does not answer, or refuses it.
        """
        wanted = [ck.TopicPartition(*partition) for partition in partitions]
        offsets = self._consumer.committed(wanted, timeout=timeout_s) if wanted else []
        if not any(identity_in(tp.metadata) for tp in offsets):
            return Committed(offsets, {}, {})
        identities = self.identities()
        if seems_former(offsets, identities):
            self._sleep(SURE_S)
            identities = self.identities()
        return judged(offsets, identities)

    def identities(self) -> dict[str, str]:
        """Returns the identities of the topics, as far as Kafka says them.

        Raises:
            KafkaException: Kafka does not answer.
        """
        return known(self._ids.ask())


def known(asked: Asked, timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Returns the identities in an answer.

    Raises:
        KafkaException: Kafka does not answer, or refuses it for one of the topics.
    """
    found: dict[str, str] = {}
    for topic, identity in asked.answer(timeout_s).items():
        if not isinstance(identity, str):
            raise ck.KafkaException(identity)
        found[topic] = identity
    return found
