"""Claims: the owner of each partition under static assignment, stored in the metadata of the committed offset.

A consumer group has a generation, and Kafka refuses a commit of an older one. Shards that a runner places have no group
membership, so Kafka can't refuse the commit of a shard that was thought dead. The ``transactional.id`` fences an earlier
process of the same shard. It does not help when a job restarts with another number of shards: partitions move to shards with
other names, and no new shard takes over an old name.

So a shard commits its ``transactional.id`` in the metadata of every offset, and for the first time before it reads. A shard
that takes over a partition reads that name and fences the producer of that name, also where the offset is of a former topic
of the name and counts as none (``committed.py``): the other one may be about to commit what it has read of it.

Limit: two jobs with different numbers of shards that start within the same few milliseconds both find the name of a third
job, and do not fence each other. ``python -m pipeline`` refuses to start the second job if it sees the first. And Kafka
deletes a topic's offsets with the topic, and the claims with them: then only the transaction time-out ends the other one.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable

import confluent_kafka as ck

from transforms.kafka.commit_metadata import claim_in, with_metadata
from transforms.kafka.config import KafkaConfig
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.producer import Writer
from transforms.kafka.native.starts import Starts
from transforms.kafka.topic_ids import UNKNOWN

log = logging.getLogger(__name__)


def with_claim(config: KafkaConfig, starts: Starts) -> list[ck.TopicPartition]:
    """Returns the start offsets with the claim of this shard in their metadata."""
    offsets = {(tp.topic, tp.partition): tp.offset for tp in starts.offsets}
    return with_metadata(config, offsets, lambda it: starts.identities.get(it, UNKNOWN), claim=True)


def claim(
    config: KafkaConfig, reader: Reader, writer: Writer, starts: Starts, open_writer: Callable[[KafkaConfig], Writer]
) -> Starts:
    """Fences the other producers that have claimed partitions, and commits the claim of this shard.

    Args:
        config: The configuration of this shard.
        reader: The reader of this shard.
        writer: The writer of this shard.
        starts: The starts of the partitions that this shard takes over, with their metadata.
        open_writer: Makes a writer, which fences the one before of its name.

    Returns:
        The starts: those after the fencing.
    """
    starts = fence_others(config, reader, starts, open_writer)
    writer.commit(with_claim(config, starts), reader, reader.consumer.consumer_group_metadata())
    return starts


def fence_others(
    config: KafkaConfig, reader: Reader, starts: Starts, open_writer: Callable[[KafkaConfig], Writer]
) -> Starts:
    """Fences every other producer that has claimed a partition.

    Args:
        config: The configuration of this shard.
        reader: The reader of this shard; it fetches committed offsets.
        starts: The starts of the partitions that this shard takes over, with their metadata.
        open_writer: As for ``claim``.

    Returns:
        The starts after the fencing. A fenced producer may have committed since ``starts`` was fetched.

    Raises:
        KafkaError: Kafka does not answer.
    """
    fenced = {config.transactional_id}
    while others := {claim_in(tp.metadata) for tp in starts.offsets} - fenced - {""}:
        for name in sorted(others):
            log.warning("%s takes over from %s, which is fenced", config.transactional_id, name)
            instance_id = name.removeprefix(f"{config.group_id}-")
            open_writer(dataclasses.replace(config, instance_id=instance_id)).close()  # opening it fences the other one
        fenced |= others
        starts = reader.starts((tp.topic, tp.partition) for tp in starts.offsets)  # a fenced producer may have committed
    return starts
