"""Whose partitions are, where no group says so: the name of whoever reads them stands beside the committed offset.

Shards that an engine places have no generation by which Kafka could refuse the commit of one that was thought dead. A
shard's ``transactional.id`` fences its own former self; but a job that is started again in more or fewer shards divides the
partitions anew, and what is left of the former one goes by names that nobody takes over. So each shard commits its name with
every offset (the offset's metadata), first of all before it reads; and whoever takes a partition over fences the name that
it finds there.

Two jobs in different numbers of shards that both start within the same few milliseconds, and so both find the same third
name, are not told apart; ``python -m pipeline`` refuses the second one if it sees the first.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

import confluent_kafka as ck

from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.producer import open_writer

log = logging.getLogger(__name__)

_PREFIX = "read by "


def mark(config: KafkaConfig) -> str:
    """What is committed beside every offset."""
    return _PREFIX + config.transactional_id


def marked(config: KafkaConfig, offsets: Iterable[ck.TopicPartition]) -> list[ck.TopicPartition]:
    """The offsets, to be committed with the mark."""
    return [ck.TopicPartition(tp.topic, tp.partition, tp.offset, mark(config)) for tp in offsets]


def fence_others(config: KafkaConfig, reader: Reader, starts: list[ck.TopicPartition]) -> list[ck.TopicPartition]:
    """Fences all who are named beside the committed offsets, and returns where reading starts after that.

    Args:
        config: Ours.
        reader: Asks for the committed offsets.
        starts: What it has said of the partitions that we are about to read.

    Raises:
        KafkaError: Kafka does not answer.
    """
    fenced = {config.transactional_id}
    while others := {_named(tp) for tp in starts} - fenced - {""}:
        for name in sorted(others):
            log.warning("%s takes over from %s, which is fenced", config.transactional_id, name)
            instance_id = name.removeprefix(f"{config.group_id}-")
            open_writer(dataclasses.replace(config, instance_id=instance_id)).close()  # opened is fenced
        fenced |= others
        starts = reader.start_offsets((tp.topic, tp.partition) for tp in starts)  # one that was fenced may have committed
    return starts


def _named(tp: ck.TopicPartition) -> str:
    metadata = tp.metadata or ""
    return str(metadata.removeprefix(_PREFIX)) if metadata.startswith(_PREFIX) else ""
