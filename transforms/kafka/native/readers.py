"""``open_reader``: the reader of a job, by its assignment."""

from __future__ import annotations

from collections.abc import Callable

from transforms.kafka.config import ASSIGN_GROUP, KafkaConfig
from transforms.kafka.native.consumer import GroupReader, Reader
from transforms.kafka.native.static_reader import Claim, StaticReader

OpenReader = Callable[[KafkaConfig, int, int, Claim | None], Reader]
"""As ``open_reader``."""


def open_reader(config: KafkaConfig, shard: int, shards: int, claim: Claim | None) -> Reader:
    """Makes the reader for ``config.assignment``.

    Args:
        config: The job's Kafka configuration.
        shard: The index of this shard in a static assignment.
        shards: The number of shards.
        claim: Claims partitions before they are read, in a static assignment; ``None`` for no claims.
    """
    return GroupReader(config) if config.assignment == ASSIGN_GROUP else StaticReader(config, shard, shards, claim=claim)
