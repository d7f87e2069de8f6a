"""Makes the topics that a job writes to where they are missing: dead letters, and with ``--create_topics`` the output."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

import confluent_kafka as ck
from confluent_kafka.admin import NewTopic

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig
from transforms.kafka.grants import create_command
from transforms.kafka.rights import may_be_hidden
from transforms.kafka.vendor import describe, is_transient

HEADER_ROOM_BYTES = 65_536
"""By how much the ``max.message.bytes`` of a new topic is above the other topics': error headers have 3,000."""

MOST_BYTES = 2**31 - 1


def room_for_headers(limits: Iterable[int]) -> int | None:
    """The ``max.message.bytes`` of a new topic: what the other topics take, and the headers that are added."""
    most = max(limits, default=None)
    return None if most is None else min(most + HEADER_ROOM_BYTES, MOST_BYTES)


def make_topic(config: KafkaConfig, flag: str, topic: str, partitions: int, max_bytes: int | None, timeout_s: float) -> None:
    """Makes a topic; one that is there by now will do.

    Args:
        config: The job's Kafka configuration.
        flag: The flag that names it.
        topic: Its name.
        partitions: How many partitions it gets.
        max_bytes: Its ``max.message.bytes``; ``None`` for Kafka's default.
        timeout_s: How long Kafka may take.

    Raises:
        NotReadyError: Kafka can't make it yet.
        ContractError: Kafka does not make it.
    """
    admin = open_admin(config)  # keep a reference while waiting: librdkafka fails the futures of a freed client (_DESTROY)
    properties = {} if max_bytes is None else {"max.message.bytes": str(max_bytes)}
    future: Future[None] = admin.create_topics([NewTopic(topic, max(1, partitions), config=properties)])[topic]
    try:
        future.result(timeout_s)
    except TimeoutError as error:
        raise ContractError(
            f"{flag}={topic}: does not exist, and Kafka did not make it within {timeout_s:.0f} s; create it first "
            f"({create_command(config, topic, partitions)})"
        ) from error
    except ck.KafkaException as error:
        if error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS:
            return
        # In a cluster that is just starting, there may be fewer brokers than the topic needs replicas.
        early = is_transient(error.args[0]) or error.args[0].code() == ck.KafkaError.INVALID_REPLICATION_FACTOR
        raise (NotReadyError if early else ContractError)(
            f"{flag}={topic}: does not exist and can't be made: {describe(error.args[0])}"
            f"{may_be_hidden(config, topic, 'WRITE')}"
        ) from error
