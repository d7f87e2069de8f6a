"""What tests and benchmarks do with topics: make them, fill them, read them back, check that nothing is lost or doubled.

Every function takes the broker's address, opens its own client and closes it, so that a test reads as a list of steps.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import repeat
from typing import Any, Literal, TypeVar

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from transforms.kafka.messages import record_of
from transforms.kafka.vendor import is_transient
from transforms.types import Headers, KafkaRecord

T = TypeVar("T")
Source = tuple[str, int, int]
"""Topic, partition and offset of an input record."""

Isolation = Literal["read_committed", "read_uncommitted"]

SOURCE_HEADER = "inference.source"
TIMEOUT_S = 120.0
REPORTED = ("missing", "duplicated", "unexpected", "out_of_order")
SHOWN = 5  # of each kind, in messages


def create_topic(bootstrap: str, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
    """Creates a topic, with as many replicas as the broker has it by default, and waits until it can be used."""
    admin = AdminClient(_client(bootstrap))
    admin.create_topics([NewTopic(name, partitions, -1, config=dict(config or {}))])[name].result(TIMEOUT_S)
    _wait_for_partitions(admin, name, partitions)


def delete_topic(bootstrap: str, name: str) -> None:
    """Deletes a topic, and waits until it is gone, so that one of its name can be made."""
    admin = AdminClient(_client(bootstrap))
    admin.delete_topics([name])[name].result(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while name in admin.list_topics(timeout=TIMEOUT_S).topics:
        if time.monotonic() > deadline:
            raise TimeoutError(f"topic {name} is still there after {TIMEOUT_S:.0f} s")
        time.sleep(0.02)


def configure(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Sets properties of a topic."""
    admin = AdminClient(_client(bootstrap))
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
    admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)


def add_partitions(bootstrap: str, name: str, total: int) -> None:
    """Raises the number of partitions of a topic to ``total`` and waits until they can be used."""
    admin = AdminClient(_client(bootstrap))
    admin.create_partitions([NewPartitions(name, total)])[name].result(TIMEOUT_S)
    _wait_for_partitions(admin, name, total)


def set_config(bootstrap: str, name: str, config: Mapping[str, str]) -> None:
    """Sets properties of a topic; the others stay."""
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in config.items()]
    resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=entries)
    admin = AdminClient(_client(bootstrap))
    admin.incremental_alter_configs([resource])[resource].result(TIMEOUT_S)


def delete_records(bootstrap: str, name: str, before: Mapping[int, int]) -> None:
    """Deletes what lies before an offset of each partition, as retention does when it has run past it."""
    admin = AdminClient(_client(bootstrap))
    futures = admin.delete_records([TopicPartition(name, partition, offset) for partition, offset in before.items()])
    for future in futures.values():
        future.result(TIMEOUT_S)


def produce(
    bootstrap: str,
    topic: str,
    values: Iterable[bytes | None],
    *,
    keys: Iterable[bytes | None] | None = None,
    headers: Iterable[Headers] | None = None,
    timestamps_ms: Iterable[int] | None = None,
    partitions: Iterable[int] | None = None,
    transaction: Literal["commit", "abort"] | None = None,
) -> list[tuple[int, int]]:
    """Writes records and returns the partition and offset of each, in the order of ``values``.

    Args:
        bootstrap: The broker's address.
        topic: Where to.
        values: The values; ``None`` is a tombstone.
        keys: A key for each value; null keys if left out.
        headers: Headers for each value.
        timestamps_ms: A timestamp for each value, milliseconds since the epoch; now if left out.
        partitions: A partition for each value; by key, or at random without keys, if left out.
        transaction: Write within one transaction, and commit it or abort it. An aborted one leaves the records and a marker
            in the topic, which a ``read_committed`` consumer passes over.

    Raises:
        KafkaException: A record could not be written.
    """
    config = _client(bootstrap) | {"linger.ms": 5, "queue.buffering.max.messages": 1_000_000}
    if transaction:
        config["transactional.id"] = f"tests-{topic}-{time.monotonic_ns()}"
    producer = Producer(config)
    if transaction:
        producer.init_transactions(TIMEOUT_S)
        producer.begin_transaction()
    written: dict[int, tuple[int, int]] = {}
    failed: list[KafkaError] = []
    sent = 0
    columns = (keys or repeat(None), headers or repeat([]), timestamps_ms or repeat(0), partitions or repeat(-1))
    for value, key, its_headers, timestamp_ms, partition in zip(values, *columns, strict=False):

        def delivered(error: KafkaError | None, message: Message, index: int = sent) -> None:
            if error:
                failed.append(error)
            else:
                written[index] = (message.partition(), message.offset())

        options: dict[str, Any] = {"headers": its_headers} if its_headers else {}
        while True:
            try:
                producer.produce(
                    topic, value, key, partition=partition, timestamp=timestamp_ms, on_delivery=delivered, **options
                )
                break
            except BufferError:  # the queue is full: let some records leave first
                producer.poll(0.1)
        sent += 1
        if sent % 1000 == 0:
            producer.poll(0)
    undelivered = producer.flush(TIMEOUT_S)
    if failed or undelivered:
        raise KafkaException(failed[0] if failed else KafkaError(KafkaError._MSG_TIMED_OUT))
    if transaction == "commit":
        producer.commit_transaction(TIMEOUT_S)
    elif transaction == "abort":
        producer.abort_transaction(TIMEOUT_S)
    return [written[index] for index in range(sent)]


