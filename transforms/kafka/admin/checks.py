"""What can be known of the topics and the group before anything is consumed; each problem with its cure."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import difflib
import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic

from transforms.errors import ContractError
from transforms.kafka.config import KafkaConfig, Partition, is_common
from transforms.kafka.vendor import describe, is_transient

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
RESET_MARGIN_S = 2.0
"""How long, beyond the session of a member that has gone, a group that is to be reset may take to be without it."""

MOCK_CLUSTER = "mockCluster"
"""How the cluster ids of librdkafka's mock brokers begin."""


@dataclasses.dataclass(frozen=True, slots=True)
class Topics:
    """What the broker said of the topics.

    Attributes:
        partitions: All partitions of the input topics.
        created: The dead-letter topic, if it had to be made (or would have to be).
        max_value_bytes: How large a record the output topic takes; ``None`` if the broker did not say.
        outputs: Output and dead-letter topic, each with its number of partitions.
    """

    partitions: tuple[Partition, ...]
    created: str | None
    max_value_bytes: int | None
    outputs: tuple[tuple[str, int], ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Position:
    """Where reading starts in one partition, and what there is.

    Attributes:
        start: The offset at which a run would start.
        low: The earliest offset.
        high: The end.
    """

    start: int
    low: int
    high: int


class Checker:
    """Asks the broker, with the job's own credentials.

    Args:
        config: The job's.
    """

    def __init__(self, config: KafkaConfig):
        self._config = config
        self._problem: ck.KafkaError | None = None
        properties = {name: value for name, value in config.consumer_properties().items() if name != "group.id"}
        self._consumer = ck.Consumer(
            {
                **properties,
                "group.id": config.group_id,
                "error_cb": self._on_error,
                "log_level": 0,  # what goes wrong here is raised, in better words
            }
        )

    def topics(self, output_topic: str, dead_letter_topic: str, *, create: bool = True) -> Topics:
        """Checks that the topics are there; makes the dead-letter topic if it is not, as Kafka Connect does.

        Args:
            output_topic: Where predictions go.
            dead_letter_topic: Where dead letters go.
            create: Whether to make it; if not, nothing on the broker is changed.

        Raises:
            ContractError: No broker, no access, or a topic that does not exist.
        """
        found = self._call(self._consumer.list_topics, timeout=TIMEOUT_S).topics
        missing = [
            f"{flag}={name}: the topic does not exist{_nearest(name, found)}"
            for flag, name in [
                *(("--input_topic", topic) for topic in self._config.topics),
                ("--output_topic", output_topic),
            ]
            if name not in found
        ]
        if missing:
            raise ContractError("\n".join(missing))
        created = None
        if dead_letter_topic not in found:
            if create:
                self._create(dead_letter_topic, len(found[output_topic].partitions))
            created = dead_letter_topic
        partitions = tuple((topic, number) for topic in self._config.topics for number in sorted(found[topic].partitions))
        count = max(1, len(found[output_topic].partitions))  # the dead-letter topic is made with as many
        dead = count if created else len(found[dead_letter_topic].partitions)
        outputs = ((output_topic, count), (dead_letter_topic, dead))
        return Topics(partitions, created, self._max_bytes(output_topic), outputs)

    def check_retention(self, partitions: Sequence[Partition]) -> None:
        """Checks that what the group has not read yet is still there.

        Raises:
            ContractError: Retention has deleted unread records.
        """
        lost = []
        for tp in self._committed(partitions):
            low, _ = self._watermarks(tp)
            if 0 <= tp.offset < low:
                lost.append(f"{tp.topic}/{tp.partition}: {low - tp.offset} records (committed {tp.offset}, earliest {low})")
        if lost:
            raise ContractError(
                f"retention has deleted records that group {self._config.group_id!r} had not read: {'; '.join(lost)}; "
                "to go on without them, run once with --start_from=earliest"
            )

    def ends(self, partitions: Sequence[Partition]) -> tuple[tuple[tuple[Partition, int], ...], tuple[Partition, ...]]:
        """The end of each partition, and the partitions whose end the group has not come to yet."""
        ends, behind = [], []
        for tp in self._committed(partitions):
            low, high = self._watermarks(tp)
            ends.append(((tp.topic, tp.partition), high))
            if max(tp.offset, low) < high:
                behind.append((tp.topic, tp.partition))
        return tuple(ends), tuple(behind)

    def positions(self, partitions: Sequence[Partition], start_from: str) -> dict[Partition, Position]:
        """Where a run would start to read, and what there is; changes nothing.

        Args:
            partitions: Which.
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
            ContractError: The group has members now.
        """
        wanted = self._targets(partitions, start_from)
        # A process that has just been killed, or ended while it was joining, counts as a member until its session ends.
        session_s = float(self._config.consumer_properties()["session.timeout.ms"]) / 1000
        stop_at = time.monotonic() + session_s + RESET_MARGIN_S
        told = False
        while True:
            try:
                for tp in self._consumer.commit(offsets=wanted, asynchronous=False):
                    if tp.error is not None:
                        raise ck.KafkaException(tp.error)
                return
            except ck.KafkaException as error:
                if error.args[0].code() != ck.KafkaError.UNKNOWN_MEMBER_ID or time.monotonic() > stop_at:
                    raise ContractError(
                        f"--start_from={start_from}: group {self._config.group_id!r} can't be reset; has it members running "
                        f"now? Stop them, or use another --group_id ({describe(error.args[0])})"
                    ) from error
            if not told:
                log.warning("group %s has members; waiting %.0f s for any that have ended", self._config.group_id, session_s)
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
                if at.offset >= 0:  # -1: no record since then, so the end
                    target.offset = at.offset
        return wanted

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()

    def _on_error(self, error: ck.KafkaError) -> None:
        if self._problem is None or error.code() in (ck.KafkaError._AUTHENTICATION, ck.KafkaError._SSL):
            self._problem = error

    def _call(self, call: Any, *arguments: Any, **named: Any) -> Any:
        stop_at = time.monotonic() + TIMEOUT_S
        while True:
            try:
                return call(*arguments, **named)
            except ck.KafkaException as raised:
                error = raised
            # A coordinator that is just being chosen, say; what says that nobody is there has waited already.
            waited = error.args[0].code() in (ck.KafkaError._TRANSPORT, ck.KafkaError._TIMED_OUT)
            if waited or not is_transient(error.args[0]) or time.monotonic() > stop_at:
                break
            time.sleep(0.1)
        with contextlib.suppress(ck.KafkaException, RuntimeError):
            self._consumer.poll(0)  # hands over what went wrong in the background, which says more
        problem = self._problem or error.args[0]
        raise ContractError(f"--bootstrap_servers={self._config.bootstrap_servers}: {describe(problem)}") from error

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

    def _admin(self) -> AdminClient:
        properties = {**self._config.client_properties(), "log_level": 0}
        return AdminClient({name: value for name, value in properties.items() if is_common(name) or name == "log_level"})

    def _create(self, topic: str, partitions: int) -> None:
        admin = self._admin()  # kept while waiting: without it librdkafka gives its futures up (_DESTROY)
        future: Future[None] = admin.create_topics([NewTopic(topic, max(1, partitions))])[topic]
        try:
            future.result(TIMEOUT_S)
        except ck.KafkaException as error:
            if error.args[0].code() == ck.KafkaError.TOPIC_ALREADY_EXISTS:
                return
            raise ContractError(
                f"--dead_letter_topic={topic}: does not exist and can't be made: {describe(error.args[0])}"
            ) from error

    def _max_bytes(self, topic: str) -> int | None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        admin = self._admin()  # kept while waiting, as above
        try:
            if (admin.list_topics(topic, timeout=TIMEOUT_S).cluster_id or "").startswith(MOCK_CLUSTER):
                return None  # it would leave the question unanswered until the time-out
            entries = admin.describe_configs([resource])[resource].result(TIMEOUT_S)
            return int(entries["max.message.bytes"].value)
        except (ck.KafkaException, KeyError, ValueError, TimeoutError):
            return None  # not allowed to ask: then the broker's refusal has to do


def _nearest(name: str, found: Any) -> str:
    close = difflib.get_close_matches(name, list(found), 1, 0.6)
    return f"; did you mean {close[0]!r}?" if close else "; create it first (kafka-topics.sh --create --topic …)"
