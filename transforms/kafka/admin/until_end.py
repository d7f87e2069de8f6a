"""``until_end``: the conditions of a job that ends where its topics end now, for who has no checks of the program's."""

from __future__ import annotations

import contextlib

import confluent_kafka as ck

from transforms.errors import ContractError
from transforms.kafka.admin.checks import TIMEOUT_S, Checker
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig
from transforms.kafka.stop import StopConditions
from transforms.kafka.vendor import describe


def until_end(config: KafkaConfig, timeout_s: float = TIMEOUT_S) -> StopConditions:
    """Asks Kafka for the ends of the topics, and for what the group has committed of them.

    Args:
        config: The job's Kafka configuration.
        timeout_s: How long a broker may take to answer first, in seconds.

    Raises:
        ContractError: Kafka does not answer, or a topic does not exist.
    """
    try:
        found = open_admin(config).list_topics(timeout=timeout_s).topics
    except ck.KafkaException as error:
        raise ContractError(f"{config.bootstrap_servers}: {describe(error.args[0])}") from error
    if missing := [topic for topic in config.topics if topic not in found or not found[topic].partitions]:
        raise ContractError(f"the topic {missing[0]} does not exist")
    partitions = [(topic, number) for topic in config.topics for number in sorted(found[topic].partitions)]
    with contextlib.closing(Checker(config)) as checker:
        return checker.until_ends(partitions)