def partition_count(bootstrap: str, topic: str) -> int:
    """How many partitions a topic has; 0 if there is no such topic."""
    admin = AdminClient(_client(bootstrap))
    return len(_answered(lambda: admin.list_topics(topic, timeout=TIMEOUT_S)).topics[topic].partitions)


def end_offsets(bootstrap: str, topic: str, isolation: Isolation = "read_committed") -> dict[int, int]:
    """The end of each partition: behind the last stable record for ``read_committed``, else behind the last record."""
    level = IsolationLevel.READ_COMMITTED if isolation == "read_committed" else IsolationLevel.READ_UNCOMMITTED
    admin = AdminClient(_client(bootstrap))
    places = [TopicPartition(topic, partition) for partition in range(partition_count(bootstrap, topic))]

    def ask() -> dict[int, int]:
        futures = admin.list_offsets({place: OffsetSpec.latest() for place in places}, isolation_level=level)
        return {place.partition: future.result(TIMEOUT_S).offset for place, future in futures.items()}

    return _answered(ask)


def _answered(ask: Callable[[], T]) -> T:
    """What a broker answers; one that has just come back, or is slow to find itself on a busy machine, is asked again."""
    stop_at = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not is_transient(error.args[0]) or time.monotonic() > stop_at:
                raise
        time.sleep(0.1)


def wait_for_open_transactions(bootstrap: str, topic: str, timeout_s: float = TIMEOUT_S) -> None:
    """Waits until no transaction is open: the broker ends one that a killed process left behind only after its time-out.

    Raises:
        TimeoutError: One is still open.
    """
    stop_at = time.monotonic() + timeout_s
    while end_offsets(bootstrap, topic) != end_offsets(bootstrap, topic, "read_uncommitted"):
        if time.monotonic() > stop_at:
            raise TimeoutError(f"{topic} has had an open transaction for {timeout_s:.0f} s")
        time.sleep(0.1)


