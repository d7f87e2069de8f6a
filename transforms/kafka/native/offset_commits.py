"""``OffsetCommits``: committing offsets without waiting for it, one request at a time.

Kafka 4.0 and 4.1 answer a commit after 5 ms (the coordinator waits for company: KIP-1224), and the requests of a connection
one by one; heartbeats travel on the same connection. A commit after every bundle, 250 a second at low load, would queue up
before them: measured, they were 11 s behind after 35 s, the member was given up for dead, and nothing was read for 28 s.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable

import confluent_kafka as ck

from transforms.kafka.config import Partition
from transforms.kafka.vendor import describe

log = logging.getLogger(__name__)

SAY_S = 10.0
"""How often a person is told that commits fail."""


class OffsetCommits:
    """Offsets on their way to Kafka: what comes while a commit is under way goes together with the next.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._consumer: ck.Consumer | None = None
        self._under_way = False
        self._next: dict[Partition, int] = {}
        self._say_at = 0.0

    def commit(self, consumer: ck.Consumer, offsets: Iterable[ck.TopicPartition]) -> None:
        """Commits ``offsets`` soon; raises nothing: a commit that is lost only means reading again.

        Args:
            consumer: Whose ``on_commit`` is ``answered``, which has to be polled for it.
            offsets: Next offsets to read.
        """
        self._consumer = consumer
        self._next.update(((tp.topic, tp.partition), tp.offset) for tp in offsets)
        self._send()

    def answered(self, error: ck.KafkaError | None, partitions: list[ck.TopicPartition]) -> None:
        """The consumer's ``on_commit``."""
        self._under_way = False
        failed = error or next((tp.error for tp in partitions if tp.error is not None), None)
        if failed is not None and self._clock() >= self._say_at:
            self._say_at = self._clock() + SAY_S
            log.warning("offsets were not committed, their records may be read again: %s", describe(failed))
        self._send()

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Commits nothing more of these: they are no longer ours."""
        for partition in partitions:
            self._next.pop(partition, None)

    def _send(self) -> None:
        if self._under_way or not self._next or self._consumer is None:
            return
        offsets = [ck.TopicPartition(*partition, offset) for partition, offset in self._next.items()]
        self._next.clear()
        self._under_way = True
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except ck.KafkaException as raised:
            self.answered(raised.args[0], [])  # what was to be sent is gone from here: it does not send again
