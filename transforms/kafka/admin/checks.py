"""Checks of the topics and the consumer group before anything is consumed. Every problem is named with its cure."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import NewTopic

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.admin.rights import may_be_hidden, missing_rights
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.fitting import LEAST_BYTES
from transforms.kafka.retention import deleted_records, message
from transforms.kafka.topic_limits import TopicLimits, read_limits
from transforms.kafka.vendor import describe, is_transient
from transforms.retry import Deadline

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
RESET_MARGIN_S = 2.0
"""Seconds to wait in addition to session time-outs, until a group no longer counts a member that has gone."""

HEADER_ROOM_BYTES = 65_536
"""By how much the ``max.message.bytes`` of a new dead-letter topic is above the other topics': error headers have 3,000."""

MOST_BYTES = 2**31 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Topics:
    """What the broker said about the topics.

    Attributes:
        partitions: All partitions of the input topics.
        created: The dead-letter topic, if it was created (or would be, with ``create=False``).
        max_value_bytes: The largest record that the output topic takes; ``None`` if the broker did not say.
        outputs: The output and the dead-letter topic, each with its number of partitions.
        max_batch_bytes: The largest batch that both of them take; ``None`` if the broker did not say.
        notes: What a person should know of the topics, though the job can run.
    """

    partitions: tuple[Partition, ...]
    created: str | None
    max_value_bytes: int | None
    outputs: tuple[tuple[str, int], ...] = ()
    max_batch_bytes: int | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """The start offset of a run in one partition, and the partition's earliest and end offset.

    Attributes:
        start: The offset at which a run would start.
        low: The earliest offset.
        high: The end offset: that of the next record to be written.
    """

    start: int
    low: int
    high: int