def read_all(bootstrap: str, topic: str, isolation: Isolation = "read_committed") -> list[KafkaRecord]:
    """Reads a topic from its beginning to what is its end at the time of the call; each partition's records are in order.

    Raises:
        KafkaException: The topic can't be read.
        TimeoutError: Nothing came for two minutes, although the end was not reached.
    """
    ends = end_offsets(bootstrap, topic, isolation)
    consumer = Consumer(
        {
            **_client(bootstrap),
            "group.id": "tests-read-all",  # demanded by the library; with assign() and without commits it is not used
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": isolation,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition, end in ends.items() if end])
    open_partitions = {partition for partition, end in ends.items() if end}
    records: list[KafkaRecord] = []
    try:
        while open_partitions:
            messages = consumer.consume(10_000, 0.2) or consumer.consume(1, TIMEOUT_S)
            if not messages:
                raise TimeoutError(f"nothing came from {topic} partitions {sorted(open_partitions)} for {TIMEOUT_S:.0f} s")
            for message in messages:
                error, partition = message.error(), message.partition()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                # Behind the last record there may be nothing but transaction markers, so the end itself is awaited as well.
                if message.offset() >= ends[partition] - (error is None):
                    open_partitions.discard(partition)
                if error is None and message.offset() < ends[partition]:
                    records.append(_record(message))
    finally:
        consumer.close()
    return records


def shares(bootstrap: str, group: str) -> dict[str, int]:
    """How many partitions each member of a group has, by the member's id."""
    return members(bootstrap, group)[1]


def members(bootstrap: str, group: str) -> tuple[str, dict[str, int]]:
    """The type of a group (``CLASSIC``, ``CONSUMER``), and how many partitions each member has, by the member's id."""
    admin = AdminClient(_client(bootstrap))  # kept while it is asked: a freed one never answers
    described = _answered(lambda: admin.describe_consumer_groups([group])[group].result(TIMEOUT_S))
    return described.type.name, {member.member_id: len(member.assignment.topic_partitions) for member in described.members}


def committed_offsets(bootstrap: str, group: str, topic: str) -> dict[int, int]:
    """The group's committed offsets by partition; partitions without one are left out."""
    consumer = Consumer(_client(bootstrap) | {"group.id": group, "isolation.level": "read_committed"})
    try:
        places = [TopicPartition(topic, partition) for partition in range(partition_count(bootstrap, topic))]
        found = _answered(lambda: consumer.committed(places, TIMEOUT_S))
        return {place.partition: place.offset for place in found if place.offset >= 0}
    finally:
        consumer.close()


@dataclasses.dataclass(frozen=True)
class Report:
    """What ``check_exactly_once`` found.

    Attributes:
        expected: How many input records there are.
        found: How many records were written.
        missing: Input records without an output, sorted.
        duplicated: Input records with more than one output, sorted.
        unexpected: Sources named by outputs which are not among the inputs, sorted.
        out_of_order: Pairs of sources of one input partition that stand in one output partition the wrong way round.
        without_source: How many outputs have no readable ``inference.source`` header.
    """

    expected: int
    found: int
    missing: list[Source]
    duplicated: list[Source]
    unexpected: list[Source]
    out_of_order: list[tuple[Source, Source]]
    without_source: int

    @property
    def ok(self) -> bool:
        """Whether every input has exactly one output, in order."""
        return not (self.missing or self.duplicated or self.unexpected or self.out_of_order or self.without_source)

    def __str__(self) -> str:
        parts = [f"{self.expected} inputs, {self.found} outputs"]
        kinds: dict[str, list[Any]] = {name: getattr(self, name) for name in REPORTED}
        parts += [f"{len(found)} {name}: {', '.join(map(str, found[:SHOWN]))}" for name, found in kinds.items() if found]
        if self.without_source:
            parts.append(f"{self.without_source} without {SOURCE_HEADER}")
        return "; ".join(parts)


def offsets_of(records: Iterable[KafkaRecord]) -> dict[tuple[str, int], set[int]]:
    """The offsets that exist, by topic and partition: the ``inputs`` of ``check_exactly_once`` for a topic with gaps."""
    offsets: dict[tuple[str, int], set[int]] = defaultdict(set)
    for record in records:
        offsets[record.topic, record.partition].add(record.offset)
    return dict(offsets)


def source_of(record: KafkaRecord) -> Source | None:
    """The input record that an output names in its ``inference.source`` header; ``None`` if it names none."""
    for name, value in record.headers:
        if name == SOURCE_HEADER and value is not None:
            match value.decode(errors="replace").split("/"):
                case [topic, partition, offset] if partition.isdecimal() and offset.isdecimal():
                    return topic, int(partition), int(offset)
    return None


def check_exactly_once(inputs: Mapping[tuple[str, int], Collection[int]], *outputs: Iterable[KafkaRecord]) -> Report:
    """Matches outputs and dead letters with the input records they name.

    Args:
        inputs: Topic and partition to the offsets of its records: ``range(n)``, or ``offsets_of(read_all(…))``.
        outputs: What was written: predictions, dead letters; each iterable in the order of every partition, as ``read_all``
            gives it.

    Returns:
        The report; ``assert report.ok, report`` demands exactly once, ``assert not report.missing, report`` at least once.
    """
    seen: Counter[Source] = Counter()
    last: dict[tuple[str, int, str, int], Source] = {}
    out_of_order: list[tuple[Source, Source]] = []
    found = without_source = 0
    for records in outputs:
        for record in records:
            found += 1
            if (source := source_of(record)) is None:
                without_source += 1
                continue
            seen[source] += 1
            # Kafka orders within a partition only, so that is where the order has to be kept.
            place = (record.topic, record.partition, source[0], source[1])
            if place in last and source < last[place]:
                out_of_order.append((last[place], source))
            last[place] = source
    expected = {(topic, partition, offset) for (topic, partition), offsets in inputs.items() for offset in offsets}
    return Report(
        expected=len(expected),
        found=found,
        missing=sorted(expected - seen.keys()),
        duplicated=sorted(source for source, count in seen.items() if count > 1),
        unexpected=sorted(seen.keys() - expected),
        out_of_order=out_of_order,
        without_source=without_source,
    )


def _client(bootstrap: str) -> dict[str, Any]:
    # What goes wrong comes as an exception; librdkafka's own lines on stderr would only disturb.
    return {"bootstrap.servers": bootstrap, "log_level": 2}


def _record(message: Message) -> KafkaRecord:
    kind, timestamp_ms = message.timestamp()
    return record_of(message)._replace(timestamp_ms=timestamp_ms if kind else None)  # as it stands there: -1 is none


def _wait_for_partitions(admin: AdminClient, topic: str, count: int) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        found = admin.list_topics(topic, timeout=TIMEOUT_S).topics[topic].partitions
        if len(found) >= count and all(partition.leader >= 0 for partition in found.values()):
            return
        time.sleep(0.02)
    raise TimeoutError(f"topic {topic} did not get {count} partitions within {TIMEOUT_S:.0f} s")
