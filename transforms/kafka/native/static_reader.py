"""``StaticReader``: reads a fixed share of every topic, for runners that place shards themselves (Flink, Dataflow)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Any

import confluent_kafka as ck

from transforms.errors import KafkaError
from transforms.kafka.admin_client import open_admin
from transforms.kafka.config import KafkaConfig, Partition
from transforms.kafka.native.consumer import Reader
from transforms.kafka.native.input_watch import InputLostError
from transforms.kafka.native.starts import Starts
from transforms.kafka.obstacles import CURABLE
from transforms.kafka.vendor import describe, is_transient

Claim = Callable[[Collection[Partition]], Starts | None]
"""Called with new partitions before they are read; returns where they start, or ``None`` if they can't be claimed yet."""


class StaticReader(Reader):
    """A reader of a fixed share of every topic: the partitions whose number modulo ``shards`` is ``shard``.

    Args:
        config: The job's Kafka configuration.
        shard: The index of the shard.
        shards: The number of shards.
        open_consumer: Makes the consumer.
        claim: Claims new partitions before they are read; ``None`` for no claims.
        open_admin: As for ``Reader``.
        clock: As for ``Reader``.
        sleep: As for ``Reader``.
    """

    def __init__(
        self,
        config: KafkaConfig,
        shard: int = 0,
        shards: int = 1,
        open_consumer: Callable[..., Any] = ck.Consumer,
        claim: Claim | None = None,
        open_admin: Callable[[KafkaConfig], Any] = open_admin,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        super().__init__(config, open_consumer, open_admin, clock, sleep)
        self._shard, self._shards, self._claim = shard, shards, claim
        # As often as a group member looks for new partitions. Without a group, the reader must look for them itself.
        self._discovery_s = float(config.consumer_properties()["topic.metadata.refresh.interval.ms"]) / 1000

    def _open(self) -> None:
        super()._open()
        self._discover_at = 0.0

    def _before_reading(self) -> None:
        """At intervals, it looks for new partitions, too."""
        super()._before_reading()
        if self._clock() >= self._discover_at:
            self._discover_at = self._clock() + self._discovery_s
            self._discover()

    def _discover(self) -> None:
        found = set()
        for topic in self.config.topics:
            try:
                partitions = self.consumer.list_topics(topic, timeout=10).topics[topic].partitions
            except ck.KafkaException as error:
                if is_transient(error.args[0]):
                    return  # the next call tries again
                kind = InputLostError if error.args[0].code() in CURABLE else KafkaError
                raise kind(f"{topic}: {describe(error.args[0])}") from error
            found |= {(topic, number) for number in partitions if number % self._shards == self._shard}
        if new := found - self.owned:
            starts = self._claim(new) if self._claim is not None else self.starts(sorted(new))
            if starts is None:
                self._discover_at = self._clock()
                return
            self._assign(starts.offsets, starts.identities)
