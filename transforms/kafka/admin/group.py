"""Who else is in the consumer group: a job with other topics does not belong there."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import confluent_kafka as ck

from transforms.errors import ContractError
from transforms.kafka.config import KafkaConfig
from transforms.kafka.topic_limits import is_mock
from transforms.retry import Deadline

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MARGIN_S = 2.0
"""Seconds to wait in addition to the session time-out, until Kafka no longer counts a member that has gone."""


def check_members(
    admin: Any,
    config: KafkaConfig,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Checks that no member of the group reads other topics than this job; waits for those that may have ended.

    Args:
        admin: An admin client with the job's credentials.
        config: The job's.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.

    Raises:
        ContractError: There is one, with its name, its host and its topics.
    """
    deadline: Deadline | None = None
    while strangers := _strangers(admin, config):
        if deadline is None:
            wait_s = config.session_timeout_s + MARGIN_S
            deadline = Deadline(wait_s, clock)
            log.warning(
                "group %s is used by another job; waiting up to %.0f s, in case that it has ended", config.group_id, wait_s
            )
        if deadline.passed:
            raise ContractError(
                f"--group_id={config.group_id}: is used by a job with other topics: {'; '.join(strangers)}. Give each job a "
                "--group_id of its own; or, if it is meant, --allow_shared_group"
            )
        sleep(0.5)


def _strangers(admin: Any, config: KafkaConfig) -> list[str]:
    """Each member that reads other topics. Of a member without partitions Kafka does not say what it would read."""
    try:
        if is_mock(admin):
            return []
        group: Any = config.group_id
        members = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result(TIMEOUT_S).members
    except (ck.KafkaException, TimeoutError) as error:
        log.debug("the members of group %s can't be read: %s", config.group_id, error)  # rights, or a broker that is too old
        return []
    found = []
    for member in members:
        others = _topics(member) - set(config.topics)
        if others:
            topics = ", ".join(sorted(others))
            found.append(f"member {member.client_id} at {str(member.host).lstrip('/')} reads {topics}")
    return found


def _topics(member: Any) -> set[str]:
    partitions: Iterable[Any] = member.assignment.topic_partitions if member.assignment else ()
    return {partition.topic for partition in partitions}


def check_read(consumer: Any, config: KafkaConfig) -> None:
    """Checks that the group has not read other topics, and none of this job's, before.

    The consumer asks for every partition that there is: ``list_consumer_group_offsets`` of the admin client ends the process
    with SIGSEGV where Kafka does not know the group yet.

    Source: https://github.com/confluentinc/librdkafka/issues/5040, open in librdkafka 2.16.

    Args:
        consumer: A consumer of the group, with the job's credentials.
        config: The job's.

    Raises:
        ContractError: It has.
    """
    group = config.group_id
    try:
        topics = consumer.list_topics(timeout=TIMEOUT_S).topics
        partitions = [ck.TopicPartition(name, number) for name, topic in topics.items() for number in topic.partitions]
        read = {tp.topic for tp in consumer.committed(partitions, timeout=TIMEOUT_S) if tp.offset >= 0}
    except ck.KafkaException as error:
        log.debug("what group %s has read can't be told: %s", group, error)  # missing rights are told elsewhere
        return
    if read and not read & set(config.topics):
        raise ContractError(
            f"--group_id={group}: the default group has read {', '.join(sorted(read)[:3])} and none of this job's topics; "
            f"give each job a group of its own, such as --group_id={config.topics[0]}-scoring"
        )
