"""Finds the rights that the job's user lacks, before anything is read, and names the command that grants each.

A description of a topic or a group has the operations that the user may do with it (KIP-430). Of a topic that the user may
not see, Kafka says that it does not exist; the description of such a group it refuses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AclOperation

from transforms.kafka.config import KafkaConfig
from transforms.kafka.grants import grant, name_of

TIMEOUT_S = 10.0

REFUSED = {ck.KafkaError.TOPIC_AUTHORIZATION_FAILED, ck.KafkaError.GROUP_AUTHORIZATION_FAILED}


def missing_rights(admin: Any, config: KafkaConfig, outputs: Iterable[str]) -> list[str]:
    """Asks Kafka which rights are missing.

    Args:
        admin: An admin client with the job's credentials.
        config: The job's.
        outputs: The topics that exist and are written to.

    Returns:
        A sentence for each, with the cure; none where nobody logs in, where Kafka has no authorizer, or where it does not
        answer the question.
    """
    if not _logs_in(config):
        return []
    wanted = [("--input_topic", topic, AclOperation.READ) for topic in config.topics]
    wanted += [("--output_topic or --dead_letter_topic", topic, AclOperation.WRITE) for topic in sorted(outputs)]
    asked = TopicCollection(sorted({topic for _, topic, _ in wanted}))
    told = admin.describe_topics(asked, include_authorized_operations=True, request_timeout=TIMEOUT_S)
    may = {topic: _operations(future) for topic, future in told.items()}
    found = [
        f"{flag}={topic}: this user has no right to {name_of(right)}; {grant(config, right, f'--topic {topic}')}"
        for flag, topic, right in wanted
        if _lacks(may.get(topic), right)
    ]
    group = config.group_id
    told = admin.describe_consumer_groups([group], include_authorized_operations=True, request_timeout=TIMEOUT_S)
    if _lacks(_operations(told[group]), AclOperation.READ):
        found.append(
            f"--group_id={group}: this user has no right to Read; {grant(config, AclOperation.READ, f'--group {group}')}"
        )
    return found


def may_be_hidden(config: KafkaConfig, topic: str, right: str) -> str:
    """What to add to "does not exist" where Kafka may have hidden the topic: nothing without a user."""
    if not _logs_in(config):
        return ""
    return f", or this user may not see it: {grant(config, AclOperation[right], f'--topic {topic}')}"


def _logs_in(config: KafkaConfig) -> bool:
    return str(config.client_properties().get("security.protocol", "PLAINTEXT")).upper() != "PLAINTEXT"


def _operations(future: Future[Any]) -> Collection[AclOperation] | None:
    """Returns the operations that the user may do; ``None`` if Kafka does not say."""
    try:
        operations: Collection[AclOperation] | None = future.result(TIMEOUT_S).authorized_operations
    except TimeoutError:
        return None
    except ck.KafkaException as error:
        return () if error.args[0].code() in REFUSED else None
    return operations or None  # a user with no right at all would have been refused


def _lacks(may: Collection[AclOperation] | None, right: AclOperation) -> bool:
    return may is not None and right not in may and AclOperation.ALL not in may
