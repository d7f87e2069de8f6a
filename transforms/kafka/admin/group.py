"""Who else is in the consumer group: neither a job with other topics belongs there, nor, in one way, another protocol."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

import confluent_kafka as ck

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.config import CLASSIC_SESSION_S, CONSUMER_PROTOCOL, GROUP_PROTOCOL, KafkaConfig
from transforms.kafka.topic_limits import is_mock
from transforms.retry import Deadline

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
MARGIN_S = 2.0
"""Seconds to wait in addition to the session time-out, until Kafka no longer counts a member that has gone."""


class Members:
    """The members of the job's group. Who may have ended is waited for: Kafka counts a member until its session is over.

    Args:
        admin: An admin client with the job's credentials.
        config: The job's.
        clock: Returns seconds, monotonic.
        sleep: Waits for a number of seconds.
    """

    def __init__(
        self,
        admin: Any,
        config: KafkaConfig,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        self._admin, self._config, self._clock, self._sleep = admin, config, clock, sleep

    def check_topics(self) -> None:
        """Checks that no member reads other topics than this job.

        Raises:
            ContractError: There is one, with its name, its host and its topics.
        """
        group = self._config.group_id
        wait_s = self._config.session_timeout_s + MARGIN_S
        if strangers := self._still_there(self._strangers, "is used by another job", wait_s):
            raise ContractError(
                f"--group_id={group}: is used by a job with other topics: {'; '.join(strangers)}. Give each job a "
                "--group_id of its own; or, if it is meant, --allow_shared_group"
            )

    def check_protocol(self) -> None:
        """Checks that a job with ``group.protocol=consumer`` does not meet members of the classic protocol.

        Kafka turns a classic group into the newer kind when the first such member joins, but not if its members have told it
        more than their topics (``userData``). Ours have, after their first rebalance, by the assignor cooperative-sticky of
        librdkafka. Then the new member gets the fatal error GROUP_ID_NOT_FOUND, in the middle of a rolling update.

        One that was killed stays in the group until its own ``session.timeout.ms`` is over, which Kafka does not tell. So
        our default of it is waited for here, and it is for the start to wait on.

        Raises:
            NotReadyError: There are some, with their names and hosts.
        """
        if not self._config.broker_assigns:
            return
        group = self._config.group_id
        told = "is used by members of the classic protocol"
        if classic := self._still_there(self._classic, told, CLASSIC_SESSION_S + MARGIN_S):
            raise NotReadyError(
                f"--kafka_config {GROUP_PROTOCOL}: {CONSUMER_PROTOCOL} does not meet members of the classic protocol, which "
                f"group {group} has: {'; '.join(classic)}. Stop them all first, then start with it; or leave it out. Kafka "
                "counts one that was killed until its session.timeout.ms is over"
            )

    def _still_there(self, find: Callable[[], list[str]], told: str, wait_s: float) -> list[str]:
        """Returns who is found at last, after the wait if need be."""
        deadline: Deadline | None = None
        while found := find():
            if deadline is None:
                deadline = Deadline(wait_s, self._clock)
                group = self._config.group_id
                who = "; ".join(found)
                log.warning("group %s %s (%s); waiting up to %.0f s, in case that they have ended", group, told, who, wait_s)
            if deadline.passed:
                return found
            self._sleep(0.5)
        return []

    def _strangers(self) -> list[str]:
        """Each member that reads other topics. Of a member without partitions Kafka does not say what it would read."""
        group = self._described()
        found = []
        for member in group.members if group is not None else ():
            others = _topics(member) - set(self._config.topics)
            if others:
                found.append(f"{_named(member)} reads {', '.join(sorted(others))}")
        return found

    def _classic(self) -> list[str]:
        """The members of a classic group. One that has them of both kinds is of the newer type, and takes more."""
        group = self._described()
        if group is None or group.type != ck.ConsumerGroupType.CLASSIC:
            return []
        return [_named(member) for member in group.members]

    def _described(self) -> Any | None:
        group: Any = self._config.group_id
        try:
            if is_mock(self._admin):
                return None
            return self._admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result(TIMEOUT_S)
        except (ck.KafkaException, TimeoutError) as error:
            log.debug("the members of group %s can't be read: %s", group, error)  # rights, or a broker that is too old
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