class Checker:
    """Checks topics and group, with the job's own credentials.

    Args:
        config: The job's Kafka configuration.
        create_timeout_s: How long Kafka may take to make a topic, in seconds.
    """

    def __init__(self, config: KafkaConfig, create_timeout_s: float = TIMEOUT_S):
        self._config, self._create_timeout_s = config, create_timeout_s
        self._problem: ck.KafkaError | None = None
        properties = {name: value for name, value in config.consumer_properties().items() if name != "group.id"}
        self._consumer = ck.Consumer(
            {
                **properties,
                "group.id": config.group_id,
                "error_cb": self._on_error,
                "log_level": 0,  # errors are raised as ContractError instead
            }
        )

    def topics(
        self, output_topic: str, dead_letter_topic: str, *, create: bool = True, timeout_s: float = TIMEOUT_S
    ) -> Topics:
        """Checks that the topics exist. Creates the dead-letter topic if it does not, as Kafka Connect does.

        Args:
            output_topic: The topic of predictions.
            dead_letter_topic: The topic of dead letters.
            create: Whether to create a missing dead-letter topic. If false, nothing on the broker is changed.
            timeout_s: How long to wait for a broker's first answer, in seconds.

        Raises:
            NotReadyError: No broker answers.
            ContractError: Access is denied, or a topic does not exist.
        """
        self._problem = None
        found = self._call(self._consumer.list_topics, timeout=timeout_s).topics
        missing = [
            f"{flag}={name}: the topic does not exist{_nearest(name, found.keys() - not_meant)}"
            f"{may_be_hidden(self._config, name, right)}"
            for flag, name, not_meant, right in [
                *(("--input_topic", topic, {output_topic}, "READ") for topic in self._config.topics),
                ("--output_topic", output_topic, {*self._config.topics}, "WRITE"),
            ]
            if name not in found
        ]
        if missing:
            raise ContractError("\n".join(missing))
        admin = open_admin(self._config)
        written = {output_topic, dead_letter_topic} & found.keys()
        if lacking := missing_rights(admin, self._config, written):
            raise ContractError("\n".join(lacking))
        limits = read_limits(admin, {*self._config.topics, *written})
        created = None
        if dead_letter_topic not in found:
            if create:
                most = _room_for_headers([it.max_bytes for it in limits.values() if it.max_bytes is not None])
                self._create(dead_letter_topic, len(found[output_topic].partitions), most)
            created = dead_letter_topic
        partitions = tuple((topic, number) for topic in self._config.topics for number in sorted(found[topic].partitions))
        count = max(1, len(found[output_topic].partitions))  # the dead-letter topic is made with as many
        dead = count if created else len(found[dead_letter_topic].partitions)
        outputs = ((output_topic, count), (dead_letter_topic, dead))
        _check_limits(dead_letter_topic, limits)
        batches = [it.max_bytes for topic in written if (it := limits.get(topic)) and it.max_bytes is not None]
        return Topics(
            partitions,
            created,
            limits[output_topic].max_bytes if output_topic in limits else None,
            outputs,
            min(batches, default=None),
            tuple(_notes(output_topic, dead_letter_topic, limits)),
        )

    def check_retention(self, partitions: Sequence[Partition]) -> None:
        """Checks that retention has not deleted records which the group has not answered.

        Raises:
            ContractError: Retention has deleted unread records.
        """
        committed = self._committed(partitions)
        deleted = deleted_records(committed, {(tp.topic, tp.partition): self._watermarks(tp)[0] for tp in committed})
        if deleted:
            raise ContractError(message(deleted, self._config.group_id))

    def commit_first(self, partitions: Sequence[Partition]) -> None:
        """Commits where the group starts the partitions of which it has committed nothing.

        For readers that don't do it by themselves (Beam's Java source), so that what retention deletes before their first
        commit is known to be missing.

        Raises:
            ContractError: Kafka refuses it.
        """
        first = [tp for tp in self._committed(partitions) if tp.offset < 0]
        for tp in first:
            tp.offset, _ = self._watermarks(tp)
        if first:
            self._call(self._commit, first)

    def _commit(self, offsets: list[ck.TopicPartition]) -> None:
        for tp in self._consumer.commit(offsets=offsets, asynchronous=False):
            if tp.error is not None:
                raise ck.KafkaException(tp.error)

    def ends(self, partitions: Sequence[Partition]) -> tuple[tuple[tuple[Partition, int], ...], tuple[Partition, ...]]:
        """Returns the end offset of each partition, and the partitions whose end the group has not committed."""
        end_offsets, pending = [], []
        for tp in self._committed(partitions):
            low, high = self._watermarks(tp)
            end_offsets.append(((tp.topic, tp.partition), high))
            if max(tp.offset, low) < high:
                pending.append((tp.topic, tp.partition))
        return tuple(end_offsets), tuple(pending)

    def positions(self, partitions: Sequence[Partition], start_from: str) -> dict[Partition, Position]:
        """Returns where a run would start to read. Changes nothing.

        Args:
            partitions: The partitions to look at.
            start_from: ``committed`` (``earliest`` where the group has none), ``earliest``, ``latest`` or an ISO time.
        """
        committed = start_from == "committed"
        found = {}
        for tp in self._committed(partitions) if committed else self._targets(partitions, start_from):
            low, high = self._watermarks(tp)
            found[tp.topic, tp.partition] = Position(min(max(tp.offset, low), high), low, high)
        return found

    def reset(self, partitions: Sequence[Partition], start_from: str) -> None:
        """Sets the group's committed offsets: ``earliest``, ``latest`` or an ISO time.

        Raises:
            NotReadyError: Kafka does not answer.
            ContractError: The group has members now.
        """
        wanted = self._targets(partitions, start_from)
        # A process that was killed, or that ended while joining, stays a member until its session times out. While it waits
        # for the others in a rebalance, its time does not run: so there may be a second time-out after theirs.
        wait_s = 2 * float(self._config.consumer_properties()["session.timeout.ms"]) / 1000 + RESET_MARGIN_S
        deadline = Deadline(wait_s)
        told = False
        while True:
            try:
                self._commit(wanted)
                return
            except ck.KafkaException as error:
                has_members = error.args[0].code() == ck.KafkaError.UNKNOWN_MEMBER_ID
                what = f"--start_from={start_from}: group {self._config.group_id!r} can't be reset"
                if not has_members and is_transient(error.args[0]):
                    raise NotReadyError(f"{what} now: {describe(error.args[0])}") from error
                if not has_members or deadline.passed:
                    raise ContractError(
                        f"{what}; has it members running now? Stop them, or use another --group_id "
                        f"({describe(error.args[0])})"
                    ) from error
            if not told:
                log.warning(
                    "group %s has members; waiting up to %.0f s for any that have ended", self._config.group_id, wait_s
                )
                told = True
            time.sleep(0.5)

    def _targets(self, partitions: Sequence[Partition], start_from: str) -> list[ck.TopicPartition]:
        wanted = []
        for topic, number in partitions:
            low, high = self._watermarks(ck.TopicPartition(topic, number))
            wanted.append(ck.TopicPartition(topic, number, low if start_from == "earliest" else high))
        if start_from not in ("earliest", "latest"):
            moment_ms = int(datetime.datetime.fromisoformat(start_from).timestamp() * 1000)
            asked = [ck.TopicPartition(topic, number, moment_ms) for topic, number in partitions]
            for target, at in zip(
                wanted, self._call(self._consumer.offsets_for_times, asked, timeout=TIMEOUT_S), strict=True
            ):
                if at.offset >= 0:  # -1: no record is that young, so start at the end
                    target.offset = at.offset
        return wanted

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def _on_error(self, error: ck.KafkaError) -> None:
        if self._problem is None or error.code() in (ck.KafkaError._AUTHENTICATION, ck.KafkaError._SSL):
            self._problem = error

    def _call(self, call: Any, *arguments: Any, **named: Any) -> Any:
        deadline = Deadline(TIMEOUT_S)
        while True:
            try:
                return call(*arguments, **named)
            except ck.KafkaException as raised:
                error = raised
            # For example, a coordinator is just being elected. These two errors come after a wait by librdkafka.
            waited = error.args[0].code() in (ck.KafkaError._TRANSPORT, ck.KafkaError._TIMED_OUT)
            if waited or not is_transient(error.args[0]) or deadline.passed:
                break
            time.sleep(0.1)
        with contextlib.suppress(ck.KafkaException, RuntimeError):
            self._consumer.poll(0)  # delivers errors of the background threads, which say more
        problem = self._problem or error.args[0]
        kind = NotReadyError if is_transient(problem) else ContractError
        raise kind(f"--bootstrap_servers={self._config.bootstrap_servers}: {describe(problem)}") from error

    def _committed(self, partitions: Sequence[Partition]) -> list[ck.TopicPartition]:
        asked = [ck.TopicPartition(*partition) for partition in partitions]

        def ask() -> list[ck.TopicPartition]:
            found: list[ck.TopicPartition] = self._consumer.committed(asked, timeout=TIMEOUT_S * 3)
            for tp in found:
                if tp.error is not None:
                    raise ck.KafkaException(tp.error)
            return found

        committed: list[ck.TopicPartition] = self._call(ask)
        return committed

    def _watermarks(self, tp: ck.TopicPartition) -> tuple[int, int]:
        low, high = self._call(self._consumer.get_watermark_offsets, tp, timeout=TIMEOUT_S, cached=False)
        return low, high

    def _create(self, topic: str, partitions: int, max_bytes: int | None) -> None:
        admin = open_admin(
            self._config
        )  # keep a reference while waiting: librdkafka fails the futures of a freed client (_DESTROY)
        config = {} if max_bytes is None else {"max.message.bytes": str(max_bytes)}
        future: Future[None] = admin.create_topics([NewTopic(topic, max(1, partitions), config=config)])[topic]
        try:
            future.result(self._create_timeout_s)
        except TimeoutError as error:
            raise ContractError(
                f"--dead_letter_topic={topic}: does not exist, and Kafka did not make it within "
                f"{self._create_timeout_s:.0f} s; create it first (kafka-topics.sh --create --topic {topic})"
            ) from error
        except ck.KafkaException as error:
            if error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS:
                return
            # In a cluster that is just starting, there may be fewer brokers than the topic needs replicas.
            early = is_transient(error.args[0]) or error.args[0].code() == ck.KafkaError.INVALID_REPLICATION_FACTOR
            raise (NotReadyError if early else ContractError)(
                f"--dead_letter_topic={topic}: does not exist and can't be made: {describe(error.args[0])}"
                f"{may_be_hidden(self._config, topic, 'WRITE')}"
            ) from error


