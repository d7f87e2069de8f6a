"""Reads a sample of the topics' records: by assigned partitions, without joining the group or committing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import confluent_kafka as ck

from transforms.errors import ContractError
from transforms.kafka.admin.checks import Position
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.messages import record_of
from transforms.kafka.vendor import describe, is_transient
from transforms.retry import Deadline
from transforms.types import KafkaRecord

TIMEOUT_S = 10.0
_POLL_S = 0.2


def shares(positions: Mapping[Partition, Position], records: int) -> dict[Partition, tuple[int, int]]:
    """Returns, for each partition that has records, where to start and how many records to take at most.

    The start is that of a run, or earlier if the partition would otherwise give less than its share of records.
    """
    found: dict[Partition, tuple[int, int]] = {}
    left = records
    by_size = sorted((at.high - at.low, partition) for partition, at in positions.items() if at.high > at.low)
    for index, (available, partition) in enumerate(by_size):  # small partitions first: the others fill up the rest
        take = min(available, -(-left // (len(by_size) - index)))
        if take:
            at = positions[partition]
            found[partition] = (max(at.low, min(at.start, at.high - take)), take)
        left -= take
    return found


def read_sample(
    config: KafkaConfig,
    positions: Mapping[Partition, Position],
    records: int,
    timeout_s: float = TIMEOUT_S,
    clock: Callable[[], float] = time.monotonic,
    open_consumer: Callable[[dict[str, Any]], Any] = ck.Consumer,
) -> list[KafkaRecord]:
    """Reads up to ``records`` records, sorted by topic, partition and offset.

    Args:
        config: The job's Kafka configuration.
        positions: The start of a run and the end of each partition. Nothing beyond the end is waited for.
        records: Most records to return.
        timeout_s: Most seconds to read. Then the records read so far are returned.
        clock: Returns seconds, monotonic.
        open_consumer: Makes a consumer from librdkafka's properties.

    Raises:
        ContractError: The broker refuses a request.
    """
    left = shares(positions, records)
    if not left:
        return []
    found: list[KafkaRecord] = []
    consumer = open_consumer({**config.consumer_properties(), "log_level": 0, "auto.offset.reset": "earliest"})
    try:
        consumer.assign([ck.TopicPartition(*partition, start) for partition, (start, _) in left.items()])
        taken = dict.fromkeys(left, 0)
        deadline = Deadline(timeout_s, clock)
        while left and not deadline.passed:
            for message in consumer.consume(min(records, 500), _POLL_S):
                partition = (message.topic(), message.partition())
                error = message.error()
                if error is not None and error.code() != ck.KafkaError._PARTITION_EOF:
                    if not is_transient(error):
                        raise ContractError(f"--input_topic={message.topic()}: can't be read: {describe(error)}")
                elif partition in left:
                    if error is None:
                        found.append(record_of(message))
                        taken[partition] += 1
                    if error is not None or taken[partition] == left[partition][1]:
                        del left[partition]
    except ck.KafkaException as error:
        raise ContractError(f"--bootstrap_servers={config.bootstrap_servers}: {describe(error.args[0])}") from error
    finally:
        consumer.close()
    return sorted(found, key=lambda record: record[:3])
