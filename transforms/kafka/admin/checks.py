"""Checks of the topics and the consumer group before anything is consumed. Every problem is named with its cure."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import confluent_kafka as ck

from transforms.errors import ContractError, NotReadyError
from transforms.kafka.admin.group import Members, check_read
from transforms.kafka.admin.new_topics import make_topic, room_for_headers
from transforms.kafka.admin.refused_connection import why_refused
from transforms.kafka.admin_client import open_admin
from transforms.kafka.commit_metadata import claim_in, commit_metadata, started_from_in
from transforms.kafka.committed import CommittedOffsets
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.fitting import LEAST_BYTES
from transforms.kafka.grants import create_command
from transforms.kafka.msk import REFUSED
from transforms.kafka.retention import deleted_records, message
from transforms.kafka.rights import may_be_hidden, missing_rights
from transforms.kafka.start_from import COMMITTED, COMMITTED_OR_EARLIEST, EARLIEST, moment_ms
from transforms.kafka.stop import StopConditions
from transforms.kafka.topic_limits import TopicLimits, read_limits
from transforms.kafka.vendor import CONNECTION, describe, is_transient, may_log_in_later
from transforms.retry import Deadline

TIMEOUT_S = 10.0

LOOK_S = 2.0
"""Seconds without an answer after which the broker is asked why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Topics:
    """What the broker said about the topics.

    Attributes:
        partitions: All partitions of the input topics.
        created: The topics that were created (or would be, with ``create=False``).
        max_value_bytes: The largest record that the output topic takes; ``None`` if the broker did not say.
        outputs: The output and the dead-letter topic, each with its number of partitions.
        max_batch_bytes: The largest batch that both of them take; ``None`` if the broker did not say.
        notes: What a person should know of the topics, though the job can run.
        problems: Why the job can't run, with ``create=False``.
        creatable: Whether ``--create_topics`` cures the problems: the output topic is missing, and none has a name like it.
    """

    partitions: tuple[Partition, ...]
    created: tuple[str, ...]
    max_value_bytes: int | None
    outputs: tuple[tuple[str, int], ...] = ()
    max_batch_bytes: int | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    creatable: bool = False


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
        self.config, self._create_timeout_s = config, create_timeout_s
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
        self._committed = CommittedOffsets(config, self._consumer)

    def topics(
        self,
        output_topic: str,
        dead_letter_topic: str,
        *,
        create: bool = True,
        create_output: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> Topics:
        """Checks that the topics exist. Creates the dead-letter topic if it does not, as Kafka Connect does.

        Args:
            output_topic: The topic of predictions.
            dead_letter_topic: The topic of dead letters.
            create: Whether to create missing topics. If false, nothing on the broker is changed, and a missing output topic
                is one of ``Topics.problems``.
            create_output: Whether a missing output topic is to be created, too (``--create_topics``).
            timeout_s: How long to wait for a broker's first answer, in seconds.

        Raises:
            NotReadyError: No broker answers.
            ContractError: Access is denied, or a topic does not exist.
        """
        self._problem = None
        found = self._call(self._listed, timeout_s).topics
        ours = {*self.config.topics, output_topic, dead_letter_topic}
        missing = [
            f"--input_topic={topic}: the topic does not exist"
            f"{_nearest(topic, found.keys() - ours) or f'; create it first ({create_command(self.config, topic, 1)})'}"
            f"{may_be_hidden(self.config, topic, 'READ')}"
            for topic in self.config.topics
            if topic not in found
        ]
        most = max((len(found[topic].partitions) for topic in self.config.topics if topic in found), default=1)
        lacking_output = near = ""
        if output_topic not in found and not create_output:
            near = _nearest(output_topic, found.keys() - ours)
            lacking_output = (
                f"--output_topic={output_topic}: the topic does not exist{near}"
                f"; --create_topics makes it, with as many partitions as the input ({most}), or: "
                f"{create_command(self.config, output_topic, most)}{may_be_hidden(self.config, output_topic, 'WRITE')}"
            )
        if missing or (lacking_output and create):
            raise ContractError("\n".join([*missing, *[lacking_output] * bool(lacking_output)]))
        admin = open_admin(self.config)
        written = {output_topic, dead_letter_topic} & found.keys()
        if lacking := missing_rights(admin, self.config, written):
            raise ContractError("\n".join(lacking))
        limits = read_limits(admin, {*self.config.topics, *written})
        room = room_for_headers([it.max_bytes for it in limits.values() if it.max_bytes is not None])
        count = max(1, len(found[output_topic].partitions) if output_topic in found else most)
        made = []
        for flag, topic in (("--output_topic", output_topic), ("--dead_letter_topic", dead_letter_topic)):
            if topic in found or (topic == output_topic and not create_output):
                continue
            if create:
                make_topic(self.config, flag, topic, count, room, self._create_timeout_s)
            made.append(topic)
        partitions = tuple((topic, number) for topic in self.config.topics for number in sorted(found[topic].partitions))
        dead = len(found[dead_letter_topic].partitions) if dead_letter_topic in found else count
        _check_limits(dead_letter_topic, limits)
        batches = [it.max_bytes for topic in written if (it := limits.get(topic)) and it.max_bytes is not None]
        return Topics(
            partitions,
            tuple(made),
            limits[output_topic].max_bytes if output_topic in limits else None,
            ((output_topic, count), (dead_letter_topic, dead)),
            min(batches, default=None),
            tuple(_notes(output_topic, dead_letter_topic, limits)),
            (lacking_output,) if lacking_output else (),
            bool(lacking_output) and not near,
        )

    def check_group(self, default_group: str, *, shared: bool = False) -> None:
        """Checks that the group is not used by a job with other topics, and that its members' protocol goes with this job's.

        Args:
            default_group: The group that a job has unless it is given one. It must not have read others before, either.
            shared: Whether a job with other topics is meant to be in it.

        Raises:
            ContractError: It is.
            NotReadyError: The group has members of the other protocol, which may have ended.
        """
        members = Members(open_admin(self.config), self.config)
        members.check_protocol()
        if shared:
            return
        members.check_topics()
        if self.config.group_id == default_group:
            check_read(self._consumer, self.config)

    def partitions(self) -> dict[str, tuple[int, ...]]:
        """Returns all topics that may be seen, each with the numbers of its partitions.

        Raises:
            ContractError: No broker answers, or access is denied.
        """
        found = self._call(self._consumer.list_topics, timeout=TIMEOUT_S).topics
        return {name: tuple(sorted(topic.partitions)) for name, topic in found.items() if topic.error is None}

    def check_retention(self, partitions: Sequence[Partition]) -> None:
        """Checks that retention has not deleted records which the group has not answered.

        Raises:
            ContractError: Retention has deleted unread records.
        """
        committed = self.committed(partitions)
        deleted = deleted_records(committed, {(tp.topic, tp.partition): self.watermarks(tp)[0] for tp in committed})
        if deleted:
            raise ContractError(message(deleted, self.config.group_id))

    def commit_first(self, partitions: Sequence[Partition]) -> None:
        """Commits where the group starts the partitions of which it has committed nothing.

        For readers that don't do it by themselves (Beam's Java source), so that what retention deletes before their first
        commit is known to be missing.

        Raises:
            ContractError: Kafka refuses it.
        """
        if first := first_offsets(self.committed(partitions), lambda tp: self.watermarks(tp)[0]):
            self._call(self.commit, first)

    def commit(self, offsets: list[ck.TopicPartition]) -> None:
        """Commits offsets for the group.

        Raises:
            KafkaException: Kafka refuses it, for one partition or for all.
        """
        for tp in self._consumer.commit(offsets=offsets, asynchronous=False):
            if tp.error is not None:
                raise ck.KafkaException(tp.error)

    def until_ends(self, partitions: Sequence[Partition]) -> StopConditions:
        """Returns the conditions of a job that ends when it has reached the end offsets as they are now."""
        identities: dict[str, str] = {}
        with contextlib.suppress(ck.KafkaException):  # without ids, a topic that is made again is not noticed
            identities = self._committed.identities()  # first: if it is made again here, the ends count as the former's
        end_offsets, pending = [], []
        for tp in self.committed(partitions):
            low, high = self.watermarks(tp)
            end_offsets.append(((tp.topic, tp.partition), high))
            if max(tp.offset, low) < high:
                pending.append((tp.topic, tp.partition))
        return StopConditions(end_offsets=tuple(end_offsets), identities=tuple(identities.items()), pending=tuple(pending))

    def positions(self, partitions: Sequence[Partition], start_from: str) -> dict[Partition, Position]:
        """Returns where a run would start to read. Changes nothing.

        Args:
            partitions: The partitions to look at.
            start_from: A normalized value of ``--start_from``; ``committed`` is ``earliest`` where the group has none.
        """
        committed = start_from == COMMITTED
        found = {}
        for tp in self.committed(partitions) if committed else self.targets(partitions, start_from):
            low, high = self.watermarks(tp)
            found[tp.topic, tp.partition] = Position(min(max(tp.offset, low), high), low, high)
        return found

    def targets(self, partitions: Sequence[Partition], start_from: str) -> list[ck.TopicPartition]:
        """Returns the offset of each partition that a value of ``--start_from`` means, other than ``committed``."""
        if start_from == COMMITTED_OR_EARLIEST:
            return [self._or_earliest(tp) for tp in self.committed(partitions)]
        wanted = []
        for topic, number in partitions:
            low, high = self.watermarks(ck.TopicPartition(topic, number))
            wanted.append(ck.TopicPartition(topic, number, low if start_from == EARLIEST else high))
        if (moment := moment_ms(start_from)) is not None:
            asked = [ck.TopicPartition(topic, number, moment) for topic, number in partitions]
            for target, at in zip(
                wanted, self._call(self._consumer.offsets_for_times, asked, timeout=TIMEOUT_S), strict=True
            ):
                if at.offset >= 0:  # -1: no record is that young, so start at the end
                    target.offset = at.offset
        return wanted

    def _or_earliest(self, committed: ck.TopicPartition) -> ck.TopicPartition:
        low, high = self.watermarks(committed)
        offset = committed.offset if low <= committed.offset <= high else low
        return ck.TopicPartition(committed.topic, committed.partition, offset)

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def _on_error(self, error: ck.KafkaError) -> None:
        telling = (ck.KafkaError._AUTHENTICATION, ck.KafkaError._SSL)
        former = None if self._problem is None else self._problem.code()
        if former is None or error.code() in telling or former == ck.KafkaError._ALL_BROKERS_DOWN:
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
        refusal, _ = self._refusal(error)
        raise refusal from error

    def _listed(self, timeout_s: float) -> Any:
        """Lists the topics. Looks between why no broker answers: some of it no waiting cures."""
        deadline = Deadline(timeout_s)
        while True:
            try:
                return self._consumer.list_topics(timeout=min(LOOK_S, max(deadline.left_s, 0.1)))
            except ck.KafkaException as raised:
                error = raised
            refusal, is_shown = self._refusal(error)
            if is_shown:
                raise refusal from error
            if deadline.passed:
                raise error
            time.sleep(0.1)

    def _refusal(self, error: ck.KafkaException) -> tuple[ContractError, bool]:
        """Returns what to say of an error, and whether the broker itself has shown that no waiting cures it."""
        with contextlib.suppress(ck.KafkaException, RuntimeError):
            self._consumer.poll(0)  # delivers errors of the background threads, which say more
        problem = self._problem or error.args[0]
        where = f"--bootstrap_servers={self.config.bootstrap_servers}"
        # librdkafka does not tell all that is wrong with a connection, and calls some of it transient.
        if problem.code() in CONNECTION and (why := why_refused(self.config, problem.str())):
            return ContractError(f"{where}: {why}"), True
        if self.config.by_iam and problem.code() == ck.KafkaError._AUTHENTICATION and not may_log_in_later(problem):
            return ContractError(f"{where}: {REFUSED} ({problem.str()})"), True
        kind = NotReadyError if is_transient(problem) else ContractError
        return kind(f"{where}: {describe(problem)}"), problem.code() == ck.KafkaError._AUTHENTICATION

    def committed(self, partitions: Sequence[Partition]) -> list[ck.TopicPartition]:
        """Returns the committed offset of each partition, with its metadata; negative where there is none that counts."""

        def ask() -> list[ck.TopicPartition]:
            found = self._committed.ask(partitions, TIMEOUT_S * 3).offsets
            for tp in found:
                if tp.error is not None:
                    raise ck.KafkaException(tp.error)
            return found

        committed: list[ck.TopicPartition] = self._call(ask)
        return committed

    def watermarks(self, tp: ck.TopicPartition) -> tuple[int, int]:
        """Returns the earliest and the end offset of a partition."""
        low, high = self._call(self._consumer.get_watermark_offsets, tp, timeout=TIMEOUT_S, cached=False)
        return low, high


def first_offsets(
    committed: Sequence[ck.TopicPartition], earliest: Callable[[ck.TopicPartition], int]
) -> list[ck.TopicPartition]:
    """Returns where a group starts the partitions of which it has committed nothing.

    Args:
        committed: What the group has committed; an offset below 0 for nothing.
        earliest: Returns a partition's earliest offset.
    """
    first = []
    for tp in committed:
        if tp.offset < 0:
            metadata = commit_metadata(claim_in(tp.metadata), started_from_in(tp.metadata))  # not of a former topic
            first.append(ck.TopicPartition(tp.topic, tp.partition, earliest(tp), metadata))
    return first


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
    return f" (did you mean {close[0]!r}?)" if close else ""