def _room_for_headers(limits: Sequence[int]) -> int | None:
    """The ``max.message.bytes`` of a new dead-letter topic: what the other topics take, and the headers that say why."""
    return min(max(limits) + HEADER_ROOM_BYTES, MOST_BYTES) if limits else None


def _check_limits(dead_letter_topic: str, limits: Mapping[str, TopicLimits]) -> None:
    found = limits.get(dead_letter_topic)
    if found is not None and found.max_bytes is not None and found.max_bytes < LEAST_BYTES:
        raise ContractError(
            f"--dead_letter_topic={dead_letter_topic}: its max.message.bytes is {found.max_bytes}, too little for the "
            f"headers of a dead letter; raise it to {LEAST_BYTES} or more, better above the input's"
        )


def _notes(output_topic: str, dead_letter_topic: str, limits: Mapping[str, TopicLimits]) -> Iterator[str]:
    if output_topic in limits and limits[output_topic].wants_key:
        yield f"{output_topic} is compacted: records with a null key become dead letters"
    if dead_letter_topic in limits and limits[dead_letter_topic].wants_key:
        yield (
            f"{dead_letter_topic} is compacted: of the dead letters of one key only the last is kept; set its "
            "cleanup.policy to delete to keep all"
        )


def _nearest(name: str, found: Any) -> str:
    close = difflib.get_close_matches(name, list(found), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else "; create it first (kafka-topics.sh --create --topic …)"
