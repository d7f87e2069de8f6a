"""Who else is in the consumer group: neither a job with other topics belongs there, nor, in one way, another protocol."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import confluent_kafka as ck

from transforms.errors import ContractError
from transforms.kafka.config import CLASSIC_SESSION_S, CONSUMER_PROTOCOL, GROUP_PROTOCOL, KafkaConfig
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
    wait = _Wait(config.group_id, "is used by another job", config.session_timeout_s + MARGIN_S, clock, sleep)
    if strangers := wait.still_there(lambda: _strangers(admin, config)):
        raise ContractError(
            f"--group_id={config.group_id}: is used by a job with other topics: {'; '.join(strangers)}. Give each job a "
            "--group_id of its own; or, if it is meant, --allow_shared_group"
        )


def check_protocol(
    admin: Any,
    config: KafkaConfig,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Checks that a job with ``group.protocol=consumer`` does not meet members of the classic protocol; waits for their end.

    Kafka turns a classic group into the newer kind when the first such member joins, but not if its members have told it
    more than their topics (``userData``). Ours have, after their first rebalance, as the assignor cooperative-sticky does in
    librdkafka. Then the new member gets the fatal error GROUP_ID_NOT_FOUND, in the middle of a rolling update.

    Args:
        admin: An admin client with the job's credentials.
        config: The job's.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.

    Raises:
        ContractError: There are some, with their names and hosts.
    """
    if not config.broker_assigns:
        return
    group = config.group_id
    wait = _Wait(group, "is used by members of the classic protocol", CLASSIC_SESSION_S + MARGIN_S, clock, sleep)
    if classic := wait.still_there(lambda: _classic(admin, config)):
        raise ContractError(
            f"--kafka_config {GROUP_PROTOCOL}: {CONSUMER_PROTOCOL} does not meet members of the classic protocol, which "
            f"group {group} has: {'; '.join(classic)}. Stop them all first, then start with it; or leave it out"
        )


@dataclasses.dataclass(frozen=True, slots=True)
class _Wait:
    """Waits for members who may have ended: Kafka counts them until their session times out."""

    group: str
    told: str
    wait_s: float
    clock: Callable[[], float]
    sleep: Callable[[float], None]

    def still_there(self, find: Callable[[], list[str]]) -> list[str]:
        """Returns who is found at last, after the wait if need be."""
        deadline: Deadline | None = None
        while found := find():
            if deadline is None:
                deadline = Deadline(self.wait_s, self.clock)
                log.warning(
                    "group %s %s; waiting up to %.0f s, in case that they have ended", self.group, self.told, self.wait_s
                )
            if deadline.passed:
                return found
            self.sleep(0.5)
        return []


def _strangers(admin: Any, config: KafkaConfig) -> list[str]:
    """Each member that reads other topics. Of a member without partitions Kafka does not say what it would read."""
    group = _described(admin, config)
    found = []
    for member in group.members if group is not None else ():
        others = _topics(member) - set(config.topics)
        if others:
            found.append(f"{_named(member)} reads {', '.join(sorted(others))}")
    return found


def _classic(admin: Any, config: KafkaConfig) -> list[str]:
    """The members of a classic group. One that has them of both kinds is of the newer type, and takes more."""
    group = _described(admin, config)
    return [_named(it) for it in group.members] if group is not None and group.type == ck.ConsumerGroupType.CLASSIC else []


def _described(admin: Any, config: KafkaConfig) -> Any | None:
    try:
        if is_mock(admin):
            return None
        group: Any = config.group_id
        return admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result(TIMEOUT_S)
    except (ck.KafkaException, TimeoutError) as error:
        log.debug("the members of group %s can't be read: %s", config.group_id, error)  # rights, or a broker that is too old
        return None


def _named(member: Any) -> str:
    return f"member {member.client_id} at {str(member.host).lstrip('/')}"


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
